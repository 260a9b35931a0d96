/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * YAML files by a schema: tables of fields say what a file may hold, and config_load fills the
 * structs that they describe, or lists everything that is wrong, with line and column. Nothing is
 * guessed: unknown and repeated keys, a second document, anchors, aliases, tags, directives, `010`,
 * `2x`, `yes` and a quoted number are all refused. It reads files of at most CONFIG_BYTES_MAX,
 * never follows what a file names, and never hands out a partly filled struct.
 *
 *     struct settings { const char *socket; int64_t port, patience_ms; };
 *
 *     static const struct config_field settings_fields[] = {
 *         {"socket", CONFIG_PATH(struct settings, socket), .is_required = true},
 *         {"port", CONFIG_INTEGER(struct settings, port, 1, 65535), .fallback = "8443"},
 *         {"patience", CONFIG_DURATION(struct settings, patience_ms, 1, 60000), .fallback = "5s"},
 *     };
 *     static const struct config_schema settings_schema = CONFIG_SCHEMA(struct settings,
 *                                                                       settings_fields);
 */

#define CONFIG_BYTES_MAX (1024 * 1024)
#define CONFIG_DEPTH_MAX 16
#define CONFIG_DIGEST_BYTES 32

/* What is wrong with a file (or what a reader should know), one English line each. */
struct config_report {
    char **lines;
    size_t count;
    size_t total; /* with those that were dropped: 0 if nothing is wrong */
};

/* Adds a line; drops it, but for its place in total, without memory or after some hundred lines. */
__attribute__((format(printf, 2, 3))) void config_report_add(struct config_report *report,
                                                             const char *format, ...);
/* Writes each line to the log as an error. */
void config_report_log(const struct config_report *report);
void config_report_deinit(struct config_report *report);

enum config_type {
    CONFIG_TYPE_STRING = 1,   /* const char *: printable UTF-8, not empty, at most max bytes */
    CONFIG_TYPE_NAME,         /* const char *: a name as in identity.h, at most max bytes */
    CONFIG_TYPE_PATH,         /* const char *: absolute */
    CONFIG_TYPE_INTEGER,      /* int64_t: decimal without sign, min ..= max */
    CONFIG_TYPE_DURATION,     /* int64_t: 300ms, 5s, 10m, 24h, 7d, as milliseconds min ..= max */
    CONFIG_TYPE_BOOLEAN,      /* bool: true or false */
    CONFIG_TYPE_ENUM,         /* an enum: the index of the word in words */
    CONFIG_TYPE_MAPPING,      /* an embedded struct, filled by schema */
    CONFIG_TYPE_STRING_LIST,  /* const char *const * and size_t: min ..= max different STRINGs */
    CONFIG_TYPE_NAME_LIST,    /* the same of NAMEs */
    CONFIG_TYPE_MAPPING_LIST, /* const struct * and size_t: min ..= max structs */
};

struct config_schema;

/* One key of a mapping. Written by the macros below, which check the member's type. */
struct config_field {
    const char *key;
    size_t offset;       /* of the member in the mapping's struct */
    size_t count_offset; /* lists: of the size_t */
    int64_t min, max;    /* by type; for lists, of the number of items */
    size_t item_max;     /* lists of texts: bytes of an item */
    const char *const *words;
    size_t word_count;
    const struct config_schema *schema;
    /*
     * What an absent key means, as it would stand in the file. Without: NULL, 0, false, no items;
     * an absent mapping is filled from the fallbacks of its own fields.
     */
    const char *fallback;
    enum config_type type;
    bool is_required;
};

struct config_schema {
    size_t size; /* of the struct */
    const struct config_field *fields;
    size_t field_count;
};

#define CONFIG_SCHEMA(structure, table)                                                            \
    {                                                                                              \
        .size = sizeof(structure), .fields = (table), .field_count = ARRAY_LEN(table)              \
    }

/* offsetof, and a compile error unless the member has this type. */
#define CONFIG_OFFSET(structure, member, kind)                                                     \
    (offsetof(structure, member) +                                                                 \
     0 * sizeof(                                                                                   \
             char[__builtin_types_compatible_p(__typeof__(((structure *)0)->member), kind) ? 1     \
                                                                                           : -1]))
#define CONFIG_TEXT(kind, structure, member, most)                                                 \
    .type = (kind), .offset = CONFIG_OFFSET(structure, member, const char *), .max = (most)
#define CONFIG_NUMBER(kind, structure, member, least, most)                                        \
    .type = (kind), .offset = CONFIG_OFFSET(structure, member, int64_t), .min = (least),           \
    .max = (most)
#define CONFIG_TEXTS(kind, structure, member, count, bytes, least, most)                           \
    .type = (kind), .offset = CONFIG_OFFSET(structure, member, const char *const *),               \
    .count_offset = CONFIG_OFFSET(structure, count, size_t), .item_max = (bytes), .min = (least),  \
    .max = (most)

#define CONFIG_STRING(structure, member, most)                                                     \
    CONFIG_TEXT(CONFIG_TYPE_STRING, structure, member, most)
#define CONFIG_NAME(structure, member, most) CONFIG_TEXT(CONFIG_TYPE_NAME, structure, member, most)
#define CONFIG_PATH(structure, member) CONFIG_TEXT(CONFIG_TYPE_PATH, structure, member, 4095)
#define CONFIG_INTEGER(structure, member, least, most)                                             \
    CONFIG_NUMBER(CONFIG_TYPE_INTEGER, structure, member, least, most)
#define CONFIG_DURATION(structure, member, least_ms, most_ms)                                      \
    CONFIG_NUMBER(CONFIG_TYPE_DURATION, structure, member, least_ms, most_ms)
#define CONFIG_BOOLEAN(structure, member)                                                          \
    .type = CONFIG_TYPE_BOOLEAN, .offset = CONFIG_OFFSET(structure, member, bool)
/* table: an array of words, indexed by the constants of the member's enum. */
#define CONFIG_ENUM(structure, member, table)                                                      \
    .type = CONFIG_TYPE_ENUM,                                                                      \
    .offset = offsetof(structure, member) +                                                        \
              0 * sizeof(char[sizeof(((structure *)0)->member) == sizeof(int) ? 1 : -1]),          \
    .words = (table), .word_count = ARRAY_LEN(table)
#define CONFIG_MAPPING(structure, member, of)                                                      \
    .type = CONFIG_TYPE_MAPPING, .offset = offsetof(structure, member), .schema = (of)
#define CONFIG_STRING_LIST(structure, member, count, bytes, least, most)                           \
    CONFIG_TEXTS(CONFIG_TYPE_STRING_LIST, structure, member, count, bytes, least, most)
#define CONFIG_NAME_LIST(structure, member, count, bytes, least, most)                             \
    CONFIG_TEXTS(CONFIG_TYPE_NAME_LIST, structure, member, count, bytes, least, most)
#define CONFIG_MAPPING_LIST(structure, member, count, of, least, most)                             \
    .type = CONFIG_TYPE_MAPPING_LIST, .offset = offsetof(structure, member),                       \
    .count_offset = CONFIG_OFFSET(structure, count, size_t), .schema = (of), .min = (least),       \
    .max = (most)

struct config;

/*
 * Reads a whole file and fills a struct by the schema. ESCROW_ERR_CONFIG: *report has a line
 * "path:line:column: what was found, what was expected" for everything that is wrong (without line
 * and column where the file cannot be read). *ret_config owns the struct and every text in it.
 */
MUST_CHECK enum escrow_err config_load(const char *path, const struct config_schema *schema,
                                       struct config_report *report, struct config **ret_config);
/* The same from a descriptor, for a role that got it before its sandbox; fd stays the caller's. */
MUST_CHECK enum escrow_err config_load_fd(int fd, const char *path,
                                          const struct config_schema *schema,
                                          struct config_report *report, struct config **ret_config);
/* The same from memory; path is only a name for the report. */
MUST_CHECK enum escrow_err config_load_bytes(const void *bytes, size_t len, const char *path,
                                             const struct config_schema *schema,
                                             struct config_report *report,
                                             struct config **ret_config);
void config_free(struct config *config);
CLEANUP_FUNCTION(config_free_p, struct config, config_free)

/* The filled struct of the schema; never NULL, lives as long as config. */
const void *config_root(const struct config *config);
/* SHA-256 of the bytes that were read. */
const uint8_t *config_digest(const struct config *config);

/*
 * For what a schema cannot say (this name was used before, that number exceeds a count): adds a
 * line with the position of a member of a filled struct, "path:line:column: " and the text. member
 * is its address; that of a list's item, or of a list item's struct, serves as well.
 */
__attribute__((format(printf, 4, 5))) void config_complain(const struct config *config,
                                                           struct config_report *report,
                                                           const void *member, const char *format,
                                                           ...);
