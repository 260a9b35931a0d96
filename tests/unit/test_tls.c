/* SPDX-License-Identifier: Apache-2.0 */
/* Who may speak to whom: handshakes, and what is asked of a connection at each request. */
#include "libescrow/secret.h"
#include "tests/unit/tls_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define TEST(test) cmocka_unit_test_setup_teardown(test, tls_scene_setup, tls_scene_teardown)

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

static bool connects(const struct tls_config *server, const struct tls_config *client)
{
    struct tls_pair pair;
    bool is_connected;

    pair_init(&pair, server, client);
    is_connected = shake_hands(&pair);
    pair_deinit(&pair);
    return is_connected;
}

static void test_handshake(void **state)
{
    struct tls_scene *scene = *state;
    const struct tls_config server = server_config(), client = agent_config();
    uint8_t digest[32];
    struct tls_peer peer;
    struct tls_pair pair;

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
    assert_int_equal(X509_digest(scene->agent, EVP_sha256(), digest, NULL), 1);
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
        struct tls_pair pair;

        pair_init(&pair, &server, &client);
        assert_int_equal(SSL_set1_groups_list(pair.client, cases[i].group), 1);
        assert_int_equal(shake_hands(&pair), cases[i].is_taken);
        pair_deinit(&pair);
    }
}

static void test_old_protocol(void **state)
{
    const struct tls_config server = server_config(), client = agent_config();
    struct tls_pair pair;

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
    struct tls_pair pair;

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
    struct tls_pair pair;
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
    struct tls_scene *scene = *state;
    X509 *stranger = certificate_new(&scene->other, scene->key, &agent_leaf);

    assert_true(presents(scene->key, scene->agent));
    for (size_t i = 0; i < ARRAY_LEN(bad_clients); i++) {
        X509 *odd = certificate_new(&scene->authority, scene->key, &bad_clients[i]);

        assert_false(presents(scene->key, odd));
        X509_free(odd);
    }
    assert_false(presents(scene->key, stranger));
    X509_free(stranger);
}

static void test_servers_refused(void **state)
{
    static const struct leaf leaves[] = {
        {.san = "URI:spiffe://corp.example/escrowd/e2", .eku = "serverAuth"},
        {.san = "URI:" AGENT, .eku = "serverAuth"},
    };
    const struct tls_config client = agent_config();
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();

    server.certificate = "odd";
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        X509 *odd = certificate_new(&scene->authority, scene->key, &leaves[i]);

        write_certificate("odd", odd);
        assert_false(connects(&server, &client));
        X509_free(odd);
    }
}

static void test_revoked_at_handshake(void **state)
{
    const struct tls_config client = agent_config();
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();

    server.crl_file = "crl";
    put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_true(connects(&server, &client));
    put_list(&scene->authority,
             &(struct revocation){.revoked = scene->agent, .updated_s = -60, .next_s = DAY_S});
    assert_false(connects(&server, &client));
}

/* The connection is older than the list. */
static void test_revoked_on_request(void **state)
{
    const struct tls_config client = agent_config();
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();
    struct tls_peer peer;
    struct tls_pair pair;

    server.crl_file = "crl";
    put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    pair_init(&pair, &server, &client);
    assert_true(shake_hands(&pair));
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    put_list(&scene->authority,
             &(struct revocation){.revoked = scene->agent, .updated_s = -60, .next_s = DAY_S});
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
    struct tls_scene *scene = *state;
    struct tls_config client = agent_config();
    X509 *certificate =
        certificate_new(&scene->authority, scene->key,
                        &(struct leaf){.san = "URI:" AGENT, .eku = "clientAuth", .until_s = 3600});
    struct tls_peer peer;
    struct tls_pair pair;

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
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();
    struct tls_peer peer;
    struct tls_pair pair;

    server.crl_file = "crl";
    for (int refuses = 0; refuses < 2; refuses++) {
        server.crl_stale = refuses ? TLS_CRL_STALE_REFUSE : TLS_CRL_STALE_WARN;
        put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = 3600});
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
    put_list(&scene->authority,
             &(struct revocation){.revoked = scene->agent, .updated_s = -60, .next_s = -30});
    assert_false(connects(&server, &client));
    server.crl_stale = TLS_CRL_STALE_REFUSE;
    put_list(&scene->authority, &(struct revocation){.updated_s = 3600, .next_s = DAY_S});
    assert_false(connects(&server, &client));
}

/* Two issuers, a list of one: the certificates of the other cannot be checked. */
static void test_issuer_without_list(void **state)
{
    const struct tls_config client = agent_config();
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();

    server.ca_file = "both";
    server.crl_file = "crl";
    put_list(&scene->other, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_false(connects(&server, &client));
}

/* A CA that goes on under its old name with a new key: the old key's list says nothing of it. */
static void test_issuer_of_the_same_name_without_list(void **state)
{
    const struct tls_config client = agent_config();
    struct tls_scene *scene = *state;
    struct authority renewed = authority_new("authority");
    X509 *agent = certificate_new(&renewed, scene->key, &agent_leaf);
    struct tls_config server = server_config();

    server.ca_file = "both";
    server.crl_file = "crl";
    /* The new one first: without key identifiers OpenSSL takes the first of the name. */
    write_certificate("both", renewed.certificate);
    append_certificate("both", scene->authority.certificate);
    write_certificate("agent", agent);
    put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_false(connects(&server, &client));
    put_list(&renewed, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    assert_true(connects(&server, &client));
    X509_free(agent);
    authority_deinit(&renewed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_handshake),
        TEST(test_groups),
        TEST(test_old_protocol),
        TEST(test_client_without_certificate),
        TEST(test_clients_refused),
        TEST(test_servers_refused),
        TEST(test_revoked_at_handshake),
        TEST(test_revoked_on_request),
        TEST(test_expired_on_request),
        TEST(test_stale_list),
        TEST(test_issuer_without_list),
        TEST(test_issuer_of_the_same_name_without_list),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
