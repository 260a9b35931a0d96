/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/evidence.h"

/*
 * A decision from its evidence, and the parts of it as a person reads them: what audit explain and
 * policy explain have in common. Nothing that an escrowd says of its own decision is believed.
 */

/* Decides again; *ret_evidence is freed with free(), *ret_verdict is owned by the caller. As
 * policy_evidence_from_json. */
MUST_CHECK enum escrow_err ctl_decide(const json_t *evidence, struct policy_evidence **ret_evidence,
                                      json_t **ret_verdict);

/* What the replicas said, and when; facts and the evidence that they were read from. */
void ctl_print_replicas(const struct policy_facts *facts, const json_t *evidence);
/* One line: whom the ledger knew as primary, and what had been granted. */
void ctl_print_ledger(const struct policy_ledger *ledger);
/* The rules of a verdict, a line each, and the witnesses. */
void ctl_print_rules(const json_t *verdict);
