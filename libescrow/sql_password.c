/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_password.h"

#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "libescrow/log.h"
#include "libescrow/sql_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 4 bytes of UTF-8 a unit are more than enough. */
#define FILE_BYTES_MAX (4 * SQL_PASSWORD_UNITS_MAX)

static enum escrow_err refuse(const char *path, const char *what)
{
    log_error("sql: password file %s: %s", path, what);
    return ESCROW_ERR_CONFIG;
}

/* Reads at most text->len bytes and shortens it to the first line. */
static enum escrow_err read_line(int fd, struct secret *text)
{
    const uint8_t *end;
    size_t used;
    enum escrow_err err = file_read_fd(fd, text->bytes, text->len, &used);

    if (err)
        return err;
    end = memchr(text->bytes, '\n', used);
    text->len = end ? (size_t)(end - text->bytes) : used;
    if (end && text->len > 0 && text->bytes[text->len - 1] == '\r')
        text->len--;
    return ESCROW_OK;
}

enum escrow_err sql_password_read(const char *path, struct secret **ret_utf16)
{
    CLEANUP(secret_free_p) struct secret *text = NULL, *utf16 = NULL;
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat status;
    enum escrow_err err;

    if (fd < 0 || fstat(fd, &status) != 0)
        return refuse(path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return refuse(path, "is not a regular file");
    if (status.st_mode & 027)
        return refuse(path, "others can read it, or its group can write it: chmod 0600");
    text = secret_new(FILE_BYTES_MAX);
    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    if (read_line(fd, text) != ESCROW_OK)
        return refuse(path, "cannot be read");
    if (text->len == 0)
        return refuse(path, "the first line is empty");
    err = sql_text_to_utf16(text->bytes, text->len, &utf16);
    if (err == ESCROW_ERR_MALFORMED)
        return refuse(path, "the first line is not UTF-8");
    if (err)
        return err;
    if (utf16->len > SQL_PASSWORD_UNITS_MAX * sizeof(uint16_t))
        return refuse(path, "the first line is longer than 128 characters");
    *ret_utf16 = TAKE(utf16);
    return ESCROW_OK;
}
