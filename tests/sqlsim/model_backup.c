/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model.h"
#include "tests/sqlsim/model_flow.h"

void model_backup(struct model_database *database)
{
    master_key_deinit(&database->backup);
    master_key_copy(&database->content.key, &database->backup);
    database->has_backup = true;
}

bool model_restore(struct model_database *database)
{
    if (!database->has_backup)
        return false;
    master_key_deinit(&database->content.key);
    master_key_copy(&database->backup, &database->content.key);
    /* 1.4: even on the server that it comes from. */
    master_key_drop_service_key(&database->content.key);
    for (size_t i = 0; i < MODEL_INSTANCES_MAX; i++) {
        struct model_copy *copy = &database->copies[i];

        copy->flag = false;
        copy->master_copy = 0;
        model_content_free(copy->behind);
        copy->behind = NULL;
    }
    return true;
}
