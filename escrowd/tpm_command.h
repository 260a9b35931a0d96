/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_context.h"
#include "escrowd/tpm_transport.h"
#include "libescrow/key.h"

#include <tss2/tss2_sys.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the tpm_* modules share; nobody else includes it. A command is one call of the TSS's system
 * API whose return value goes through tpm_result on the spot:
 *
 *   err = tpm_result(tpm, "PolicyRestart", Tss2_Sys_PolicyRestart(tpm->sys, ...));
 *
 * Authorizations are plain: a password, or a policy session, with a password or without. Nothing
 * that crosses to the TPM here needs a protected session (tpm_provision.h says why).
 */
#define TPM_KEPT_MAX 4096 /* saved contexts, about 1 KiB each */

struct tpm_kept; /* tpm_kept.h */

struct tpm {
    struct tpm_transport transport;
    TSS2_SYS_CONTEXT *sys;
    size_t sys_size;
    uint64_t refusals; /* response codes of the TPM that were not success */
    bool is_attached;
    struct tpm_names names;
    const struct secret *auth; /* borrowed */
    bool is_ready;             /* connected, flushed, found; false after every loss */
    uint64_t beginnings;       /* how often it became that */
    bool is_checked;           /* by tpm_check, and then */
    uint32_t resets;           /* it had been reset so often */
    bool is_state_lost;        /* the last loss: the TPM answers, but no longer knows our handles */
    TPM2_HANDLE storage;       /* valid while ready and attached, as are the next two */
    TPM2_HANDLE audit;
    TPM2_HANDLE counter;
    TPM2_HANDLE session; /* the kept policy session; 0: none */
    struct tpm_kept *kept[TPM_KEPT_MAX];
};

/* Connects, flushes leftovers and finds what is attached, unless that is done already. */
MUST_CHECK enum escrow_err tpm_ready(struct tpm *tpm);

/*
 * Translates (tpm_context.h) and logs a response code. Where the TPM is gone, or does not know our
 * handles any more, the next tpm_ready begins anew.
 */
MUST_CHECK enum escrow_err tpm_result(struct tpm *tpm, const char *command, TSS2_RC rc);

/* One authorization by password; auth may be NULL (empty). Wipe what it filled. */
void tpm_password(const struct secret *auth, TSS2L_SYS_AUTH_COMMAND *ret_auths);
void tpm_password_wipe(TSS2L_SYS_AUTH_COMMAND *auths);

/* A transient object, flushed when it goes out of scope. Declare it {.tpm = tpm}. */
struct tpm_object {
    struct tpm *tpm;
    TPM2_HANDLE handle; /* 0: none */
};
void tpm_object_flush(struct tpm_object *object);

/* Reads a marshalled TPMT_PUBLIC whole. ESCROW_ERR_MALFORMED. */
MUST_CHECK enum escrow_err tpm_public_parse(const uint8_t *public_area, size_t len,
                                            TPM2B_PUBLIC *ret_public);
/* TPM2_LoadExternal of the public part of a software key. */
MUST_CHECK enum escrow_err tpm_load_point(enum key_kind kind, const struct ec_point *point,
                                          TPMI_RH_HIERARCHY hierarchy, struct tpm_object *object);
/* r || s as the TPM takes it. */
void tpm_signature(const uint8_t signature[static ECDSA_SIGNATURE_BYTES],
                   TPMT_SIGNATURE *ret_signature);
/* PCRs of the SHA-256 bank; bit n of selection is PCR n. */
void tpm_pcr_selection(uint32_t selection, TPML_PCR_SELECTION *ret_pcrs);
