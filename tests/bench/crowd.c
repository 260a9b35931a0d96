/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many agents at once, for benches: what escrow-certs and `escrowctl enroll` make for one.
 *
 *   crowd CA FOLDER GROUP INSTANCE COUNT [each]
 *
 * Writes COUNT certificates into FOLDER/crowd.pem, all with the key FOLDER/crowd.key, and for N
 * from 1 to COUNT the enrollment FOLDER/N.enroll of an act key that is forgotten: this crowd only
 * waits. CA is the folder of an escrow-certs init-ca.
 *
 * With `each`, agent N is of a group of its own, GROUP-N, and can act for it: FOLDER/N.act is its
 * act key, FOLDER/N.pem its certificate and FOLDER/N.key the key of that.
 */
#include "client/enrollment.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/secret.h"
#include "tests/unit/certificates.h"

#include <openssl/pem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 512
#define DAY_S 86400

struct crowd {
    struct authority authority;
    EVP_PKEY *key;
    FILE *certificates;
    const char *folder, *group, *instance;
    bool is_each;
};

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "crowd: %s\n", what);
    exit(EXIT_FAILURE);
}

static X509 *read_certificate(const char *path)
{
    FILE *file = fopen(path, "re");
    X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

    if (!certificate)
        fail("the CA's certificate cannot be read");
    fclose(file);
    return certificate;
}

static struct authority read_authority(const char *folder)
{
    struct authority authority = {0};
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/ca.pem", folder);
    authority.certificate = read_certificate(path);
    snprintf(path, sizeof(path), "%s/ca.key", folder);
    if (key_read_private(path, &authority.key) != ESCROW_OK)
        fail("the CA's key cannot be read");
    return authority;
}

/* FOLDER/N.SUFFIX */
static void path_of(const struct crowd *crowd, size_t number, const char *suffix,
                    char ret_path[static PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%s/%zu.%s", crowd->folder, number, suffix);
}

static void enroll(const struct crowd *crowd, size_t number, const char *identity, EVP_PKEY *key)
{
    CLEANUP(json_free_p) json_t *entry = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    char path[PATH_BYTES], group[64];
    FILE *file;

    path_of(crowd, number, "enroll", path);
    snprintf(group, sizeof(group), crowd->is_each ? "%s-%zu" : "%s", crowd->group, number);
    entry = json_pack("{s:s, s:s, s:[s], s:[s]}", "identity", identity, "role", "agent", "groups",
                      group, "instances", crowd->instance);
    file = fopen(path, "we");
    if (!entry || !file || enrollment_sign(entry, key, &compact) != ESCROW_OK ||
        fprintf(file, "%s\n", compact) < 0)
        fail("an enrollment cannot be written");
    fclose(file);
}

/* What it needs to act by itself. */
static void equip(const struct crowd *crowd, size_t number, EVP_PKEY *act_key, X509 *certificate)
{
    char path[PATH_BYTES];
    FILE *file;

    path_of(crowd, number, "act", path);
    if (key_write_private(act_key, path) != ESCROW_OK)
        fail("an act key cannot be written");
    path_of(crowd, number, "key", path);
    if (key_write_private(crowd->key, path) != ESCROW_OK)
        fail("a key cannot be written");
    path_of(crowd, number, "pem", path);
    file = fopen(path, "we");
    if (!file || PEM_write_X509(file, certificate) != 1)
        fail("a certificate cannot be written");
    fclose(file);
}

static void make(const struct crowd *crowd, size_t number)
{
    CLEANUP(key_free_p) EVP_PKEY *act_key = key_generate();
    char identity[64], san[80];
    const struct leaf leaf = {.san = san, .eku = "clientAuth", .from_s = -60, .until_s = DAY_S};
    X509 *certificate;

    snprintf(identity, sizeof(identity), "spiffe://test/agent/crowd-%zu", number);
    snprintf(san, sizeof(san), "URI:%s", identity);
    certificate = certificate_new(&crowd->authority, crowd->key, &leaf);
    if (!act_key || !certificate || PEM_write_X509(crowd->certificates, certificate) != 1)
        fail("a certificate cannot be made");
    enroll(crowd, number, identity, act_key);
    if (crowd->is_each)
        equip(crowd, number, act_key, certificate);
    X509_free(certificate);
}

static struct crowd begin(char **arguments)
{
    struct crowd crowd = {.authority = read_authority(arguments[1]),
                          .key = key_generate(),
                          .folder = arguments[2],
                          .group = arguments[3],
                          .instance = arguments[4],
                          .is_each = arguments[6] != NULL};
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/crowd.key", arguments[2]);
    if (!crowd.key || key_write_private(crowd.key, path) != ESCROW_OK)
        fail("the key cannot be written");
    snprintf(path, sizeof(path), "%s/crowd.pem", arguments[2]);
    crowd.certificates = fopen(path, "we");
    if (!crowd.certificates)
        fail("the certificates cannot be written");
    return crowd;
}

int main(int argc, char **argv)
{
    struct crowd crowd;
    size_t count = argc == 6 || argc == 7 ? strtoul(argv[5], NULL, 10) : 0;

    log_init("crowd", LOG_LEVEL_WARNING);
    if (count == 0)
        fail("usage: crowd CA FOLDER GROUP INSTANCE COUNT [each]");
    if (secret_heap_init() != ESCROW_OK)
        fail("no locked memory");
    crowd = begin(argv);
    for (size_t i = 1; i <= count; i++)
        make(&crowd, i);
    if (fclose(crowd.certificates) != 0)
        fail("the certificates cannot be written");
    EVP_PKEY_free(crowd.key);
    authority_deinit(&crowd.authority);
    return EXIT_SUCCESS;
}
