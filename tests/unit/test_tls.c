/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/key.h"
#include "libescrow/secret.h"
#include "libescrow/tls.h"
#include "tests/unit/certificates.h"

#include <openssl/err.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER "spiffe://corp.example/escrowd/e1"
#define AGENT "spiffe://corp.example/sql1/agent"
#define DAY_S (24L * 3600)

/* OpenSSL asks time(): a test moves the clock instead of waiting. */
static long clock_offset_s;

time_t time(time_t *ret_seconds)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += clock_offset_s;
    if (ret_seconds)
        *ret_seconds = now.tv_sec;
    return now.tv_sec;
}

static const struct leaf server_leaf = {.san = "URI:" SERVER ",DNS:localhost", .eku = "serverAuth"};
static const struct leaf agent_leaf = {.san = "URI:" AGENT, .eku = "clientAuth"};

struct world {
    char *folder;
    struct authority authority, other;
    EVP_PKEY *key; /* of every leaf */
    X509 *agent;
};

static const char *const files[] = {"ca",  "both",   "server", "agent",    "key",
                                    "crl", "broken", "odd",    "other-key"};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const char *parent = getenv("TMPDIR");
    X509 *server;

    assert_non_null(world);
    assert_true(asprintf(&world->folder, "%s/tls.XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(chdir(world->folder), 0);
    world->authority = authority_new("authority");
    world->other = authority_new("other");
    world->key = key_generate();
    world->agent = certificate_new(&world->authority, world->key, &agent_leaf);
    server = certificate_new(&world->authority, world->key, &server_leaf);
    assert_int_equal(key_write_private(world->key, "key"), ESCROW_OK);
    write_certificate("ca", world->authority.certificate);
    write_certificate("both", world->authority.certificate);
    append_certificate("both", world->other.certificate);
    write_certificate("server", server);
    write_certificate("agent", world->agent);
    X509_free(server);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    rmdir(world->folder);
    authority_deinit(&world->authority);
    authority_deinit(&world->other);
    X509_free(world->agent);
    EVP_PKEY_free(world->key);
    free(world->folder);
    free(world);
    return 0;
}

static struct tls_config server_config(void)
{
    return (struct tls_config){.ca_file = "ca", .certificate = "server", .key = "key"};
}

static struct tls_config agent_config(void)
{
    return (struct tls_config){
        .ca_file = "ca", .certificate = "agent", .key = "key", .server_identity = SERVER};
}

/* Two ends in this process, talking through memory. */
struct pair {
    struct tls *server_tls, *client_tls;
    SSL *server, *client;
    struct tls_verified verified;
};

static void pair_init(struct pair *pair, const struct tls_config *server,
                      const struct tls_config *client)
{
    BIO *server_end, *client_end;

    *pair = (struct pair){0};
    assert_int_equal(tls_server_new(server, &pair->server_tls), ESCROW_OK);
    assert_int_equal(tls_client_new(client, &pair->client_tls), ESCROW_OK);
    assert_int_equal(BIO_new_bio_pair(&server_end, 0, &client_end, 0), 1);
    pair->server = SSL_new(tls_context(pair->server_tls));
    pair->client = SSL_new(tls_context(pair->client_tls));
    SSL_set_bio(pair->server, server_end, server_end);
    SSL_set_bio(pair->client, client_end, client_end);
    SSL_set_accept_state(pair->server);
    SSL_set_connect_state(pair->client);
}

static void pair_deinit(struct pair *pair)
{
    SSL_free(pair->server);
    SSL_free(pair->client);
    tls_free(pair->server_tls);
    tls_free(pair->client_tls);
    ERR_clear_error();
}

/* Both ends say that the handshake is done, and the client may read what the server sends. */
static bool shake_hands(struct pair *pair)
{
    char byte;

    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(pair->client);
        SSL_do_handshake(pair->server);
        ERR_clear_error();
    }
    if (!SSL_is_init_finished(pair->client) || !SSL_is_init_finished(pair->server))
        return false;
    assert_int_equal(SSL_write(pair->server, "x", 1), 1);
    return SSL_read(pair->client, &byte, 1) == 1;
}

static bool connects(const struct tls_config *server, const struct tls_config *client)
{
    struct pair pair;
    bool is_connected;

    pair_init(&pair, server, client);
    is_connected = shake_hands(&pair);
    pair_deinit(&pair);
    return is_connected;
}

static void test_handshake(void **state)
{
    struct world *world = *state;
    const struct tls_config server = server_config(), client = agent_config();
    uint8_t digest[32];
    struct tls_peer peer;
    struct pair pair;

    pair_init(&pair, &server, &client);
    assert_string_equal(tls_own_identity(pair.server_tls), SERVER);
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NOT_TLS);
    assert_int_equal(tls_peer_check(pair.server_tls, NULL, &pair.verified, &peer), REASON_NOT_TLS);
    assert_true(shake_hands(&pair));
    assert_int_equal(SSL_version(pair.server), TLS1_3_VERSION);

    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    assert_string_equal(peer.identity, AGENT);
    assert_int_equal(X509_digest(world->agent, EVP_sha256(), digest, NULL), 1);
    assert_memory_equal(peer.fingerprint, digest, sizeof(digest));
    assert_int_equal(tls_peer_check(pair.client_tls, pair.client, &pair.verified, &peer),
                     REASON_NONE);
    assert_string_equal(peer.identity, SERVER);

    /* Nothing to resume, and no certificate but the leaf. */
    assert_false(SSL_SESSION_is_resumable(SSL_get0_session(pair.client)));
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(pair.client)), 1);
    pair_deinit(&pair);
}

static void test_groups(void **state)
{
    const struct tls_config server = server_config(), client = agent_config();
    static const struct {
        const char *group;
        bool is_taken;
    } cases[] = {{"P-256", true}, {"X25519", true}, {"P-384", false}, {"X448", false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair pair;

        pair_init(&pair, &server, &client);
        assert_int_equal(SSL_set1_groups_list(pair.client, cases[i].group), 1);
        assert_int_equal(shake_hands(&pair), cases[i].is_taken);
        pair_deinit(&pair);
    }
}

static void test_old_protocol(void **state)
{
    const struct tls_config server = server_config(), client = agent_config();
    struct pair pair;

    (void)state;
    pair_init(&pair, &server, &client);
    SSL_set_min_proto_version(pair.client, TLS1_2_VERSION);
    SSL_set_max_proto_version(pair.client, TLS1_2_VERSION);
    assert_false(shake_hands(&pair));
    pair_deinit(&pair);
}

static void test_client_without_certificate(void **state)
{
    const struct tls_config server = server_config(), client = agent_config();
    struct tls_peer peer;
    struct pair pair;

    (void)state;
    pair_init(&pair, &server, &client);
    SSL_certs_clear(pair.client);
    assert_false(shake_hands(&pair));
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NOT_TLS);
    pair_deinit(&pair);
}

static const struct leaf bad_clients[] = {
    {.eku = "clientAuth"},
    {.san = "DNS:localhost", .eku = "clientAuth"},
    {.san = "URI:" AGENT ",URI:" AGENT, .eku = "clientAuth"},
    {.san = "URI:" AGENT ",URI:https://corp.example", .eku = "clientAuth"},
    {.san = "URI:" AGENT, .again = "URI:spiffe://corp.example/admin", .eku = "clientAuth"},
    {.san = "URI:https://corp.example/agent", .eku = "clientAuth"},
    {.san = "URI:spiffe://corp.example", .eku = "clientAuth"},
    {.san = "URI:spiffe://corp.example/a?b", .eku = "clientAuth"},
    {.has_nul = true, .eku = "clientAuth"},
    {.san = "URI:" AGENT, .eku = "serverAuth"},
    {.san = "URI:" AGENT, .eku = "anyExtendedKeyUsage"},
    {.san = "URI:" AGENT},
    {.san = "URI:" AGENT, .eku = "clientAuth", .is_ca = true},
    {.san = "URI:" AGENT, .eku = "clientAuth", .from_s = -2 * DAY_S, .until_s = -DAY_S},
    {.san = "URI:" AGENT, .eku = "clientAuth", .from_s = DAY_S},
};

/* The client presents the odd certificate; its own side would not even load it. */
static bool presents(EVP_PKEY *key, X509 *certificate)
{
    const struct tls_config server = server_config(), client = agent_config();
    struct pair pair;
    bool is_connected;

    pair_init(&pair, &server, &client);
    assert_int_equal(SSL_use_certificate(pair.client, certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(pair.client, key), 1);
    is_connected = shake_hands(&pair);
    pair_deinit(&pair);
    return is_connected;
}

static void test_clients_refused(void **state)
{
    struct world *world = *state;
    X509 *stranger = certificate_new(&world->other, world->key, &agent_leaf);

    assert_true(presents(world->key, world->agent));
    for (size_t i = 0; i < ARRAY_LEN(bad_clients); i++) {
        X509 *odd = certificate_new(&world->authority, world->key, &bad_clients[i]);

        assert_false(presents(world->key, odd));
        X509_free(odd);
    }
    assert_false(presents(world->key, stranger));
    X509_free(stranger);
}

static void test_servers_refused(void **state)
{
    static const struct leaf leaves[] = {
        {.san = "URI:spiffe://corp.example/escrowd/e2", .eku = "serverAuth"},
        {.san = "URI:" AGENT, .eku = "serverAuth"},
    };
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct tls_config server = server_config();

    server.certificate = "odd";
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        X509 *odd = certificate_new(&world->authority, world->key, &leaves[i]);

        write_certificate("odd", odd);
        assert_false(connects(&server, &client));
        X509_free(odd);
    }
}

static void put_list(const struct authority *authority, const struct revocation *revocation)
{
    X509_CRL *list = revocation_list_new(authority, revocation);

    /* A new file each time, as escrow-certs and others replace it. */
    unlink("crl");
    write_list("crl", list);
    X509_CRL_free(list);
}

static void test_revoked_at_handshake(void **state)
{
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct tls_config server = server_config();

    server.crl_file = "crl";
    put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_true(connects(&server, &client));
    put_list(&world->authority,
             &(struct revocation){.revoked = world->agent, .updated_s = -60, .next_s = DAY_S});
    assert_false(connects(&server, &client));
}

/* The connection is older than the list. */
static void test_revoked_on_request(void **state)
{
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct tls_config server = server_config();
    struct tls_peer peer;
    struct pair pair;

    server.crl_file = "crl";
    put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    pair_init(&pair, &server, &client);
    assert_true(shake_hands(&pair));
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    put_list(&world->authority,
             &(struct revocation){.revoked = world->agent, .updated_s = -60, .next_s = DAY_S});
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_OK);
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_CERTIFICATE_REVOKED);
    pair_deinit(&pair);
}

static void test_expired_on_request(void **state)
{
    const struct tls_config server = server_config();
    struct world *world = *state;
    struct tls_config client = agent_config();
    X509 *certificate =
        certificate_new(&world->authority, world->key,
                        &(struct leaf){.san = "URI:" AGENT, .eku = "clientAuth", .until_s = 3600});
    struct tls_peer peer;
    struct pair pair;

    write_certificate("odd", certificate);
    client.certificate = "odd";
    pair_init(&pair, &server, &client);
    assert_true(shake_hands(&pair));
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    clock_offset_s = 3601;
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_CERTIFICATE_EXPIRED);
    clock_offset_s = 0;
    pair_deinit(&pair);
    X509_free(certificate);
}

static void test_stale_list(void **state)
{
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct tls_config server = server_config();
    struct tls_peer peer;
    struct pair pair;

    server.crl_file = "crl";
    for (int refuses = 0; refuses < 2; refuses++) {
        server.crl_stale = refuses ? TLS_CRL_STALE_REFUSE : TLS_CRL_STALE_WARN;
        put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = 3600});
        pair_init(&pair, &server, &client);
        assert_true(shake_hands(&pair));
        clock_offset_s = 3601;
        assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                         refuses ? REASON_CRL_STALE : REASON_NONE);
        pair_deinit(&pair);
        assert_int_equal(connects(&server, &client), !refuses);
        clock_offset_s = 0;
    }
    /* A stale list still revokes. */
    server.crl_stale = TLS_CRL_STALE_WARN;
    put_list(&world->authority,
             &(struct revocation){.revoked = world->agent, .updated_s = -60, .next_s = -30});
    assert_false(connects(&server, &client));
    server.crl_stale = TLS_CRL_STALE_REFUSE;
    put_list(&world->authority, &(struct revocation){.updated_s = 3600, .next_s = DAY_S});
    assert_false(connects(&server, &client));
}

/* Two issuers, a list of one: the certificates of the other cannot be checked. */
static void test_issuer_without_list(void **state)
{
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct tls_config server = server_config();

    server.ca_file = "both";
    server.crl_file = "crl";
    put_list(&world->other, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_false(connects(&server, &client));
}

/* A CA that goes on under its old name with a new key: the old key's list says nothing of it. */
static void test_issuer_of_the_same_name_without_list(void **state)
{
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct authority renewed = authority_new("authority");
    X509 *agent = certificate_new(&renewed, world->key, &agent_leaf);
    struct tls_config server = server_config();

    server.ca_file = "both";
    server.crl_file = "crl";
    /* The new one first: without key identifiers OpenSSL takes the first of the name. */
    write_certificate("both", renewed.certificate);
    append_certificate("both", world->authority.certificate);
    write_certificate("agent", agent);
    put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_false(connects(&server, &client));
    put_list(&renewed, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_true(connects(&server, &client));
    /* As the other tests found it. */
    write_certificate("agent", world->agent);
    write_certificate("both", world->authority.certificate);
    append_certificate("both", world->other.certificate);
    X509_free(agent);
    authority_deinit(&renewed);
}

static void check_not_loaded(const struct tls_config *config)
{
    struct tls *tls = NULL;

    assert_int_equal(tls_server_new(config, &tls), ESCROW_ERR_CONFIG);
    assert_null(tls);
}

static void test_lists_not_loaded(void **state)
{
    struct world *world = *state;
    struct tls_config server = server_config();

    server.crl_file = "crl";
    unlink("crl");
    check_not_loaded(&server);
    write_certificate("crl", world->agent);
    check_not_loaded(&server);
    put_list(&world->other, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    check_not_loaded(&server);
    put_list(&world->authority, &(struct revocation){.updated_s = -60});
    check_not_loaded(&server);
    put_list(
        &world->authority,
        &(struct revocation){.updated_s = -60, .next_s = DAY_S, .critical_idp = "onlyuser:TRUE"});
    check_not_loaded(&server);
}

static void append_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "ae");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What stands before something broken is not taken for all that the file holds. */
static void test_files_broken_behind_a_good_part(void **state)
{
    struct world *world = *state;
    struct tls_config server = server_config();
    struct tls *tls = NULL;

    server.crl_file = "crl";
    put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    append_text("crl", "# the end\n");
    assert_int_equal(tls_server_new(&server, &tls), ESCROW_OK);
    tls_free(TAKE(tls));
    append_text("crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    check_not_loaded(&server);
    put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    append_text("crl", "-----BEGIN X509 CRL-----\nAAAA\n");
    check_not_loaded(&server);
    server.crl_file = NULL;
    server.ca_file = "odd";
    write_certificate("odd", world->authority.certificate);
    append_text("odd", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check_not_loaded(&server);
}

static void test_broken_list_keeps_the_old(void **state)
{
    const struct tls_config client = agent_config();
    struct world *world = *state;
    struct tls_config server = server_config();
    struct tls_peer peer;
    struct pair pair;

    server.crl_file = "crl";
    put_list(&world->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    pair_init(&pair, &server, &client);
    assert_true(shake_hands(&pair));
    put_list(&world->other,
             &(struct revocation){.revoked = world->agent, .updated_s = -60, .next_s = DAY_S});
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_ERR_CONFIG);
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    unlink("crl");
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_ERR_CONFIG);
    put_list(&world->authority,
             &(struct revocation){.revoked = world->agent, .updated_s = -60, .next_s = DAY_S});
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_OK);
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_OK);
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_CERTIFICATE_REVOKED);
    pair_deinit(&pair);
}

static void test_files_not_loaded(void **state)
{
    struct world *world = *state;
    CLEANUP(key_free_p) EVP_PKEY *other_key = key_generate();
    struct tls_config config = server_config(), client = agent_config();
    struct tls *tls = NULL;

    config.ca_file = "agent"; /* a leaf would trust itself */
    check_not_loaded(&config);
    config.ca_file = "missing";
    check_not_loaded(&config);
    config = server_config();
    config.certificate = "agent"; /* another extended key usage */
    check_not_loaded(&config);
    config.certificate = "key";
    check_not_loaded(&config);
    config = server_config();
    assert_int_equal(key_write_private(other_key, "other-key"), ESCROW_OK);
    config.key = "other-key";
    check_not_loaded(&config);
    config.key = "key";
    assert_int_equal(chmod("key", 0644), 0);
    check_not_loaded(&config);
    assert_int_equal(chmod("key", 0600), 0);

    client.server_identity = "https://corp.example";
    assert_int_equal(tls_client_new(&client, &tls), ESCROW_ERR_CONFIG);
    client.server_identity = NULL;
    assert_int_equal(tls_client_new(&client, &tls), ESCROW_ERR_CONFIG);
    assert_null(tls);
    (void)world;
}

static void check_at(const struct tls *tls, long offset_s, enum reason reason, bool is_served)
{
    struct tls_item item;
    bool served;

    assert_int_equal(tls_check(tls, time(NULL) + offset_s, &item, &served), reason);
    assert_int_equal(served, is_served);
    assert_int_equal(tls_item_check(&item, time(NULL) + offset_s), reason);
}

/* The certificate is good for 90 days, the CA for longer, the list for one. */
static void check_ends(struct tls_config *config)
{
    CLEANUP(tls_free_p) struct tls *without = NULL, *warns = NULL, *refuses = NULL;

    assert_int_equal(tls_server_new(config, &warns), ESCROW_OK);
    config->crl_stale = TLS_CRL_STALE_REFUSE;
    assert_int_equal(tls_server_new(config, &refuses), ESCROW_OK);
    config->crl_file = NULL;
    assert_int_equal(tls_server_new(config, &without), ESCROW_OK);
    check_at(refuses, 0, REASON_NONE, true);
    check_at(warns, 2 * DAY_S, REASON_CRL_STALE, true);
    check_at(refuses, 2 * DAY_S, REASON_CRL_STALE, false);
    check_at(without, 59 * DAY_S, REASON_NONE, true);
    check_at(without, 61 * DAY_S, REASON_OWN_CERTIFICATE_EXPIRING, true);
    /* What ends the service comes before what only will. */
    check_at(refuses, 61 * DAY_S, REASON_CRL_STALE, false);
    check_at(warns, 91 * DAY_S, REASON_OWN_CERTIFICATE_EXPIRED, false);
}

static void test_own_certificate(void **state)
{
    struct world *world = *state;
    const struct leaf leaf = {
        .san = "URI:" SERVER, .eku = "serverAuth", .from_s = -60, .until_s = 90 * DAY_S};
    const struct revocation revocation = {.updated_s = -60, .next_s = DAY_S};
    X509 *certificate = certificate_new(&world->authority, world->key, &leaf);
    X509_CRL *list = revocation_list_new(&world->authority, &revocation);
    struct tls_config config = server_config();
    CLEANUP(tls_free_p) struct tls *tls = NULL;
    struct tls_facts facts;
    int64_t now = time(NULL);

    assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), 0x80ffee), 1);
    assert_true(X509_sign(certificate, world->authority.key, EVP_sha256()) > 0);
    write_certificate("odd", certificate);
    write_list("crl", list);
    config.certificate = "odd";
    config.crl_file = "crl";
    assert_int_equal(tls_server_new(&config, &tls), ESCROW_OK);
    tls_facts(tls, &facts);
    assert_string_equal(facts.serial, "80ffee");
    assert_in_range(facts.not_after, now + 90 * DAY_S - 60, now + 90 * DAY_S);
    assert_in_range(facts.crl_next_update, now + DAY_S - 60, now + DAY_S);
    check_ends(&config);
    X509_free(certificate);
    X509_CRL_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_old_protocol),
        cmocka_unit_test(test_client_without_certificate),
        cmocka_unit_test(test_clients_refused),
        cmocka_unit_test(test_servers_refused),
        cmocka_unit_test(test_revoked_at_handshake),
        cmocka_unit_test(test_revoked_on_request),
        cmocka_unit_test(test_expired_on_request),
        cmocka_unit_test(test_stale_list),
        cmocka_unit_test(test_issuer_without_list),
        cmocka_unit_test(test_issuer_of_the_same_name_without_list),
        cmocka_unit_test(test_lists_not_loaded),
        cmocka_unit_test(test_files_broken_behind_a_good_part),
        cmocka_unit_test(test_broken_list_keeps_the_old),
        cmocka_unit_test(test_files_not_loaded),
        cmocka_unit_test(test_own_certificate),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, setup, teardown);
}
