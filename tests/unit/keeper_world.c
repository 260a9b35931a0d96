/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before the keeper of keeper_fixture.h: its TPM, files, keys and roster. */
#include "escrowd/keeper.h"
#include "libescrow/encode.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "tests/unit/keeper_parts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *path_of(struct keeper_fixture *fx, int index, const char *name)
{
    snprintf(fx->paths[index], sizeof(fx->paths[index]), "%.200s/%.40s", fx->folder, name);
    return fx->paths[index];
}

#define POLICY_HEAD                                                                                \
    "groups:\n"                                                                                    \
    "  - name: " FX_GROUP "\n"                                                                     \
    "    availability_group: AG-SSIS\n"                                                            \
    "    cluster_type: wsfc\n"                                                                     \
    "    databases: [" FX_DATABASE "]\n"                                                           \
    "    replicas:\n"                                                                              \
    "      - {instance: node-a, server_name: SQLA}\n"                                              \
    "      - {instance: node-b, server_name: SQLB}\n"

static void write_policy(const char *path, const struct fx_options *options)
{
    CLEANUP(cleanup_free) char *whole = NULL;
    static const char three[] = POLICY_HEAD "      - {instance: node-c, server_name: SQLC}\n";
    static const char two[] = POLICY_HEAD "    witnesses: candidate+silence\n";
    const char *limits = options->is_pair ? "    dead_for: 3s\n" : "";

    if (asprintf(&whole, "%s%s", options->is_pair ? two : three,
                 options->limits ? options->limits : limits) < 0)
        fx_fail("asprintf", strerror(errno));
    OK(file_create(path, 0600, whole, strlen(whole)));
}

static void make_actor(struct fx_actor *actor, const char *identity, const char *role,
                       const char *instance)
{
    *actor = (struct fx_actor){.identity = identity, .role = role, .instance = instance};
    actor->key = key_generate();
    NOT_NULL(actor->key);
    OK(key_point(actor->key, &actor->point));
    OK(key_signer_name(&actor->point, &actor->name));
}

/* The same escrow's keys, for another member of it. */
static void share_keys(struct keeper_fixture *fx, const struct keeper_fixture *sibling)
{
    fx->authority = sibling->authority;
    fx->recovery = sibling->recovery;
    EVP_PKEY_up_ref(fx->authority);
    EVP_PKEY_up_ref(fx->recovery);
    for (int i = 0; i < FX_ACTORS; i++) {
        fx->actors[i] = sibling->actors[i];
        EVP_PKEY_up_ref(fx->actors[i].key);
    }
}

static void make_keys(struct keeper_fixture *fx)
{
    fx->authority = key_generate();
    fx->recovery = key_generate();
    NOT_NULL(fx->authority && fx->recovery);
    make_actor(&fx->actors[FX_AGENT_A], "spiffe://corp.example/node-a", "agent", "node-a");
    make_actor(&fx->actors[FX_AGENT_B], "spiffe://corp.example/node-b", "agent", "node-b");
    make_actor(&fx->actors[FX_ADMIN], "spiffe://corp.example/alice", "admin", NULL);
    make_actor(&fx->actors[FX_ADMIN_2], "spiffe://corp.example/bob", "admin", NULL);
    make_actor(&fx->actors[FX_ADMIN_SPARE], "spiffe://corp.example/alice", "admin", NULL);
    make_actor(&fx->actors[FX_AUDITOR], "spiffe://corp.example/audra", "auditor", NULL);
}

static json_t *key_entry(const struct fx_actor *actor)
{
    json_t *instances = actor->instance ? json_pack("[s]", actor->instance) : json_array();

    return json_pack("{s:s, s:s, s:o, s:[s], s:o}", "identity", actor->identity, "role",
                     actor->role, "key", json_point(&actor->point), "groups", "*", "instances",
                     instances);
}

json_t *fx_roster_payload(struct keeper_fixture *fx, unsigned version)
{
    CLEANUP(cleanup_free) char *text = NULL, *path = NULL;
    json_t *member, *payload, *keys = json_array();
    struct ec_point authority, recovery;
    size_t len;

    NOT_NULL(asprintf(&path, "%s/member.json", fx->config.state_folder) > 0);
    OK(file_read(path, 4096, &text, &len));
    OK(json_parse(text, len, 4096, &member));
    json_object_del(member, "v");
    json_object_del(member, "epoch");
    json_object_del(member, "pcrs");
    OK(key_point(fx->authority, &authority));
    OK(key_point(fx->recovery, &recovery));
    payload = json_pack("{s:i, s:i, s:o, s:o, s:[o], s:o}", "v", 1, "version", (int)version,
                        "authority", json_point(&authority), "recovery", json_point(&recovery),
                        "members", member, "keys", keys);
    NOT_NULL(payload);
    for (int i = 0; i < FX_ACTORS; i++)
        json_array_append_new(keys, key_entry(&fx->actors[i]));
    return payload;
}

/* What the member says of itself, for the approvals. */
static void read_statement(struct keeper_fixture *fx)
{
    CLEANUP(cleanup_free) char *text = NULL, *path = NULL;
    CLEANUP(json_free_p) json_t *member = NULL;
    const json_t *pcrs;
    const char *digest;
    size_t len;

    NOT_NULL(asprintf(&path, "%s/member.json", fx->config.state_folder) > 0);
    OK(file_read(path, 4096, &text, &len));
    OK(json_parse(text, len, 4096, &member));
    OK(hex_decode(json_string_value(json_object_get(member, "counter")), fx->counter.bytes,
                  sizeof(fx->counter.bytes)));
    fx->epoch = (uint64_t)json_integer_value(json_object_get(member, "epoch"));
    pcrs = json_object_get(member, "pcrs");
    fx->pcrs.selection = (uint32_t)json_integer_value(json_object_get(pcrs, "selection"));
    digest = json_string_value(json_object_get(pcrs, "digest"));
    OK(b64url_decode(digest, strlen(digest), fx->pcrs.digest.bytes, TPM_DIGEST_BYTES, &len));
}

static void make_config(struct keeper_fixture *fx)
{
    fx->config = (struct escrowd_config){
        .member = "m0",
        .tpm = {.tcti = fx->swtpm.setting, .pcrs = 1U << 7},
        .state_folder = path_of(fx, 0, "state"),
        .audit_folder = path_of(fx, 1, "audit"),
        .policy_file = path_of(fx, 2, "policy.yaml"),
        .authority_file = path_of(fx, 3, "authority.pem"),
        .recovery_file = path_of(fx, 4, "recovery.pem"),
        .limits = {.request_ms = 10000, .shutdown_ms = 5000, .ping_ms = 60000},
        .instance_count = FX_REPLICAS,
        .instances = fx->instances,
    };
    for (int i = 0; i < FX_REPLICAS; i++)
        fx->instances[i] = (struct escrowd_instance){.name = fx->replicas[i].instance,
                                                     .agent_login = "escrow_agent"};
}

void fx_start(struct keeper_fixture *fx, bool is_pair)
{
    const struct fx_options options = {.is_pair = is_pair};

    fx_start_with(fx, &options);
}

void fx_start_with(struct keeper_fixture *fx, const struct fx_options *options)
{
    static const char *const names[FX_REPLICAS][2] = {
        {"node-a", "SQLA"}, {"node-b", "SQLB"}, {"node-c", "SQLC"}};
    const char *folder = getenv("TMPDIR");
    CLEANUP(json_free_p) json_t *payload = NULL;

    memset(fx, 0, sizeof(*fx));
    fx->options = *options;
    log_init("keeper", getenv("ESCROW_TEST_VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    OK(secret_heap_init());
    signal(SIGPIPE, SIG_IGN);
    fx->supervisor_fd = fx->front_fd = -1;
    fx->replica_count = options->is_pair ? 2 : FX_REPLICAS;
    for (int i = 0; i < FX_REPLICAS; i++)
        fx->replicas[i] = (struct fx_replica){.instance = names[i][0],
                                              .server_name = names[i][1],
                                              .fd = -1,
                                              .has_session = true,
                                              .opens = PROBE_OPENS_YES};
    snprintf(fx->folder, sizeof(fx->folder), "%.200s/keeper.XXXXXX", folder ? folder : "/tmp");
    NOT_NULL(mkdtemp(fx->folder));
    swtpm_start(&fx->swtpm);
    if (options->sibling)
        share_keys(fx, options->sibling);
    else
        make_keys(fx);
    make_config(fx);
    write_policy(fx->config.policy_file, options);
    OK(key_write_public(fx->authority, fx->config.authority_file));
    OK(key_write_public(fx->recovery, fx->config.recovery_file));
    if (mkdir(fx->config.state_folder, 0700) != 0 || mkdir(fx->config.audit_folder, 0700) != 0)
        fx_fail("mkdir", strerror(errno));
    OK(keeper_init(&fx->config));
    read_statement(fx);
    payload = fx_roster_payload(fx, 1);
    OK(roster_sign(payload, fx->authority, &fx->roster));
    fx->buffer = ipc_buffer_new();
    NOT_NULL(fx->buffer);
    fx_set_primary(fx, 0);
    fx_run(fx);
}

void fx_stop(struct keeper_fixture *fx)
{
    char command[300];

    if (fx->pid)
        fx_shut_down(fx);
    fx_check_decisions(fx);
    swtpm_stop(&fx->swtpm);
    for (int i = 0; i < FX_ACTORS; i++)
        EVP_PKEY_free(fx->actors[i].key);
    EVP_PKEY_free(fx->authority);
    EVP_PKEY_free(fx->recovery);
    roster_free(fx->roster);
    ipc_buffer_free(fx->buffer);
    free(fx->reply.body);
    free(fx->last_act);
    snprintf(command, sizeof(command), "rm -rf '%s'", fx->folder);
    if (system(command) != 0) /* NOLINT(cert-env33-c): a path of our own */
        fx_fail(command, "failed");
}
