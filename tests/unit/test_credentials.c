/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials as the supervisor seals and front reads them, and a peer's chain under new ones. */
#include "escrowd/credentials.h"
#include "libescrow/cleanup.h"
#include "tests/unit/tls_scene.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST(test) cmocka_unit_test_setup_teardown(test, tls_scene_setup, tls_scene_teardown)

static struct escrowd_tls served(void)
{
    return (struct escrowd_tls){
        .ca_file = "ca", .crl_file = "crl", .certificate_file = "server", .key_file = "key"};
}

static void put_empty_list(const struct authority *authority)
{
    put_list(authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
}

static struct tls *load(const struct escrowd_tls *credentials)
{
    struct tls *tls = NULL;
    int fd = -1;

    assert_int_equal(credentials_seal(credentials, &fd), ESCROW_OK);
    assert_int_equal(credentials_read(fd, &tls), ESCROW_OK);
    close(fd);
    return tls;
}

/* NULL: refused. */
static struct tls *renew(const struct escrowd_tls *credentials, const struct tls *in_use)
{
    struct tls *tls = NULL;
    int fd = -1;
    enum escrow_err err;

    assert_int_equal(credentials_seal(credentials, &fd), ESCROW_OK);
    err = credentials_renew(fd, in_use, &tls);
    assert_int_equal(err, tls ? ESCROW_OK : ESCROW_ERR_CONFIG);
    close(fd);
    return tls;
}

static void test_a_copy_is_sealed_and_whole(void **state)
{
    struct escrowd_tls credentials = served();
    struct tls_item items[TLS_ITEMS_MAX];
    struct tls *tls;
    int fd = -1;

    (void)state;
    assert_int_equal(credentials_seal(&credentials, &fd), ESCROW_OK);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_true(fcntl(fd, F_GET_SEALS) & F_SEAL_SEAL);
    /* What it holds does not depend on the files any more, nor on where its position is. */
    assert_int_equal(unlink("ca") | unlink("crl") | unlink("server") | unlink("key"), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(credentials_read(fd, &tls), ESCROW_OK);
        assert_string_equal(tls_own_identity(tls), SERVER);
        assert_int_equal(tls_describe(tls, items), 3);
        tls_free(tls);
    }
    close(fd);
}

static void test_what_is_loaded(void **state)
{
    struct escrowd_tls credentials = served();
    struct tls_item items[TLS_ITEMS_MAX];
    struct tls *tls = load(&credentials);

    (void)state;
    assert_int_equal(tls_describe(tls, items), 3);
    assert_int_equal(items[0].kind, TLS_ITEM_CERTIFICATE);
    assert_string_equal(items[0].name, SERVER);
    assert_true(items[0].serial[0] != '\0');
    assert_in_range(items[0].from_s, time(NULL) - 3600, time(NULL) + 1);
    assert_true(items[0].until_s > time(NULL));
    assert_int_equal(items[1].kind, TLS_ITEM_CA);
    assert_string_equal(items[1].name, "CN=authority");
    assert_int_equal(items[2].kind, TLS_ITEM_CRL);
    assert_string_equal(items[2].name, "CN=authority");
    assert_in_range(items[2].until_s, time(NULL) + DAY_S - 60, time(NULL) + DAY_S);
    tls_free(tls);
}

static void test_without_a_list(void **state)
{
    struct escrowd_tls credentials = served();
    struct tls *tls;

    (void)state;
    credentials.crl_file = NULL;
    tls = load(&credentials);
    tls_free(tls);
}

static void test_files_that_cannot_be_copied(void **state)
{
    struct escrowd_tls credentials = served();
    int fd = -1;

    (void)state;
    assert_int_equal(chmod("key", 0640), 0);
    assert_int_equal(credentials_seal(&credentials, &fd), ESCROW_ERR_CONFIG);
    assert_int_equal(chmod("key", 0600), 0);
    assert_int_equal(truncate("key", 0), 0);
    assert_int_equal(credentials_seal(&credentials, &fd), ESCROW_ERR_CONFIG);
    credentials.key_file = "nothing";
    assert_int_equal(credentials_seal(&credentials, &fd), ESCROW_ERR_CONFIG);
    credentials = served();
    credentials.ca_file = ".";
    assert_int_equal(credentials_seal(&credentials, &fd), ESCROW_ERR_CONFIG);
    assert_int_equal(fd, -1);
}

/* The supervisor sends nothing else; but what is read is checked. */
static void test_a_descriptor_of_something_else(void **state)
{
    struct escrowd_tls credentials = served();
    CLEANUP(cleanup_free) char *bytes = NULL;
    struct stat status;
    struct tls *tls;
    int fd = -1, cut;

    (void)state;
    assert_int_equal(credentials_seal(&credentials, &fd), ESCROW_OK);
    assert_int_equal(fstat(fd, &status), 0);
    bytes = malloc((size_t)status.st_size);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, (size_t)status.st_size, 0), status.st_size);
    cut = memfd_create("cut", MFD_CLOEXEC);
    assert_int_equal(write(cut, bytes, (size_t)status.st_size - 1), status.st_size - 1);
    assert_int_equal(credentials_read(cut, &tls), ESCROW_ERR_SYSTEM);
    assert_int_equal(ftruncate(cut, 10), 0);
    assert_int_equal(credentials_read(cut, &tls), ESCROW_ERR_SYSTEM);
    close(cut);
    close(fd);
}

static void test_what_must_not_replace_what_serves(void **state)
{
    const struct leaf renamed = {.san = "URI:spiffe://corp.example/escrowd/e2",
                                 .eku = "serverAuth"};
    const struct leaf expired = {
        .san = "URI:" SERVER, .eku = "serverAuth", .from_s = -2 * DAY_S, .until_s = -DAY_S};
    const struct leaf early = {
        .san = "URI:" SERVER, .eku = "serverAuth", .from_s = DAY_S, .until_s = 2 * DAY_S};
    struct tls_scene *scene = *state;
    struct escrowd_tls credentials = served();
    struct tls *in_use = load(&credentials), *fresh;

    fresh = renew(&credentials, in_use);
    assert_non_null(fresh);
    tls_free(fresh);
    credentials.certificate_file = "odd";
    write_leaf("odd", &scene->authority, scene->key, &renamed);
    assert_null(renew(&credentials, in_use));
    write_leaf("odd", &scene->authority, scene->key, &expired);
    assert_null(renew(&credentials, in_use));
    write_leaf("odd", &scene->authority, scene->key, &early);
    assert_null(renew(&credentials, in_use));
    credentials = served();
    put_empty_list(&scene->other);
    assert_null(renew(&credentials, in_use));
    tls_free(in_use);
}

/* ---- a connection that outlives the credentials it was made under ---- */

static void connect_pair(struct tls_pair *pair)
{
    const struct escrowd_tls credentials = served();
    const struct tls_config client = agent_config();

    *pair = (struct tls_pair){.server_tls = load(&credentials)};
    assert_int_equal(tls_client_new(&client, &pair->client_tls), ESCROW_OK);
    pair_join(pair);
    assert_true(shake_hands(pair));
}

static enum reason check(struct tls_pair *pair, struct tls *tls)
{
    struct tls_peer peer;

    return tls_peer_check(tls, pair->server, &pair->verified, &peer);
}

static void test_a_peer_is_held_to_the_new_authorities(void **state)
{
    struct tls_scene *scene = *state;
    struct escrowd_tls credentials = served();
    struct tls *same, *both, *other;
    struct tls_pair pair;

    connect_pair(&pair);
    assert_int_equal(check(&pair, pair.server_tls), REASON_NONE);
    assert_null(pair.verified.chain);
    same = load(&credentials);
    append_certificate("ca", scene->other.certificate);
    both = load(&credentials);
    write_certificate("ca", scene->other.certificate);
    put_empty_list(&scene->other);
    other = load(&credentials);
    assert_int_equal(check(&pair, same), REASON_NONE);
    assert_non_null(pair.verified.chain);
    assert_int_equal(check(&pair, both), REASON_NONE);
    assert_int_equal(check(&pair, other), REASON_CERTIFICATE_UNTRUSTED);
    assert_int_equal(check(&pair, other), REASON_CERTIFICATE_UNTRUSTED);
    /* The old ones come back. */
    assert_int_equal(check(&pair, both), REASON_NONE);
    tls_free(same);
    tls_free(both);
    tls_free(other);
    pair_deinit(&pair);
}

/* Another CA of the same name issued nothing of ours. */
static void test_the_name_of_an_authority_is_not_enough(void **state)
{
    struct tls_scene *scene = *state;
    struct escrowd_tls credentials = served();
    struct authority same_name = authority_new("authority");
    struct tls *tls;
    struct tls_pair pair;

    (void)scene;
    connect_pair(&pair);
    write_certificate("ca", same_name.certificate);
    put_empty_list(&same_name);
    tls = load(&credentials);
    assert_int_equal(check(&pair, tls), REASON_CERTIFICATE_UNTRUSTED);
    tls_free(tls);
    pair_deinit(&pair);
    authority_deinit(&same_name);
}

/* An SSL keeps what it was made from, whoever else lets go of it. */
static void test_a_context_goes_with_its_last_owner(void **state)
{
    struct escrowd_tls credentials = served();
    struct tls *shared;
    struct tls_pair pair;

    (void)state;
    connect_pair(&pair);
    shared = tls_share(pair.server_tls);
    tls_free(pair.server_tls);
    pair.server_tls = load(&credentials);
    for (int i = 0; i < 50; i++) {
        struct tls *fresh = renew(&credentials, pair.server_tls);

        assert_non_null(fresh);
        tls_free(pair.server_tls);
        pair.server_tls = fresh;
        assert_int_equal(check(&pair, fresh), REASON_NONE);
    }
    pair_deinit(&pair);
    tls_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_copy_is_sealed_and_whole),
        TEST(test_what_is_loaded),
        TEST(test_without_a_list),
        TEST(test_files_that_cannot_be_copied),
        TEST(test_a_descriptor_of_something_else),
        TEST(test_what_must_not_replace_what_serves),
        TEST(test_a_peer_is_held_to_the_new_authorities),
        TEST(test_the_name_of_an_authority_is_not_enough),
        TEST(test_a_context_goes_with_its_last_owner),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
