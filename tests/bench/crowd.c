/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many agents at once, for benches: what escrow-certs and `escrowctl enroll` make for one.
 *
 *   crowd CA FOLDER GROUP INSTANCE COUNT
 *
 * Writes COUNT certificates into FOLDER/crowd.pem, all with the key FOLDER/crowd.key, and for N
 * from 1 to COUNT the enrollment FOLDER/N.enroll of an act key that is forgotten: this crowd only
 * waits. CA is the folder of an escrow-certs init-ca.
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

static void enroll(const char *path, const char *identity, EVP_PKEY *key, char **arguments)
{
    CLEANUP(json_free_p)
    json_t *entry = json_pack("{s:s, s:s, s:[s], s:[s]}", "identity", identity, "role", "agent",
                              "groups", arguments[3], "instances", arguments[4]);
    CLEANUP(cleanup_free) char *compact = NULL;
    FILE *file = fopen(path, "we");

    if (!entry || !file || enrollment_sign(entry, key, &compact) != ESCROW_OK ||
        fprintf(file, "%s\n", compact) < 0)
        fail("an enrollment cannot be written");
    fclose(file);
}

static void make(const struct crowd *crowd, char **arguments, size_t number)
{
    CLEANUP(key_free_p) EVP_PKEY *act_key = key_generate();
    char identity[64], san[80], path[PATH_BYTES];
    const struct leaf leaf = {.san = san, .eku = "clientAuth", .from_s = -60, .until_s = DAY_S};
    X509 *certificate;

    snprintf(identity, sizeof(identity), "spiffe://test/agent/crowd-%zu", number);
    snprintf(san, sizeof(san), "URI:%s", identity);
    certificate = certificate_new(&crowd->authority, crowd->key, &leaf);
    if (!act_key || !certificate || PEM_write_X509(crowd->certificates, certificate) != 1)
        fail("a certificate cannot be made");
    snprintf(path, sizeof(path), "%s/%zu.enroll", arguments[2], number);
    enroll(path, identity, act_key, arguments);
    X509_free(certificate);
}

static struct crowd begin(char **arguments)
{
    struct crowd crowd = {.authority = read_authority(arguments[1]), .key = key_generate()};
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
    size_t count = argc == 6 ? strtoul(argv[5], NULL, 10) : 0;

    log_init("crowd", LOG_LEVEL_WARNING);
    if (count == 0)
        fail("usage: crowd CA FOLDER GROUP INSTANCE COUNT");
    if (secret_heap_init() != ESCROW_OK)
        fail("no locked memory");
    crowd = begin(argv);
    for (size_t i = 1; i <= count; i++)
        make(&crowd, argv, i);
    if (fclose(crowd.certificates) != 0)
        fail("the certificates cannot be written");
    EVP_PKEY_free(crowd.key);
    authority_deinit(&crowd.authority);
    return EXIT_SUCCESS;
}
