/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the catalog of Integration Services keeps in its database (sqlserver-facts 5.2): operations,
 * the replicas that SSMS enabled for Always On, the build of its schema. Packages are not run here.
 */
struct ssis_operation {
    int type, status;
    bool is_alive; /* its ISServerExec process runs on the host of the primary */
};

struct ssis_replica {
    char *server_name;
    int state; /* 1 primary, 2 secondary: the meaning is inferred */
};

struct ssisdb {
    size_t operation_count, replica_count;
    struct ssis_operation *operations; /* operation_id is the place, from 1 on */
    struct ssis_replica *replicas;
    char *schema_build; /* NULL: that of the instance that is asked */
};

void ssisdb_deinit(struct ssisdb *catalog); /* a zeroed one is valid */

void ssisdb_add_operation(struct ssisdb *catalog, int type, int status, bool is_alive);
/* internal.add_replica_info; one that is there gets the state. */
void ssisdb_set_replica(struct ssisdb *catalog, const char *server_name, int state);

/* catalog.startup: what nobody runs any more becomes 6, ended unexpectedly. */
void ssisdb_startup(struct ssisdb *catalog);
/* internal.refresh_replica_status: 1 if the server was a secondary and is the primary now. */
int ssisdb_refresh(struct ssisdb *catalog, const char *server_name);
