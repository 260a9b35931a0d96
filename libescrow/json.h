/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Strict JSON for documents of peers: bounded in size and depth, no duplicate members, no NUL,
 * nothing behind the value, and every member of an object read by name, type and bound, or the
 * document is refused. Reads go through a reader that remembers the first fault, so that a parser
 * is a list of members.
 */

#define JSON_DEPTH_MAX 8

CLEANUP_FUNCTION(json_free_p, json_t, json_decref)

/*
 * Parses len bytes that must be one JSON object. ESCROW_ERR_MALFORMED (also for more than max
 * bytes, nesting deeper than JSON_DEPTH_MAX, invalid UTF-8), ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err json_parse(const char *text, size_t len, size_t max,
                                      json_t **ret_object);

/* jansson could not read this text for want of memory; *error was zeroed before. */
bool json_lacked_memory(const char *text, const json_error_t *error);
/* A deep copy that lacks nothing, owned by the caller; NULL without memory. */
json_t *json_copy_whole(const json_t *value);
/* Compact text with sorted members, owned by the caller; NULL without memory. */
char *json_text(const json_t *value);

/*
 * Reads one object. what ("roster: keys[3]") stands in the log line of a fault and is copied. A
 * value that is no object is a fault. The object is borrowed.
 */
struct json_reader {
    const json_t *object;
    size_t members_read;
    bool is_faulty;
    char what[96];
};
__attribute__((format(printf, 3, 4))) void
json_reader_init(struct json_reader *reader, const json_t *object, const char *what, ...);

/*
 * ESCROW_ERR_MALFORMED, with a log line that names the member, if a read was a fault or the object
 * has a member that was not read.
 */
MUST_CHECK enum escrow_err json_reader_end(struct json_reader *reader);

/* Marks a fault of a member that was read but does not hold what it must. */
void json_reader_fault(struct json_reader *reader, const char *name);

/*
 * One member each. Every member is required. After a fault *ret is zero, NULL or empty; it must not
 * be used before json_reader_end has said ESCROW_OK.
 */
/* "v", which must be the number 1. */
void json_read_v1(struct json_reader *reader);
/* A number from min to max. */
uint64_t json_read_number(struct json_reader *reader, const char *name, uint64_t min, uint64_t max);
int32_t json_read_int32(struct json_reader *reader, const char *name);
bool json_read_bool(struct json_reader *reader, const char *name);
/* Text of at most cap - 1 bytes without control characters, copied. */
void json_read_text(struct json_reader *reader, const char *name, char *ret_text, size_t cap);
/* Text of 1 ..= max bytes without control characters, borrowed from the object. */
const char *json_borrow_text(struct json_reader *reader, const char *name, size_t max);
/* A name (identity.h) of at most NAME_MAX_BYTES bytes. */
void json_read_name(struct json_reader *reader, const char *name, char *ret_text, size_t cap);
/* The same, and null leaves ret_text empty. */
void json_read_name_or_null(struct json_reader *reader, const char *name, char *ret_text,
                            size_t cap);
/* A member of any kind, which somebody else reads. */
void json_read_present(struct json_reader *reader, const char *name);
/* A member that must be null. */
void json_read_null(struct json_reader *reader, const char *name);
/* The index of the text among count words, of which NULL ones never match; 0 after a fault. */
size_t json_read_word(struct json_reader *reader, const char *name, const char *const *words,
                      size_t count);
/* Hexadecimal Name; the second kind is false for null. */
void json_read_tpm_name(struct json_reader *reader, const char *name, struct tpm_name *ret_name);
bool json_read_tpm_name_or_null(struct json_reader *reader, const char *name,
                                struct tpm_name *ret_name);
/* Strict base64url of exactly len bytes, or of 1 ..= cap bytes. */
void json_read_bytes(struct json_reader *reader, const char *name, void *ret_bytes, size_t len);
size_t json_read_bytes_up_to(struct json_reader *reader, const char *name, void *ret_bytes,
                             size_t cap);
/* {"x", "y"}; not checked to be on the curve. */
void json_read_point(struct json_reader *reader, const char *name, struct ec_point *ret_point);
/* An array of at most max values, borrowed; NULL (which jansson takes for empty) after a fault. */
const json_t *json_read_array(struct json_reader *reader, const char *name, size_t max);
/* An object, borrowed; NULL after a fault. */
const json_t *json_read_object(struct json_reader *reader, const char *name);

/* Values for documents that we write; NULL without memory (json_object_set_new refuses NULL). */
json_t *json_bytes(const void *bytes, size_t len); /* base64url */
json_t *json_tpm_name(const struct tpm_name *name);
json_t *json_point(const struct ec_point *point);
