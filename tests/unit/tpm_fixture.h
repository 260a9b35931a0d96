/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_context.h"
#include "escrowd/tpm_member.h"
#include "escrowd/tpm_provision.h"
#include "escrowd/tpm_release.h"
#include "libescrow/key.h"
#include "libescrow/wrap.h"
#include "tests/unit/swtpm.h"

/*
 * What a test of a release needs besides the release: a provisioned member on a TPM of its own, and
 * the keys of everybody else. Failures end the program.
 */
#define FIXTURE_GROUP "sales-ag"
#define FIXTURE_PCRS (1U << 7)

/* main() first: the secure heap, and a log that does not drown the test's output. */
void fixture_init(void);

struct member {
    struct swtpm swtpm;
    struct tpm_auths auths;
    struct tpm_names names;
    struct tpm *tpm; /* attached */
};
void member_start(struct member *member);
void member_stop(struct member *member);
/* Closes and opens the context again, as a restarted keeper would. */
void member_reopen(struct member *member);

struct actor {
    EVP_PKEY *key;
    struct ec_point point;
    struct tpm_name name; /* as a signer */
};
void actor_new(struct actor *actor);
void actor_free(struct actor *actor);

/* A deposit: data sealed under the group's policy, imported, and approved for one act key. */
struct deposit {
    struct actor authority;
    struct actor act;
    struct actor recipient;
    struct secret *data;
    struct wrap_object object;
    struct secret *sensitive;
    struct wrap_blob blob; /* to the member's storage key, as the log and the store keep it */
    struct tpm_private private_area;
    struct tpm_approval node;
    struct tpm_approval host;
    struct tpm_signer signer; /* the act key's, for object and recipient */
    struct tpm_release_request request;
};
void deposit_start(struct deposit *deposit, struct member *member);
void deposit_stop(struct deposit *deposit);

/* Approvals for the member as it is now. */
void approve_node(const struct deposit *deposit, struct member *member, const struct actor *act,
                  struct tpm_approval *ret_approval);
void approve_host(const struct deposit *deposit, struct member *member,
                  struct tpm_approval *ret_approval);
/* Signs whatever policy for the group's label of this kind. */
void approve(const struct deposit *deposit, struct tpm_approval *approval);

/* An act key's signature for an object and a recipient. */
void sign_release(const struct actor *act, const struct tpm_name *object,
                  const struct ec_point *recipient, struct tpm_signer *ret_signer);
/* Extends PCR 7: another boot state from now on. */
void extend_pcr(struct member *member);
