/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/model.h"

/*
 * Where data move. The replicas that are up to date share one content, which the owner (the last
 * primary) writes; one that data do not reach, because it is dead, cut off, suspended or behind,
 * keeps what it had. A forced failover to such a replica makes its old content everybody's: this
 * is what "with data loss" means (4.4). Knows nothing of roles.
 */

/* Whether the network between two instances, or an instance and MODEL_CLUSTER, is cut. */
bool model_is_cut(const struct model *model, size_t one, size_t other);
/* Always, in a group without a cluster. */
bool model_reaches_cluster(const struct model *model, const struct model_group *group,
                           size_t instance);
/* The group has a primary that answers this instance. */
bool model_hears_primary(const struct model *model, const struct model_group *group,
                         size_t instance);

/* What has arrived here and is on disk, redone or not. */
const struct model_content *model_hardened(const struct model *model,
                                           const struct model_database *database, size_t instance);
/* After any change of who can reach whom: starts and stops the movement of data. */
void model_flow(struct model *model);
/* The instance's content is now the one that others get. */
void model_take_over(struct model *model, struct model_database *database, size_t instance);
struct model_content *model_content_copy(const struct model_content *from);
void model_content_deinit(struct model_content *content);
void model_content_free(struct model_content *content); /* NULL is allowed */
void model_replace_content(struct model_database *database, const struct model_content *content);

/* Of a forwarder's database that of the global primary, else the database itself. */
const struct model_database *model_source(const struct model *model,
                                          const struct model_database *database);
/* The group whose primary is the global one; NULL: not in a distributed group. */
const struct model_group *model_global_group(const struct model *model,
                                             const struct model_group *group);
/* In a distributed group, and not the primary one. */
bool model_is_forwarder(const struct model *model, const struct model_group *group);
