/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model.h"
#include "tests/sqlsim/model_flow.h"

void model_backup(struct model_database *database)
{
    model_content_free(database->backup);
    database->backup = model_content_copy(&database->content);
}

bool model_restore(struct model_database *database)
{
    if (!database->backup)
        return false;
    model_replace_content(database, database->backup);
    /* 1.4: even on the server that it comes from. */
    master_key_drop_service_key(&database->content.key);
    for (size_t i = 0; i < MODEL_INSTANCES_MAX; i++) {
        struct model_copy *copy = &database->copies[i];

        copy->flag = false;
        copy->master_copy = 0;
        model_content_free(copy->behind);
        model_content_free(copy->redone);
        copy->behind = copy->redone = NULL;
        copy->is_redo_lagging = false;
    }
    return true;
}
