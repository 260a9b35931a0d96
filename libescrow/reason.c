/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/reason.h"

#include "libescrow/cleanup.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *code;
    int http_status;
    const char *text;
} reasons[REASON_COUNT] = {
    [REASON_NONE] = {"none", 500, "No reason was recorded."},

    [REASON_PROMOTION] = {"promotion", 200, "The replica has just become primary."},
    [REASON_PROMOTION_REPEAT] = {"promotion_repeat", 200,
                                 "The replica asks again; its grant is not settled yet."},
    [REASON_CANDIDATE_SILENCE] = {"candidate_silence", 200,
                                  "The replica has become primary and the other one is silent "
                                  "(two-replica rule)."},
    [REASON_ORDERED] = {"ordered", 200, "The release follows an order."},
    [REASON_APPROVED] = {"approved", 200, "The release was approved by admins."},
    [REASON_RESTART_ALLOWED] = {"restart_allowed", 200,
                                "The primary restarted and the policy allows it (on_restart)."},
    [REASON_REBASELINED] = {"rebaselined", 200,
                            "An admin had the primary of now taken as known: nothing was "
                            "released."},

    [REASON_MALFORMED] = {"malformed", 400, "The request does not have its form."},
    [REASON_TOO_LARGE] = {"too_large", 413, "The request is too large."},
    [REASON_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405,
                                   "This path does not know that method."},
    [REASON_NO_SUCH_PATH] = {"no_such_path", 404, "There is nothing at this path."},
    [REASON_NOT_TLS] = {"not_tls", 403,
                        "The connection has no TLS or no verified client certificate."},
    [REASON_CERTIFICATE_REVOKED] = {"certificate_revoked", 403,
                                    "The client certificate is on the revocation list."},
    [REASON_CERTIFICATE_EXPIRED] = {"certificate_expired", 403,
                                    "The client certificate has expired."},
    [REASON_CRL_STALE] = {"crl_stale", 503,
                          "The revocation list is past its next update: where crl_stale is refuse, "
                          "nobody is served."},
    [REASON_IDENTITY_UNKNOWN] = {"identity_unknown", 403,
                                 "The identity of the client certificate is not in the roster."},
    [REASON_SIGNATURE_INVALID] = {"signature_invalid", 403,
                                  "The signature of the act does not verify."},
    [REASON_KEY_UNKNOWN] = {"key_unknown", 403, "The act key is not in the roster."},
    [REASON_IDENTITY_MISMATCH] = {"identity_mismatch", 403,
                                  "The act key belongs to another identity than the client "
                                  "certificate."},
    [REASON_AUDIENCE_MISMATCH] = {"audience_mismatch", 403,
                                  "The act was signed for another member."},
    [REASON_ACT_MISMATCH] = {"act_mismatch", 400, "The act is not the one that this path takes."},
    [REASON_NONCE_INVALID] = {"nonce_invalid", 409,
                              "The nonce is unknown, used, expired or not for this act: ask for a "
                              "new challenge."},
    [REASON_ROLE_NOT_ALLOWED] = {"role_not_allowed", 403,
                                 "The roster gives this act key no right to do that here."},
    [REASON_GROUP_UNKNOWN] = {"group_unknown", 404, "The policy knows no group of this name."},
    [REASON_DATABASE_UNKNOWN] = {"database_unknown", 404,
                                 "The policy knows no such database in this group."},
    [REASON_REPLICA_UNKNOWN] = {"replica_unknown", 403,
                                "The policy knows no such instance in this group, or it is not "
                                "this agent's."},
    [REASON_SECRET_UNKNOWN] = {"secret_unknown", 404,
                               "Nothing has been deposited for this database."},
    [REASON_OBJECT_MISMATCH] = {"object_mismatch", 409,
                                "The objects are not live versions of this secret: ask for a new "
                                "challenge."},
    [REASON_RECIPIENT_INVALID] = {"recipient_invalid", 400,
                                  "The recipient key is not a valid P-256 point."},
    [REASON_TEMPLATE_MISMATCH] = {"template_mismatch", 422,
                                  "The deposited object is not the escrow template."},
    [REASON_BLOB_MISSING] = {"blob_missing", 422,
                             "The deposit lacks the blob for a member of the roster or for the "
                             "recovery key."},
    [REASON_VERSION_MISMATCH] = {"version_mismatch", 409,
                                 "The version is not the next one, or its object is a version "
                                 "already: ask for a new challenge."},
    [REASON_ROSTER_OLD] = {"roster_old", 409, "The roster is not newer than the one in use."},
    [REASON_ROSTER_INVALID] = {"roster_invalid", 422,
                               "The roster is not signed by the policy authority or does not have "
                               "its form."},
    [REASON_APPROVAL_INVALID] = {"approval_invalid", 422,
                                 "The approval is not signed by the policy authority or is not "
                                 "for this member."},
    [REASON_GRANT_UNKNOWN] = {"grant_unknown", 404, "There is no such grant for this replica."},
    [REASON_ORDER_UNKNOWN] = {"order_unknown", 403,
                              "There is no such order, or it was used or has expired."},

    [REASON_BLOB_INVALID] = {"blob_invalid", 422,
                             "The deposit's blob for this member does not open: it was altered, or "
                             "wrapped to another key."},
    [REASON_CERTIFICATE_UNTRUSTED] = {"certificate_untrusted", 403,
                                      "No CA in use issued the client certificate."},
    [REASON_REQUEST_UNKNOWN] = {"request_unknown", 404,
                                "There is no such request for an approval, or it was answered, or "
                                "its requester asks anew: see escrowctl pending."},
    [REASON_REQUEST_EXPIRED] = {"request_expired", 409,
                                "The request for an approval has expired: its requester asks "
                                "anew."},
    [REASON_ALREADY_APPROVED] = {"already_approved", 409,
                                 "The same admin has approved this request already."},

    [REASON_CANDIDATE_UNREACHABLE] = {"candidate_unreachable", 403,
                                      "escrowd cannot ask the replica itself over verified TLS."},
    [REASON_CANDIDATE_NOT_PRIMARY] = {"candidate_not_primary", 403,
                                      "The replica does not say that it is PRIMARY."},
    [REASON_CANDIDATE_NOT_ONLINE] = {"candidate_not_online", 403,
                                     "The replica or its database is not ONLINE yet."},
    [REASON_CANDIDATE_NOT_WRITABLE] = {"candidate_not_writable", 403,
                                       "The database on the replica is not READ_WRITE."},
    [REASON_CANDIDATE_NAME_MISMATCH] = {"candidate_name_mismatch", 403,
                                        "The instance does not bear the name that the policy gives "
                                        "it (server_name)."},
    [REASON_CANDIDATE_FORWARDER] = {"candidate_forwarder", 403,
                                    "The replica is the forwarder of a distributed availability "
                                    "group."},
    [REASON_CANDIDATE_NO_QUORUM] = {"candidate_no_quorum", 403,
                                    "The replica's cluster node has no quorum."},
    [REASON_CLUSTER_TYPE_MISMATCH] = {"cluster_type_mismatch", 403,
                                      "The availability group does not have the cluster type of "
                                      "the policy."},
    [REASON_SESSION_NOT_FOUND] = {"session_not_found", 403,
                                  "The agent has no session with this nonce on the replica, under "
                                  "the login that escrowd looks for (agent_login)."},
    [REASON_WITNESSES_MISSING] = {"witnesses_missing", 403,
                                  "Too few replicas name this one as the primary."},
    [REASON_SEQUENCE_NOT_MAXIMUM] = {"sequence_not_maximum", 403,
                                     "Another replica knows a newer configuration of the group."},
    [REASON_SILENCE_UNPROVEN] = {"silence_unproven", 403,
                                 "The other replica does not name this one, and escrowd has not "
                                 "itself seen that the two-replica rule holds."},
    [REASON_GRANTED_TO_OTHER] = {"granted_to_other", 403,
                                 "This promotion was granted to another replica."},
    [REASON_BASELINE_UNPROVEN] = {"baseline_unproven", 403,
                                  "Who is primary is in doubt: an admin's word is not enough for "
                                  "a new baseline."},

    [REASON_FORCED_QUORUM] = {"forced_quorum", 202,
                              "The cluster runs with forced quorum: an admin must approve."},
    [REASON_CLUSTER_TYPE_NONE] = {"cluster_type_none", 202,
                                  "The group has no cluster manager: an admin must approve."},
    [REASON_RIVAL_PRIMARY] = {"rival_primary", 202,
                              "Another replica also says PRIMARY: an admin must approve."},
    [REASON_NO_BASELINE] = {"no_baseline", 202,
                            "escrowd has not seen an earlier primary of this group: an admin must "
                            "approve."},
    [REASON_RESTART] = {"restart", 202,
                        "The replica was primary already: without a promotion an admin must "
                        "approve."},
    [REASON_WINDOW_PASSED] = {"window_passed", 202,
                              "The promotion is too long ago: an admin must approve."},
    [REASON_RETRIES_EXHAUSTED] = {"retries_exhausted", 202,
                                  "The replica asked too often for this promotion: an admin must "
                                  "approve."},
    [REASON_BRAKE] =
        {"brake", 202,
         "Too many releases for this database within the hour: an admin must approve."},
    [REASON_ECHO_MISSING] = {"echo_missing", 202,
                             "No other replica has read in time what the candidate committed: an "
                             "admin must approve."},

    [REASON_STARTING] = {"starting", 503, "escrowd is starting."},
    [REASON_ROLE_DOWN] = {"role_down", 503, "A process of escrowd restarts."},
    [REASON_TPM_UNAVAILABLE] = {"tpm_unavailable", 503, "The TPM does not answer."},
    [REASON_TPM_REFUSED] = {"tpm_refused", 503,
                            "The TPM refused: the boot state, the epoch counter or an approval "
                            "does not match."},
    [REASON_NO_HOST_APPROVAL] = {"no_host_approval", 503,
                                 "The authority has not approved this member's boot state for "
                                 "this group."},
    [REASON_NO_NODE_APPROVAL] = {"no_node_approval", 403,
                                 "The authority has not approved this act key for this group on "
                                 "this member."},
    [REASON_LOG_UNAVAILABLE] = {"log_unavailable", 503, "The audit log cannot be written."},
    [REASON_STORE_UNAVAILABLE] = {"store_unavailable", 503, "The store cannot be written."},
    [REASON_CLOCK_BACKWARDS] = {"clock_backwards", 503,
                                "The clock is earlier than the last record of the log."},
    [REASON_NO_ROSTER] = {"no_roster", 503, "escrowd has no roster yet: publish one."},
    [REASON_OVERLOADED] = {"overloaded", 503, "Too many requests at once."},
    [REASON_DEADLINE] = {"deadline", 503, "The request was not answered in time."},
    [REASON_INTERNAL] = {"internal", 500, "escrowd failed; its log says why."},
    [REASON_LOG_TAMPERED] = {"log_tampered", 503,
                             "The audit log's chain is broken, or the store knows more than the "
                             "log: compare with a witness copy before anything else."},
    [REASON_MEMBER_UNKNOWN] = {"member_unknown", 503,
                               "The roster does not name this member's storage and answer key."},
    [REASON_SHUTTING_DOWN] = {"shutting_down", 503, "escrowd is shutting down."},
    [REASON_OWN_CERTIFICATE_EXPIRED] = {"own_certificate_expired", 503,
                                        "The certificate of this member has expired: no client "
                                        "believes it."},
    [REASON_OWN_CERTIFICATE_EXPIRING] = {"own_certificate_expiring", 503,
                                         "The certificate of this member expires within 30 days."},
    [REASON_LOG_SPACE_LOW] = {"log_space_low", 503,
                              "The disk of the audit log is nearly full: without space nothing is "
                              "released."},
    [REASON_PROBER_AWAY] = {"prober_away", 503, "An instance of the policy has no prober now."},
    [REASON_CA_EXPIRING] = {"ca_expiring", 503,
                            "A CA in use expires within 30 days, or has expired."},
    [REASON_FACTS_OLD] = {"facts_old", 503,
                          "What the replicas said is too old now: they are asked again."},
    [REASON_ROSTER_CHANGED] = {"roster_changed", 503,
                               "The roster changed after the decision: it is decided again."},
    [REASON_ALERT_FAILED] = {"alert_failed", 503, "The last alert was not delivered."},

    [REASON_GRANT_PROVED] = {"grant_proved", 500,
                             "The replica's master key opens by itself: the grant is settled."},
    [REASON_GRANT_DISPROVED] = {"grant_disproved", 500,
                                "The agent says that the master key opens, the replica that it "
                                "does not: the grant is not settled."},
    [REASON_GRANT_UNPROVEN] = {"grant_unproven", 500,
                               "The agent says that the master key opens, and escrowd could not "
                               "find out whether it does: the grant is not settled."},
    [REASON_RECEIPT_MISSING] = {"receipt_missing", 500,
                                "No receipt has come for the grant: it is not settled."},
    [REASON_MASTER_KEY_CLOSED] = {"master_key_closed", 500,
                                  "The primary's master key has stopped opening by itself, and "
                                  "there was no promotion."},
    [REASON_MEMBERSHIP_DIFFERS] = {"membership_differs", 500,
                                   "The availability group has other replicas than the policy."},
    [REASON_MASTER_KEY_OPENS] = {"master_key_opens", 500,
                                 "The master key opens by itself: the request needs no approval "
                                 "any more."},
};

const char *reason_code(enum reason reason)
{
    size_t index = (size_t)reason;

    return index < REASON_COUNT ? reasons[index].code : reasons[REASON_INTERNAL].code;
}

const char *reason_text(enum reason reason)
{
    size_t index = (size_t)reason;

    return index < REASON_COUNT ? reasons[index].text : reasons[REASON_INTERNAL].text;
}

int reason_http_status(enum reason reason)
{
    size_t index = (size_t)reason;

    return index < REASON_COUNT ? reasons[index].http_status : 500;
}

enum reason reason_from_code(const char *code)
{
    for (size_t i = 1; i < REASON_COUNT; i++) {
        if (strcmp(reasons[i].code, code) == 0)
            return (enum reason)i;
    }
    return REASON_NONE;
}
