/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/credentials.h"

#include "libescrow/file.h"
#include "libescrow/key.h"
#include "libescrow/log.h"
#include "libescrow/sealed.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

enum part { PART_CA, PART_CERTIFICATE, PART_KEY, PART_CRL, PARTS };

/* Of each file: how much of it is taken, and whether it is to be kept from others. */
static const struct {
    size_t max;
    bool is_secret;
} limits[PARTS] = {
    [PART_CA] = {.max = TLS_CERTIFICATE_FILE_MAX},
    [PART_CERTIFICATE] = {.max = TLS_CERTIFICATE_FILE_MAX},
    [PART_KEY] = {.max = KEY_PEM_MAX, .is_secret = true},
    [PART_CRL] = {.max = TLS_CRL_FILE_MAX},
};

/* The beginning of a copy; the files follow in the order of enum part. */
struct head {
    enum tls_crl_stale crl_stale;
    struct {
        char name[PATH_MAX]; /* "": there is none (the revocation list) */
        size_t len;
    } parts[PARTS];
};

CLEANUP_FUNCTION(head_free_p, struct head, free)

/* ---- the supervisor's side ---- */

static enum escrow_err append_file(int fd, const char *path, enum part part, size_t *ret_len)
{
    CLEANUP(cleanup_close) int file = -1;
    size_t size = 0, done = 0;
    enum escrow_err err = file_open(path, limits[part].max, limits[part].is_secret, &file, &size);

    if (err == ESCROW_ERR_NOT_FOUND) {
        log_error("%s: there is no such file", path);
        return ESCROW_ERR_CONFIG;
    }
    if (err)
        return err;
    while (done < size) {
        ssize_t copied = sendfile(fd, file, NULL, size - done);

        if (copied < 0 && errno != EINTR) {
            log_error("%s: no copy in memory: %s", path, strerror(errno));
            return ESCROW_ERR_SYSTEM;
        }
        if (copied == 0)
            break; /* it was cut meanwhile: as long as it is now */
        done += copied > 0 ? (size_t)copied : 0;
    }
    if (done == 0 && limits[part].is_secret) {
        log_error("%s: is empty", path);
        return ESCROW_ERR_CONFIG;
    }
    *ret_len = done;
    return ESCROW_OK;
}

static enum escrow_err fill(int fd, const struct escrowd_tls *files)
{
    const char *const paths[PARTS] = {[PART_CA] = files->ca_file,
                                      [PART_CERTIFICATE] = files->certificate_file,
                                      [PART_KEY] = files->key_file,
                                      [PART_CRL] = files->crl_file};
    CLEANUP(head_free_p) struct head *head = calloc(1, sizeof(*head));

    if (!head)
        return ESCROW_ERR_NO_MEMORY;
    head->crl_stale = files->crl_stale;
    if (lseek(fd, sizeof(*head), SEEK_SET) < 0)
        return ESCROW_ERR_SYSTEM;
    for (enum part part = 0; part < PARTS; part++) {
        enum escrow_err err;

        if (!paths[part])
            continue;
        snprintf(head->parts[part].name, sizeof(head->parts[part].name), "%s", paths[part]);
        err = append_file(fd, paths[part], part, &head->parts[part].len);
        if (err)
            return err;
    }
    if (pwrite(fd, head, sizeof(*head), 0) != sizeof(*head)) {
        log_error("certificates: no copy in memory: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    return sealed_finish(fd);
}

enum escrow_err credentials_seal(const struct escrowd_tls *files, int *ret_fd)
{
    CLEANUP(cleanup_close) int fd = -1;
    enum escrow_err err = sealed_new("credentials", &fd);

    if (!err)
        err = fill(fd, files);
    if (err)
        return err;
    *ret_fd = fd;
    fd = -1;
    return ESCROW_OK;
}

/* ---- front's side ---- */

static bool is_right(const struct head *head, size_t size)
{
    size_t sum = sizeof(*head);

    for (enum part part = 0; part < PARTS; part++) {
        if (head->parts[part].len > limits[part].max ||
            !memchr(head->parts[part].name, 0, sizeof(head->parts[part].name)))
            return false;
        sum += head->parts[part].len;
    }
    return sum == size && head->parts[PART_KEY].len > 0 &&
           (head->crl_stale == TLS_CRL_STALE_WARN || head->crl_stale == TLS_CRL_STALE_REFUSE);
}

struct parts {
    char *text[PARTS]; /* but the key's */
    struct secret *key;
};

static void parts_deinit(struct parts *parts)
{
    for (enum part part = 0; part < PARTS; part++)
        free(parts->text[part]);
    secret_free(parts->key);
}

static enum escrow_err read_parts(int fd, const struct head *head, struct parts *parts)
{
    size_t at = sizeof(*head);

    for (enum part part = 0; part < PARTS; part++) {
        size_t len = head->parts[part].len;
        void *into;

        if (limits[part].is_secret) {
            parts->key = secret_new(len);
            into = parts->key ? parts->key->bytes : NULL;
        } else {
            into = parts->text[part] = malloc(len + 1);
        }
        if (!into)
            return ESCROW_ERR_NO_MEMORY;
        if (sealed_read(fd, into, len, at) != ESCROW_OK)
            return ESCROW_ERR_SYSTEM;
        at += len;
    }
    return ESCROW_OK;
}

static const char *name_of(const struct head *head, enum part part)
{
    return head->parts[part].name[0] ? head->parts[part].name : NULL;
}

static enum escrow_err make_tls(const struct head *head, const struct parts *parts,
                                struct tls **ret_tls)
{
    const struct tls_texts texts = {
        .ca = {parts->text[PART_CA], head->parts[PART_CA].len},
        .crl = {parts->text[PART_CRL], head->parts[PART_CRL].len},
        .certificate = {parts->text[PART_CERTIFICATE], head->parts[PART_CERTIFICATE].len},
        .key = parts->key};
    const struct tls_config config = {.ca_file = name_of(head, PART_CA),
                                      .crl_file = name_of(head, PART_CRL),
                                      .crl_stale = head->crl_stale,
                                      .certificate = name_of(head, PART_CERTIFICATE),
                                      .key = name_of(head, PART_KEY),
                                      .texts = &texts};

    return tls_server_new(&config, ret_tls);
}

static enum escrow_err read_head(int fd, struct head *head)
{
    size_t max = sizeof(*head), size;

    for (enum part part = 0; part < PARTS; part++)
        max += limits[part].max;
    if (sealed_size(fd, max, &size) == ESCROW_OK &&
        sealed_read(fd, head, sizeof(*head), 0) == ESCROW_OK && is_right(head, size))
        return ESCROW_OK;
    log_error("certificates: what the supervisor passed is not a copy of them");
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err read_all(int fd, struct head *head, struct tls **ret_tls)
{
    CLEANUP(parts_deinit) struct parts parts = {0};
    enum escrow_err err = read_head(fd, head);

    if (!err)
        err = read_parts(fd, head, &parts);
    return err ? err : make_tls(head, &parts, ret_tls);
}

enum escrow_err credentials_read(int fd, struct tls **ret_tls)
{
    CLEANUP(head_free_p) struct head *head = calloc(1, sizeof(*head));

    return head ? read_all(fd, head, ret_tls) : ESCROW_ERR_NO_MEMORY;
}

static bool is_current(const struct tls_item *item)
{
    int64_t now_s = time(NULL);

    return item->from_s <= now_s && now_s < item->until_s;
}

static enum escrow_err check_service(const struct head *head, const struct tls *tls,
                                     const struct tls *in_use)
{
    struct tls_item items[TLS_ITEMS_MAX];
    size_t count = tls_describe(tls, items);

    if (strcmp(tls_own_identity(tls), tls_own_identity(in_use)) != 0) {
        log_error("%s: is for %s, and clients expect %s", name_of(head, PART_CERTIFICATE),
                  tls_own_identity(tls), tls_own_identity(in_use));
        return ESCROW_ERR_CONFIG;
    }
    if (!is_current(&items[0])) {
        log_error("%s: the certificate is not valid now", name_of(head, PART_CERTIFICATE));
        return ESCROW_ERR_CONFIG;
    }
    for (size_t i = 1; i < count; i++) {
        if (items[i].kind == TLS_ITEM_CA && is_current(&items[i]))
            return ESCROW_OK;
    }
    log_error("%s: no CA in it is valid now", name_of(head, PART_CA));
    return ESCROW_ERR_CONFIG;
}

enum escrow_err credentials_renew(int fd, const struct tls *in_use, struct tls **ret_tls)
{
    CLEANUP(head_free_p) struct head *head = calloc(1, sizeof(*head));
    CLEANUP(tls_free_p) struct tls *tls = NULL;
    enum escrow_err err = head ? read_all(fd, head, &tls) : ESCROW_ERR_NO_MEMORY;

    if (!err)
        err = check_service(head, tls, in_use);
    if (!err)
        *ret_tls = TAKE(tls);
    return err;
}
