/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tls_scene.h"

#include "libescrow/key.h"

#include <openssl/err.h>

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

const struct leaf server_leaf = {.san = "URI:" SERVER ",DNS:localhost", .eku = "serverAuth"};
const struct leaf agent_leaf = {.san = "URI:" AGENT, .eku = "clientAuth"};

void write_leaf(const char *path, const struct authority *authority, EVP_PKEY *key,
                const struct leaf *leaf)
{
    X509 *certificate = certificate_new(authority, key, leaf);

    write_certificate(path, certificate);
    X509_free(certificate);
}

void put_list(const struct authority *authority, const struct revocation *revocation)
{
    X509_CRL *list = revocation_list_new(authority, revocation);

    unlink("crl");
    write_list("crl", list);
    X509_CRL_free(list);
}

int tls_scene_setup(void **state)
{
    struct tls_scene *scene = calloc(1, sizeof(*scene));
    const char *parent = getenv("TMPDIR");

    assert_non_null(scene);
    assert_true(asprintf(&scene->folder, "%s/tls.XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(scene->folder));
    assert_int_equal(chdir(scene->folder), 0);
    scene->authority = authority_new("authority");
    scene->other = authority_new("other");
    scene->key = key_generate();
    scene->agent = certificate_new(&scene->authority, scene->key, &agent_leaf);
    assert_int_equal(key_write_private(scene->key, "key"), ESCROW_OK);
    write_certificate("ca", scene->authority.certificate);
    write_certificate("both", scene->authority.certificate);
    append_certificate("both", scene->other.certificate);
    write_leaf("server", &scene->authority, scene->key, &server_leaf);
    write_certificate("agent", scene->agent);
    put_list(&scene->authority, &(struct revocation){.updated_s = -60, .next_s = DAY_S});
    *state = scene;
    return 0;
}

static void empty_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;

    assert_non_null(folder);
    while ((entry = readdir(folder)))
        unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
}

int tls_scene_teardown(void **state)
{
    struct tls_scene *scene = *state;

    empty_folder(scene->folder);
    assert_int_equal(rmdir(scene->folder), 0);
    authority_deinit(&scene->authority);
    authority_deinit(&scene->other);
    X509_free(scene->agent);
    EVP_PKEY_free(scene->key);
    free(scene->folder);
    free(scene);
    return 0;
}

struct tls_config server_config(void)
{
    return (struct tls_config){.ca_file = "ca", .certificate = "server", .key = "key"};
}

struct tls_config agent_config(void)
{
    return (struct tls_config){
        .ca_file = "ca", .certificate = "agent", .key = "key", .server_identity = SERVER};
}

void pair_init(struct tls_pair *pair, const struct tls_config *server,
               const struct tls_config *client)
{
    *pair = (struct tls_pair){0};
    assert_int_equal(tls_server_new(server, &pair->server_tls), ESCROW_OK);
    assert_int_equal(tls_client_new(client, &pair->client_tls), ESCROW_OK);
    pair_join(pair);
}

void pair_join(struct tls_pair *pair)
{
    BIO *server_end, *client_end;

    assert_int_equal(BIO_new_bio_pair(&server_end, 0, &client_end, 0), 1);
    pair->server = SSL_new(tls_context(pair->server_tls));
    pair->client = SSL_new(tls_context(pair->client_tls));
    SSL_set_bio(pair->server, server_end, server_end);
    SSL_set_bio(pair->client, client_end, client_end);
    SSL_set_accept_state(pair->server);
    SSL_set_connect_state(pair->client);
}

void pair_deinit(struct tls_pair *pair)
{
    SSL_free(pair->server);
    SSL_free(pair->client);
    tls_verified_deinit(&pair->verified);
    tls_free(pair->server_tls);
    tls_free(pair->client_tls);
    ERR_clear_error();
}

bool shake_hands(struct tls_pair *pair)
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
