/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rpc_act.h"
#include "libescrow/json.h"
#include "tests/unit/certificates.h"
#include "tests/unit/fixture.h"
#include "tests/unit/https_server.h"

#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER "spiffe://corp.example/escrowd/e1"
#define TIMEOUT_MS 10000
#define LOOKUP_S 8 /* of a name, in vain */

static char *folder;
static const char *const files[] = {"ca", "server", "agent", "key"};

static const struct tls_config server_tls = {
    .ca_file = "ca", .certificate = "server", .key = "key"};
static const struct tls_config client_tls = {
    .ca_file = "ca", .certificate = "agent", .key = "key", .server_identity = SERVER};

static void make_files(void)
{
    static const struct leaf server_leaf = {.san = "URI:" SERVER, .eku = "serverAuth"};
    static const struct leaf agent_leaf = {.san = "URI:" FIXTURE_AGENT, .eku = "clientAuth"};
    struct authority authority = authority_new("authority");
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    X509 *server = certificate_new(&authority, key, &server_leaf);
    X509 *agent = certificate_new(&authority, key, &agent_leaf);

    assert_int_equal(key_write_private(key, "key"), ESCROW_OK);
    write_certificate("ca", authority.certificate);
    write_certificate("server", server);
    write_certificate("agent", agent);
    X509_free(server);
    X509_free(agent);
    authority_deinit(&authority);
}

static int setup(void **state)
{
    const char *parent = getenv("TMPDIR");

    assert_true(asprintf(&folder, "%s/rpc.XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    make_files();
    return fixture_setup(state);
}

static int teardown(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    rmdir(folder);
    free(folder);
    return fixture_teardown(state);
}

/* A server with this handler, and a client of it. */
struct pair {
    struct https_server server;
    struct tls *tls;
    struct rpc_session session;
};

static void connect_to(struct pair *pair, const char *server_identity)
{
    struct tls_config config = client_tls;

    config.server_identity = server_identity;
    assert_int_equal(tls_client_new(&config, &pair->tls), ESCROW_OK);
    assert_int_equal(rpc_new("127.0.0.1", pair->server.port, pair->tls, &pair->session.rpc),
                     ESCROW_OK);
    pair->session.timeout_ms = TIMEOUT_MS;
}

static struct pair start(https_handler_fn handler, void *argument)
{
    const struct https_server_config config = {
        .tls = &server_tls, .handler = handler, .argument = argument};
    struct pair pair = {0};

    https_server_start(&config, &pair.server);
    connect_to(&pair, SERVER);
    return pair;
}

static void stop(struct pair *pair)
{
    rpc_free(pair->session.rpc);
    tls_free(pair->tls);
    https_server_stop(&pair->server);
}

static enum escrow_err get_status(struct pair *pair)
{
    CLEANUP(cleanup_free) char *body = NULL;
    size_t len;
    enum escrow_err err = rpc_session_get(&pair->session, "/v1/status", &body, &len);

    assert_int_equal(body != NULL, err == ESCROW_OK);
    assert_int_equal(pair->session.problem.detail[0] != '\0', err != ESCROW_OK);
    return err;
}

/* What the server's keeper says to each request; bends one thing of it. */
enum bend {
    HONEST,
    STRANGER,
    OTHER_MEMBER,
    OTHER_NONCE,
    OTHER_SUBJECT,
    OTHER_VERSION,
    OTHER_OBJECT,
    OTHER_REPLICA,
};

struct keeper {
    struct fixture *fixture;
    enum bend bend;
    EVP_PKEY *stranger;
    uint8_t public_area[WRAP_PUBLIC_MAX]; /* of the one version there is */
    size_t public_len;
    struct tpm_name object;
};

static const uint8_t nonce[ACT_NONCE_BYTES] = {9, 8, 7};

static struct keeper keeper_new(struct fixture *fixture, enum bend bend)
{
    struct keeper keeper = {.fixture = fixture, .bend = bend, .stranger = key_generate()};
    uint8_t auth_policy[32] = {1};
    CLEANUP(secret_free_p) struct secret *data = secret_random(32);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct wrap_object sealed;

    assert_int_equal(wrap_object_new(auth_policy, data, &sealed, &sensitive), ESCROW_OK);
    assert_int_equal(wrap_object_marshal(&sealed, keeper.public_area, &keeper.public_len),
                     ESCROW_OK);
    keeper.object = sealed.name;
    return keeper;
}

static char *signed_answer(const struct keeper *keeper, const struct answer *answer)
{
    EVP_PKEY *key = keeper->fixture->answer[0];
    struct jws_signer signer;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    if (keeper->bend == STRANGER)
        key = keeper->stranger;
    if (keeper->bend == OTHER_MEMBER && answer->kind != ANSWER_CHALLENGE)
        key = keeper->fixture->answer[1];
    if (jws_signer_from_key(key, &signer) || answer_sign(answer, &signer, &compact))
        return https_answer(500, "", "{}");
    if (asprintf(&body, "{\"answer\":\"%s\"}", compact) < 0)
        return NULL;
    return https_answer(200, "", body);
}

static struct answer *new_answer(const struct keeper *keeper, enum answer_kind kind)
{
    struct answer *answer = answer_new(kind);

    answer->aud = fixture_name(keeper->fixture->agent);
    memcpy(answer->nonce, nonce, sizeof(nonce));
    if (keeper->bend == OTHER_NONCE && kind != ANSWER_CHALLENGE)
        answer->nonce[0] ^= 1;
    if (kind != ANSWER_NOTED) {
        snprintf(answer->subject.group, sizeof(answer->subject.group), "%s",
                 keeper->bend == OTHER_SUBJECT ? "AG2" : FIXTURE_GROUP);
        snprintf(answer->subject.database, sizeof(answer->subject.database), "SSISDB");
    }
    return answer;
}

static void fill_object(const struct keeper *keeper, struct answer_object *object)
{
    object->name = keeper->object;
    object->version = 1;
    object->state = SECRET_ACTIVE;
    memcpy(object->public_area, keeper->public_area, keeper->public_len);
    object->public_len = keeper->public_len;
    object->blob.duplicate_len = object->blob.seed_len = 1;
}

static char *on_challenge(const struct keeper *keeper, const char *body)
{
    CLEANUP(answer_free_p) struct answer *answer = new_answer(keeper, ANSWER_CHALLENGE);
    CLEANUP(json_free_p) json_t *asked = json_loads(body, 0, NULL);
    const struct roster_member *members;

    roster_members(keeper->fixture->roster, &members);
    answer->challenge.act = act_kind_from_word(json_string_value(json_object_get(asked, "act")));
    answer->challenge.expires_in_s = 30;
    answer->challenge.member = members[0].storage;
    answer->challenge.next_version = 2;
    answer->object_count = 1;
    fill_object(keeper, &answer->objects[0]);
    return signed_answer(keeper, answer);
}

static struct act *read_act(const struct keeper *keeper, const char *body)
{
    CLEANUP(json_free_p) json_t *document = json_loads(body, 0, NULL);
    const char *compact = json_string_value(json_object_get(document, "act"));
    struct act *act = NULL;

    if (!compact || act_verify(compact, strlen(compact), keeper->fixture->roster, &act))
        return NULL;
    return act;
}

static char *on_deposit(const struct keeper *keeper, const char *body)
{
    CLEANUP(answer_free_p) struct answer *answer = new_answer(keeper, ANSWER_DURABLE);
    CLEANUP(act_free_p) struct act *act = read_act(keeper, body);

    if (!act)
        return https_answer(400, "", "{\"reason\":\"malformed\"}");
    answer->sequence = 5;
    answer->durable.version = act->deposit.version + (keeper->bend == OTHER_VERSION);
    answer->durable.state = act->deposit.state;
    answer->durable.object = keeper->object;
    answer->durable.object.bytes[33] ^= keeper->bend == OTHER_OBJECT;
    return signed_answer(keeper, answer);
}

static char *on_release(const struct keeper *keeper, const char *body)
{
    CLEANUP(answer_free_p) struct answer *answer = new_answer(keeper, ANSWER_GRANT);
    CLEANUP(act_free_p) struct act *act = read_act(keeper, body);

    if (!act)
        return https_answer(400, "", "{\"reason\":\"malformed\"}");
    answer->sequence = 6;
    answer->grant.reason = REASON_PROMOTION;
    snprintf(answer->grant.replica, sizeof(answer->grant.replica), "%s",
             keeper->bend == OTHER_REPLICA ? "sql2" : FIXTURE_INSTANCE);
    answer->object_count = 1;
    fill_object(keeper, &answer->objects[0]);
    return signed_answer(keeper, answer);
}

static char *keeper_handler(const char *method, const char *path, const char *body, void *argument)
{
    const struct keeper *keeper = argument;
    CLEANUP(answer_free_p) struct answer *noted = new_answer(keeper, ANSWER_NOTED);

    if (strcmp(method, "POST") != 0)
        return https_answer(405, "", "{}");
    if (strcmp(path, "/v1/challenge") == 0)
        return on_challenge(keeper, body);
    if (strcmp(path, "/v1/deposit") == 0)
        return on_deposit(keeper, body);
    if (strcmp(path, "/v1/release") == 0)
        return on_release(keeper, body);
    noted->sequence = 7;
    return read_act(keeper, body) ? signed_answer(keeper, noted) : https_answer(400, "", "{}");
}

static struct act *deposit_act(const struct keeper *keeper)
{
    struct act *act = act_new(ACT_DEPOSIT);

    act->purpose = PURPOSE_DEPOSIT;
    act->deposit.version = 2;
    act->deposit.state = SECRET_ACTIVE;
    memcpy(act->deposit.public_area, keeper->public_area, keeper->public_len);
    act->deposit.public_len = keeper->public_len;
    act->deposit.blob_count = 1;
    act->deposit.blobs[0].blob.duplicate_len = act->deposit.blobs[0].blob.seed_len = 1;
    return act;
}

static struct act *release_act(const struct keeper *keeper, bool is_other_object)
{
    struct act *act = act_new(ACT_RELEASE);

    act->purpose = PURPOSE_PROMOTE;
    snprintf(act->release.replica, sizeof(act->release.replica), FIXTURE_INSTANCE);
    act->release.object_count = 1;
    act->release.objects[0].object = keeper->object;
    act->release.objects[0].object.bytes[33] ^= is_other_object;
    return act;
}

/* Challenge and act against a server that bends one thing; the first failure. */
static enum escrow_err act_against(struct fixture *fixture, enum bend bend, enum act_kind kind)
{
    struct keeper keeper = keeper_new(fixture, bend);
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    CLEANUP(act_free_p)
    struct act *act =
        kind == ACT_DEPOSIT ? deposit_act(&keeper) : release_act(&keeper, bend == OTHER_OBJECT);
    struct pair pair = start(keeper_handler, &keeper);
    enum escrow_err err;

    pair.session.act_key = fixture->agent;
    pair.session.roster = fixture->roster;
    snprintf(act->subject.group, sizeof(act->subject.group), FIXTURE_GROUP);
    snprintf(act->subject.database, sizeof(act->subject.database), "SSISDB");
    err = rpc_act_challenge(&pair.session, act, &challenge);
    if (!err)
        err = rpc_act_send(&pair.session, challenge, act, &answer);
    assert_int_equal(answer != NULL, err == ESCROW_OK);
    assert_int_equal(pair.session.problem.detail[0] != '\0', err != ESCROW_OK);
    stop(&pair);
    EVP_PKEY_free(keeper.stranger);
    return err;
}

static void test_deposit(void **state)
{
    static const enum bend bends[] = {STRANGER,      OTHER_MEMBER,  OTHER_NONCE,
                                      OTHER_SUBJECT, OTHER_VERSION, OTHER_OBJECT};

    assert_int_equal(act_against(*state, HONEST, ACT_DEPOSIT), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(bends); i++)
        assert_int_equal(act_against(*state, bends[i], ACT_DEPOSIT), ESCROW_ERR_CRYPTO);
}

static void test_release(void **state)
{
    static const enum bend bends[] = {STRANGER,      OTHER_MEMBER, OTHER_NONCE,
                                      OTHER_SUBJECT, OTHER_OBJECT, OTHER_REPLICA};

    assert_int_equal(act_against(*state, HONEST, ACT_RELEASE), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(bends); i++)
        assert_int_equal(act_against(*state, bends[i], ACT_RELEASE), ESCROW_ERR_CRYPTO);
}

static char *fixed_handler(const char *method, const char *path, const char *body, void *argument)
{
    (void)method;
    (void)path;
    (void)body;
    return strdup(argument);
}

static void test_problems(void **state)
{
    static const struct {
        const char *headers, *body;
        int status;
        enum escrow_err err;
        enum reason reason;
        uint32_t request;
        uint32_t retry_after_s;
    } cases[] = {
        {"", "{\"code\":\"session_not_found\",\"detail\":\"d\"}", 403, ESCROW_ERR_DENIED,
         REASON_SESSION_NOT_FOUND, 0, 0},
        {"", "{\"reason\":\"rival_primary\",\"request\":17}", 202, ESCROW_ERR_DENIED,
         REASON_RIVAL_PRIMARY, 17, 0},
        {"", "{\"code\":\"secret_unknown\"}", 404, ESCROW_ERR_NOT_FOUND, REASON_SECRET_UNKNOWN, 0,
         0},
        {"Retry-After: 3\r\n", "{\"code\":\"role_down\"}", 503, ESCROW_ERR_UNAVAILABLE,
         REASON_ROLE_DOWN, 0, 3},
        {"", "<html>", 503, ESCROW_ERR_UNAVAILABLE, REASON_NONE, 0, 0},
        {"", "{\"code\":\"no such word\"}", 500, ESCROW_ERR_DENIED, REASON_NONE, 0, 0},
        {"Location: https://127.0.0.1:1/\r\n", "{}", 302, ESCROW_ERR_DENIED, REASON_NONE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(cleanup_free)
        char *answer = https_answer(cases[i].status, cases[i].headers, cases[i].body);
        struct pair pair = start(fixed_handler, answer);
        const struct rpc_reply *problem = &pair.session.problem;

        assert_int_equal(get_status(&pair), cases[i].err);
        assert_int_equal(problem->reason, cases[i].reason);
        assert_int_equal(problem->request, cases[i].request);
        assert_int_equal(problem->retry_after_s, cases[i].retry_after_s);
        stop(&pair);
    }
}

static char *too_large_handler(const char *method, const char *path, const char *body,
                               void *argument)
{
    CLEANUP(cleanup_free) char *text = malloc(RPC_BODY_MAX + 2);

    (void)method;
    (void)path;
    (void)body;
    (void)argument;
    memset(text, ' ', RPC_BODY_MAX + 1);
    text[RPC_BODY_MAX + 1] = '\0';
    return https_answer(200, "", text);
}

static void test_too_large(void **state)
{
    struct pair pair = start(too_large_handler, NULL);

    (void)state;
    assert_int_equal(get_status(&pair), ESCROW_ERR_MALFORMED);
    stop(&pair);
}

static char *silent_handler(const char *method, const char *path, const char *body, void *argument)
{
    (void)method;
    (void)path;
    (void)body;
    (void)argument;
    pause();
    return NULL;
}

static void test_deadline(void **state)
{
    struct pair pair = start(silent_handler, NULL);
    struct timespec from, to;

    (void)state;
    pair.session.timeout_ms = 300;
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(get_status(&pair), ESCROW_ERR_TIMEOUT);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_in_range((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000, 250,
                    5000);
    stop(&pair);
}

static char *ok_handler(const char *method, const char *path, const char *body, void *argument)
{
    (void)method;
    (void)path;
    (void)body;
    (void)argument;
    return https_answer(200, "", "{}");
}

static void test_one_connection(void **state)
{
    const struct https_server_config config = {
        .tls = &server_tls, .handler = ok_handler, .connections_max = 1};
    struct pair pair = {0};

    (void)state;
    https_server_start(&config, &pair.server);
    connect_to(&pair, SERVER);
    assert_int_equal(get_status(&pair), ESCROW_OK);
    assert_int_equal(get_status(&pair), ESCROW_OK);
    stop(&pair);
}

static void test_proxies_are_ignored(void **state)
{
    struct pair pair = start(ok_handler, NULL);
    enum escrow_err err;

    (void)state;
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    err = get_status(&pair);
    unsetenv("https_proxy");
    unsetenv("ALL_PROXY");
    assert_int_equal(err, ESCROW_OK);
    stop(&pair);
}

static void test_wrong_server(void **state)
{
    const struct https_server_config config = {.tls = &server_tls, .handler = ok_handler};
    struct pair pair = {0};

    (void)state;
    https_server_start(&config, &pair.server);
    connect_to(&pair, "spiffe://corp.example/escrowd/e2");
    assert_int_equal(get_status(&pair), ESCROW_ERR_CRYPTO);
    stop(&pair);
}

static void test_old_protocol(void **state)
{
    const struct https_server_config config = {
        .tls = &server_tls, .max_version = TLS1_2_VERSION, .handler = ok_handler};
    struct pair pair = {0};

    (void)state;
    https_server_start(&config, &pair.server);
    connect_to(&pair, SERVER);
    assert_int_equal(get_status(&pair), ESCROW_ERR_CRYPTO);
    stop(&pair);
}

static void test_nobody_there(void **state)
{
    struct pair pair = start(ok_handler, NULL);

    (void)state;
    https_server_stop(&pair.server);
    assert_int_equal(get_status(&pair), ESCROW_ERR_UNAVAILABLE);
    rpc_free(pair.session.rpc);
    tls_free(pair.tls);
}

/* A server without TLS would answer a request in plain text: it never sees one. */
static void test_no_plain_text(void **state)
{
    const struct https_server_config config = {.handler = ok_handler};
    struct pair pair = {0};

    (void)state;
    https_server_start(&config, &pair.server);
    connect_to(&pair, SERVER);
    pair.session.timeout_ms = 500;
    assert_int_equal(get_status(&pair), ESCROW_ERR_TIMEOUT);
    stop(&pair);
}

static void test_addresses(void **state)
{
    static const char *const wrong[] = {"", "a/b", "u@a", "a b", "a#b", "a?b", "[::1]", "a%41"};
    struct rpc *rpc = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(rpc_new(wrong[i], 1, NULL, &rpc), ESCROW_ERR_CONFIG);
    assert_null(rpc);
    assert_int_equal(rpc_new("::1", 1, NULL, &rpc), ESCROW_OK);
    rpc_free(rpc);
}

/*
 * In place of that of the C library, also for libcurl, which calls it in a thread of its own: no
 * name server answers.
 */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_found)
{
    (void)name;
    (void)service;
    (void)hints;
    (void)ret_found;
    sleep(LOOKUP_S);
    return EAI_AGAIN;
}

/* Neither the request nor its end waits for the lookup: the next escrowd is to be asked. */
static void test_silent_name_server(void **state)
{
    struct pair pair = {.session = {.timeout_ms = 200}};
    time_t start_s = time(NULL);

    (void)state;
    assert_int_equal(tls_client_new(&client_tls, &pair.tls), ESCROW_OK);
    assert_int_equal(rpc_new("escrow1.test.invalid", 1, pair.tls, &pair.session.rpc), ESCROW_OK);
    assert_int_equal(get_status(&pair), ESCROW_ERR_TIMEOUT);
    rpc_free(pair.session.rpc);
    tls_free(pair.tls);
    assert_true(time(NULL) - start_s < LOOKUP_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deposit),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_one_connection),
        cmocka_unit_test(test_proxies_are_ignored),
        cmocka_unit_test(test_wrong_server),
        cmocka_unit_test(test_old_protocol),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_no_plain_text),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_silent_name_server),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, setup, teardown);
}
