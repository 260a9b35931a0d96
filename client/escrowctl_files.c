/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl_files.h"

#include "libescrow/approval.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum escrow_err ctl_read_text(const char *path, char **ret_text, size_t *ret_len)
{
    char *text = NULL;
    size_t len = 0;
    enum escrow_err err = file_read(path, JWS_BYTES_MAX, &text, &len);

    if (err == ESCROW_ERR_NOT_FOUND)
        log_error("%s: there is no such file", path);
    if (err)
        return err;
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
    *ret_text = text;
    *ret_len = len;
    return ESCROW_OK;
}

enum escrow_err ctl_read_object(const char *path, json_t **ret_object)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len = 0;
    enum escrow_err err = ctl_read_text(path, &text, &len);

    if (err)
        return err;
    err = json_parse(text, len, JWS_BYTES_MAX, ret_object);
    if (err)
        log_error("%s: is not a JSON object", path);
    return err;
}

enum escrow_err ctl_read_roster(const char *path, EVP_PKEY *authority, struct roster **ret_roster)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len = 0;
    enum escrow_err err = ctl_read_text(path, &text, &len);

    if (err)
        return err;
    err = roster_parse(text, len, authority, ret_roster);
    if (err)
        log_error("%s: is not a roster of this policy authority", path);
    return err;
}

enum escrow_err ctl_write_text(const char *path, const char *text)
{
    CLEANUP(cleanup_free) char *line = NULL;
    int len = asprintf(&line, "%s\n", text);

    return len < 0 ? ESCROW_ERR_NO_MEMORY : file_replace(path, 0644, line, (size_t)len);
}

enum escrow_err ctl_write_object(const char *path, const json_t *object)
{
    CLEANUP(cleanup_free) char *text = json_text(object);

    return text ? ctl_write_text(path, text) : ESCROW_ERR_NO_MEMORY;
}

void ctl_statement_deinit(struct ctl_statement *statement)
{
    json_decref(statement->entry);
}

enum escrow_err ctl_read_statement(const char *path, struct ctl_statement *ret_statement)
{
    static const char *const of_roster[] = {"storage", "answer", "audit", "ek"};
    CLEANUP(ctl_statement_deinit) struct ctl_statement statement = {0};
    struct json_reader reader;
    enum escrow_err err = ctl_read_object(path, &statement.entry);

    if (err)
        return err;
    json_reader_init(&reader, statement.entry, "%s", path);
    json_read_v1(&reader);
    json_read_name(&reader, "label", statement.label, sizeof(statement.label));
    json_read_tpm_name(&reader, "counter", &statement.counter);
    statement.epoch = json_read_number(&reader, "epoch", 0, INT64_MAX);
    if (approval_pcrs_from_json(json_read_object(&reader, "pcrs"), &statement.pcrs))
        json_reader_fault(&reader, "pcrs");
    for (size_t i = 0; i < ARRAY_LEN(of_roster); i++)
        json_read_present(&reader, of_roster[i]);
    err = json_reader_end(&reader);
    if (err)
        return err;
    json_object_del(statement.entry, "v");
    json_object_del(statement.entry, "epoch");
    json_object_del(statement.entry, "pcrs");
    *ret_statement = statement;
    statement.entry = NULL;
    return ESCROW_OK;
}
