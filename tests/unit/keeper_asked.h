/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/keeper_fixture.h"

/*
 * A release that was asked for and waits for admins, in the keeper of keeper_fixture.h: node-a is
 * primary, its agent asks and asks again, admins approve. Failures end the test.
 */

struct asked {
    EVP_PKEY *recipient;
    struct tpm_name object;
    uint64_t number; /* of the request; 0: admins are not asked */
};

void asked_deinit(struct asked *asked);

/* node-a's agent asks for a release to a new key. */
struct asked asked_ask(struct keeper_fixture *fx);
/* The same agent asks again for the same; REASON_NONE: it still waits. A grant is opened. */
enum reason asked_again(struct keeper_fixture *fx, const struct asked *asked);
/* The number of the request in a reply; 0: admins are not asked. */
uint64_t asked_number(const struct fx_reply *reply);

/* What this actor signs to approve it, to be bent; owned by the caller. */
struct act *asked_approve_act(struct keeper_fixture *fx, enum fx_who who,
                              const struct asked *asked);
/* Sends such an act, or makes it too; REASON_NONE: it was taken. */
enum reason asked_send(struct keeper_fixture *fx, enum fx_who who, struct act *act);
enum reason asked_approve(struct keeper_fixture *fx, enum fx_who who, const struct asked *asked);

/*
 * A member of GET /v1/requests, as text, without waiting; "-" if it is null, the reason's code if
 * that was refused. Good until the next call.
 */
const char *asked_member(struct keeper_fixture *fx, uint64_t number, const char *name);
