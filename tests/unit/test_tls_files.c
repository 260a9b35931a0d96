/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are taken: certificates, keys, authorities, revocation lists. */
#include "libescrow/key.h"
#include "libescrow/secret.h"
#include "tests/unit/tls_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST(test) cmocka_unit_test_setup_teardown(test, tls_scene_setup, tls_scene_teardown)

static void check_not_loaded(const struct tls_config *config)
{
    struct tls *tls = NULL;

    assert_int_equal(tls_server_new(config, &tls), ESCROW_ERR_CONFIG);
    assert_null(tls);
}

static void test_lists_not_loaded(void **state)
{
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();

    server.crl_file = "crl";
    unlink("crl");
    check_not_loaded(&server);
    write_certificate("crl", scene->agent);
    check_not_loaded(&server);
    put_list(&scene->other, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    check_not_loaded(&server);
    put_list(&scene->authority, &(struct revocation){.updated_s = -60});
    check_not_loaded(&server);
    put_list(
        &scene->authority,
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
    struct tls_scene *scene = *state;
    struct tls_config server = server_config();
    struct tls *tls = NULL;

    server.crl_file = "crl";
    put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    append_text("crl", "# the end\n");
    assert_int_equal(tls_server_new(&server, &tls), ESCROW_OK);
    tls_free(TAKE(tls));
    append_text("crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    check_not_loaded(&server);
    put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    append_text("crl", "-----BEGIN X509 CRL-----\nAAAA\n");
    check_not_loaded(&server);
    server.crl_file = NULL;
    server.ca_file = "odd";
    write_certificate("odd", scene->authority.certificate);
    append_text("odd", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check_not_loaded(&server);
}

static void test_broken_list_keeps_the_old(void **state)
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
    put_list(&scene->other,
             &(struct revocation){.revoked = scene->agent, .updated_s = -60, .next_s = DAY_S});
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_ERR_CONFIG);
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_NONE);
    unlink("crl");
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_ERR_CONFIG);
    put_list(&scene->authority,
             &(struct revocation){.revoked = scene->agent, .updated_s = -60, .next_s = DAY_S});
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_OK);
    assert_int_equal(tls_refresh_crl(pair.server_tls), ESCROW_OK);
    assert_int_equal(tls_peer_check(pair.server_tls, pair.server, &pair.verified, &peer),
                     REASON_CERTIFICATE_REVOKED);
    pair_deinit(&pair);
}

static void test_files_not_loaded(void **state)
{
    struct tls_scene *scene = *state;
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
    (void)scene;
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
    struct tls_scene *scene = *state;
    const struct leaf leaf = {
        .san = "URI:" SERVER, .eku = "serverAuth", .from_s = -60, .until_s = 90 * DAY_S};
    const struct revocation revocation = {.updated_s = -60, .next_s = DAY_S};
    X509 *certificate = certificate_new(&scene->authority, scene->key, &leaf);
    X509_CRL *list = revocation_list_new(&scene->authority, &revocation);
    struct tls_config config = server_config();
    CLEANUP(tls_free_p) struct tls *tls = NULL;
    struct tls_facts facts;
    int64_t now = time(NULL);

    assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), 0x80ffee), 1);
    assert_true(X509_sign(certificate, scene->authority.key, EVP_sha256()) > 0);
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
        TEST(test_lists_not_loaded),          TEST(test_files_broken_behind_a_good_part),
        TEST(test_broken_list_keeps_the_old), TEST(test_files_not_loaded),
        TEST(test_own_certificate),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
