/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials as the supervisor seals and front reads them, and a peer's chain under new ones. */
#include "escrowd/credentials.h"
#include "libescrow/cleanup.h"
#include "libescrow/key.h"
#include "tests/unit/certificates.h"

#include <openssl/err.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER "spiffe://corp.example/escrowd/e1"
#define AGENT "spiffe://corp.example/sql1/agent"
#define DAY_S (24L * 3600)

static const struct leaf server_leaf = {.san = "URI:" SERVER, .eku = "serverAuth"};
static const struct leaf agent_leaf = {.san = "URI:" AGENT, .eku = "clientAuth"};

struct world {
    char *folder;
    struct authority authority, other;
    EVP_PKEY *key; /* of every leaf */
};

static const char *const files[] = {"ca", "crl", "server", "agent", "key", "odd"};

static struct escrowd_tls served(void)
{
    return (struct escrowd_tls){
        .ca_file = "ca", .crl_file = "crl", .certificate_file = "server", .key_file = "key"};
}

static void write_leaf(const char *path, const struct authority *authority, EVP_PKEY *key,
                       const struct leaf *leaf)
{
    X509 *certificate = certificate_new(authority, key, leaf);

    write_certificate(path, certificate);
    X509_free(certificate);
}

static void write_crl(const struct authority *authority)
{
    X509_CRL *list =
        revocation_list_new(authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});

    write_list("crl", list);
    X509_CRL_free(list);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const char *parent = getenv("TMPDIR");

    assert_non_null(world);
    assert_true(asprintf(&world->folder, "%s/credentials.XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(chdir(world->folder), 0);
    world->authority = authority_new("authority");
    world->other = authority_new("other");
    world->key = key_generate();
    assert_int_equal(key_write_private(world->key, "key"), ESCROW_OK);
    write_certificate("ca", world->authority.certificate);
    write_leaf("server", &world->authority, world->key, &server_leaf);
    write_leaf("agent", &world->authority, world->key, &agent_leaf);
    write_crl(&world->authority);
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
    EVP_PKEY_free(world->key);
    free(world->folder);
    free(world);
    return 0;
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
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
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
    struct world *world = *state;
    struct escrowd_tls credentials = served();
    struct tls *in_use = load(&credentials), *fresh;

    fresh = renew(&credentials, in_use);
    assert_non_null(fresh);
    tls_free(fresh);
    credentials.certificate_file = "odd";
    write_leaf("odd", &world->authority, world->key, &renamed);
    assert_null(renew(&credentials, in_use));
    write_leaf("odd", &world->authority, world->key, &expired);
    assert_null(renew(&credentials, in_use));
    write_leaf("odd", &world->authority, world->key, &early);
    assert_null(renew(&credentials, in_use));
    credentials = served();
    write_crl(&world->other);
    assert_null(renew(&credentials, in_use));
    tls_free(in_use);
}

/* ---- a connection that outlives the credentials it was made under ---- */

struct pair {
    struct tls *server_tls, *client_tls;
    SSL *server, *client;
    struct tls_verified verified;
};

static void connect_pair(struct pair *pair)
{
    const struct escrowd_tls credentials = served();
    const struct tls_config client = {
        .ca_file = "ca", .certificate = "agent", .key = "key", .server_identity = SERVER};
    BIO *server_end, *client_end;

    *pair = (struct pair){.server_tls = load(&credentials)};
    assert_int_equal(tls_client_new(&client, &pair->client_tls), ESCROW_OK);
    assert_int_equal(BIO_new_bio_pair(&server_end, 0, &client_end, 0), 1);
    pair->server = SSL_new(tls_context(pair->server_tls));
    pair->client = SSL_new(tls_context(pair->client_tls));
    SSL_set_bio(pair->server, server_end, server_end);
    SSL_set_bio(pair->client, client_end, client_end);
    SSL_set_accept_state(pair->server);
    SSL_set_connect_state(pair->client);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(pair->client);
        SSL_do_handshake(pair->server);
        ERR_clear_error();
    }
    assert_true(SSL_is_init_finished(pair->server));
}

static void close_pair(struct pair *pair)
{
    SSL_free(pair->server);
    SSL_free(pair->client);
    tls_verified_deinit(&pair->verified);
    tls_free(pair->server_tls);
    tls_free(pair->client_tls);
    ERR_clear_error();
}

static enum reason check(struct pair *pair, struct tls *tls)
{
    struct tls_peer peer;

    return tls_peer_check(tls, pair->server, &pair->verified, &peer);
}

static void test_a_peer_is_held_to_the_new_authorities(void **state)
{
    struct world *world = *state;
    struct escrowd_tls credentials = served();
    struct tls *same, *both, *other;
    struct pair pair;

    connect_pair(&pair);
    assert_int_equal(check(&pair, pair.server_tls), REASON_NONE);
    assert_null(pair.verified.chain);
    same = load(&credentials);
    append_certificate("ca", world->other.certificate);
    both = load(&credentials);
    write_certificate("ca", world->other.certificate);
    write_crl(&world->other);
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
    close_pair(&pair);
}

/* Another CA of the same name issued nothing of ours. */
static void test_the_name_of_an_authority_is_not_enough(void **state)
{
    struct world *world = *state;
    struct escrowd_tls credentials = served();
    struct authority same_name = authority_new("authority");
    struct tls *tls;
    struct pair pair;

    (void)world;
    connect_pair(&pair);
    write_certificate("ca", same_name.certificate);
    write_crl(&same_name);
    tls = load(&credentials);
    assert_int_equal(check(&pair, tls), REASON_CERTIFICATE_UNTRUSTED);
    tls_free(tls);
    close_pair(&pair);
    authority_deinit(&same_name);
}

/* An SSL keeps what it was made from, whoever else lets go of it. */
static void test_a_context_goes_with_its_last_owner(void **state)
{
    struct escrowd_tls credentials = served();
    struct tls *shared;
    struct pair pair;

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
    close_pair(&pair);
    tls_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_copy_is_sealed_and_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_loaded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_cannot_be_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_descriptor_of_something_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_must_not_replace_what_serves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_peer_is_held_to_the_new_authorities, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_name_of_an_authority_is_not_enough, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_context_goes_with_its_last_owner, setup, teardown),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
