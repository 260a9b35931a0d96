/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tpm_fixture.h"

#include "escrowd/tpm_command.h"
#include "libescrow/log.h"

#include <err.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum escrow_err result_ = (call);                                                          \
                                                                                                   \
        if (result_ != ESCROW_OK)                                                                  \
            errx(1, "fixture: %s: %s", #call, escrow_err_name(result_));                           \
    } while (0)

void fixture_init(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    OK(secret_heap_init());
}

void member_start(struct member *member)
{
    *member = (struct member){.tpm = NULL};
    swtpm_start(&member->swtpm);
    OK(tpm_open(member->swtpm.setting, TPM_COMMAND_TIMEOUT_MS, &member->tpm));
    OK(tpm_auths_new(&member->auths));
    OK(tpm_provision(member->tpm, &member->auths, &member->names));
    tpm_attach(member->tpm, &member->names, member->auths.storage);
}

void member_stop(struct member *member)
{
    tpm_close(member->tpm);
    tpm_auths_deinit(&member->auths);
    swtpm_stop(&member->swtpm);
}

void member_reopen(struct member *member)
{
    tpm_close(member->tpm);
    OK(tpm_open(member->swtpm.setting, TPM_COMMAND_TIMEOUT_MS, &member->tpm));
    tpm_attach(member->tpm, &member->names, member->auths.storage);
}

void actor_new(struct actor *actor)
{
    actor->key = key_generate();
    if (!actor->key)
        errx(1, "fixture: no key");
    OK(key_point(actor->key, &actor->point));
    OK(key_signer_name(&actor->point, &actor->name));
}

void actor_free(struct actor *actor)
{
    EVP_PKEY_free(actor->key);
}

void approve(const struct deposit *deposit, struct tpm_approval *approval)
{
    struct tpm_digest digest;

    OK(tpm_policy_approval_digest(approval->kind, FIXTURE_GROUP, &approval->policy, &digest));
    OK(key_sign_digest(deposit->authority.key, digest.bytes, approval->signature));
    approval->ticket_len = 0;
}

void approve_node(const struct deposit *deposit, struct member *member, const struct actor *act,
                  struct tpm_approval *ret_approval)
{
    *ret_approval = (struct tpm_approval){.kind = TPM_APPROVAL_NODE};
    OK(tpm_epoch_read(member->tpm, &ret_approval->epoch));
    OK(tpm_policy_node(&act->name, &member->names.counter, ret_approval->epoch,
                       &ret_approval->policy));
    approve(deposit, ret_approval);
}

void approve_host(const struct deposit *deposit, struct member *member,
                  struct tpm_approval *ret_approval)
{
    *ret_approval = (struct tpm_approval){.kind = TPM_APPROVAL_HOST};
    OK(tpm_epoch_read(member->tpm, &ret_approval->epoch));
    OK(tpm_pcrs_read(member->tpm, FIXTURE_PCRS, &ret_approval->pcrs));
    OK(tpm_policy_host(&deposit->authority.name, FIXTURE_GROUP, &ret_approval->pcrs,
                       &member->names.counter, ret_approval->epoch, &ret_approval->policy));
    approve(deposit, ret_approval);
}

void sign_release(const struct actor *act, const struct tpm_name *object,
                  const struct ec_point *recipient, struct tpm_signer *ret_signer)
{
    struct tpm_name recipient_name;
    struct tpm_digest cphash, digest;

    OK(key_recipient_name(recipient, &recipient_name));
    OK(tpm_policy_duplicate_cphash(object, &recipient_name, &cphash));
    OK(tpm_policy_signed_digest(&cphash, &digest));
    ret_signer->key = act->point;
    OK(key_sign_digest(act->key, digest.bytes, ret_signer->signature));
}

void deposit_start(struct deposit *deposit, struct member *member)
{
    struct tpm_member statement;
    struct tpm_digest policy;

    *deposit = (struct deposit){.data = secret_random(32)};
    actor_new(&deposit->authority);
    actor_new(&deposit->act);
    actor_new(&deposit->recipient);
    OK(tpm_member_read(member->tpm, FIXTURE_PCRS, &statement));
    OK(tpm_policy_object(&deposit->authority.name, FIXTURE_GROUP, &policy));
    OK(wrap_object_new(policy.bytes, deposit->data, &deposit->object, &deposit->sensitive));
    OK(wrap_seal(&deposit->object, deposit->sensitive, &statement.storage_point, &deposit->blob));
    OK(tpm_import(member->tpm, &deposit->object, &deposit->blob, &deposit->private_area));
    approve_node(deposit, member, &deposit->act, &deposit->node);
    approve_host(deposit, member, &deposit->host);
    sign_release(&deposit->act, &deposit->object.name, &deposit->recipient.point, &deposit->signer);
    deposit->request = (struct tpm_release_request){
        .object = &deposit->object,
        .private_area = &deposit->private_area,
        .recipient = &deposit->recipient.point,
        .authority = &deposit->authority.point,
        .group = FIXTURE_GROUP,
        .signers = &deposit->signer,
        .signer_count = 1,
        .node = &deposit->node,
        .host = &deposit->host,
    };
}

void deposit_stop(struct deposit *deposit)
{
    secret_free(deposit->data);
    secret_free(deposit->sensitive);
    actor_free(&deposit->authority);
    actor_free(&deposit->act);
    actor_free(&deposit->recipient);
}

void extend_pcr(struct member *member)
{
    TSS2L_SYS_AUTH_COMMAND empty;
    TPML_DIGEST_VALUES values = {.count = 1, .digests[0].hashAlg = TPM2_ALG_SHA256};

    OK(tpm_ready(member->tpm));
    tpm_password(NULL, &empty);
    values.digests[0].digest.sha256[0] = 1;
    OK(tpm_result(member->tpm, "PCR_Extend",
                  Tss2_Sys_PCR_Extend(member->tpm->sys, 7, &empty, &values, NULL)));
}
