/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * A group of replicas a, b, c, ... (servers SQLA, SQLB, SQLC, ...) one moment after a failover from
 * a to b: every replica is up, healthy and names b, b's agent asks, and the ledger still holds a as
 * the primary of epoch 7. Tests change what they are about.
 */

enum { A, B, C, D };

/* SQL Server's numbers. */
enum { RESOLVING, PRIMARY, SECONDARY };
enum { WSFC, EXTERNAL, NONE };

#define MAX_LSN "4294967295429496729500001"

struct scene {
    struct policy_replica replicas[POLICY_REPLICAS_MAX];
    struct policy_group rules;
    struct policy_request request;
    struct policy_facts facts;
    struct policy_ledger ledger;
    struct policy_verdict verdict;
};

/* Sets a text member. */
#define scene_text(member, text) snprintf((member), sizeof(member), "%s", (text))

void scene_init(struct scene *scene, size_t replicas, int32_t cluster_type);
/* Asks policy_decide, and checks what holds for every verdict. */
enum policy_outcome scene_decide(struct scene *scene);

struct policy_replica_facts *scene_of(struct scene *scene, size_t replica);
/* The replica answers with this role and names that server (NULL: none). */
void scene_says(struct scene *scene, size_t replica, int32_t role, const char *primary);
/* The replica does not answer, as the prober or the keeper sees it. */
void scene_pending(struct scene *scene, size_t replica);
void scene_silent(struct scene *scene, size_t replica);
void scene_dead(struct scene *scene, size_t replica);
/* The instance whose agent asks; the session is found. */
void scene_asks(struct scene *scene, size_t replica);
/* The ledger after a release or observation: primary, next epoch, no grant yet. */
void scene_records(struct scene *scene, size_t primary, enum policy_origin origin);
/* The ledger after a release to the record's primary. */
void scene_granted(struct scene *scene, enum policy_grant_state state, int64_t requests);

/* The outcome and the reason of the verdict. */
#define assert_verdict(scene, expected, why)                                                       \
    do {                                                                                           \
        assert_int_equal(scene_decide(scene), expected);                                           \
        assert_string_equal(reason_code((scene)->verdict.reason), reason_code(why));               \
    } while (0)
