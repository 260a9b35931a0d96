/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/ssisdb.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { STATUS_RUNNING = 2, STATUS_PENDING = 5, STATUS_ENDED_UNEXPECTEDLY = 6, STATUS_STOPPING = 8 };
enum { STATE_PRIMARY = 1, STATE_SECONDARY = 2 };

void ssisdb_deinit(struct ssisdb *catalog)
{
    for (size_t i = 0; i < catalog->replica_count; i++)
        free(catalog->replicas[i].server_name);
    free(catalog->replicas);
    free(catalog->operations);
    free(catalog->schema_build);
    memset(catalog, 0, sizeof(*catalog));
}

void ssisdb_add_operation(struct ssisdb *catalog, int type, int status, bool is_alive)
{
    catalog->operations = memory_grow(catalog->operations, catalog->operation_count + 1,
                                      sizeof(*catalog->operations));
    catalog->operations[catalog->operation_count++] =
        (struct ssis_operation){.type = type, .status = status, .is_alive = is_alive};
}

static struct ssis_replica *find(const struct ssisdb *catalog, const char *server_name)
{
    for (size_t i = 0; i < catalog->replica_count; i++) {
        if (strcasecmp(catalog->replicas[i].server_name, server_name) == 0)
            return &catalog->replicas[i];
    }
    return NULL;
}

void ssisdb_set_replica(struct ssisdb *catalog, const char *server_name, int state)
{
    struct ssis_replica *replica = find(catalog, server_name);

    if (!replica) {
        catalog->replicas =
            memory_grow(catalog->replicas, catalog->replica_count + 1, sizeof(*catalog->replicas));
        replica = &catalog->replicas[catalog->replica_count++];
        replica->server_name = memory_copy(server_name);
    }
    replica->state = state;
}

static bool is_execution(int type)
{
    return type == 200 || type == 300 || type == 301;
}

static bool is_maintenance(int type)
{
    static const int types[] = {101, 106, 202, 1000, 2, 3, 700};

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (types[i] == type)
            return true;
    }
    return false;
}

static bool is_orphan(const struct ssis_operation *operation)
{
    bool is_running = operation->status == STATUS_RUNNING || operation->status == STATUS_PENDING;

    if (is_execution(operation->type))
        return operation->status == STATUS_STOPPING || (is_running && !operation->is_alive);
    return is_running && is_maintenance(operation->type);
}

void ssisdb_startup(struct ssisdb *catalog)
{
    for (size_t i = 0; i < catalog->operation_count; i++) {
        if (is_orphan(&catalog->operations[i]))
            catalog->operations[i].status = STATUS_ENDED_UNEXPECTEDLY;
    }
}

int ssisdb_refresh(struct ssisdb *catalog, const char *server_name)
{
    struct ssis_replica *here = find(catalog, server_name);

    if (!here || here->state != STATE_SECONDARY)
        return 0;
    for (size_t i = 0; i < catalog->replica_count; i++)
        catalog->replicas[i].state = STATE_SECONDARY;
    here->state = STATE_PRIMARY;
    return 1;
}
