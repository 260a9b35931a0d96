/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/config.h"

#include <yaml.h>

/*
 * What the parts of the configuration loader share, and nobody else includes: config.c (files,
 * memory, positions), config_yaml.c (libyaml, what of YAML we refuse), config_fill.c (document to
 * structs by the schema).
 */

#define CONFIG_LINE_MAX 1600 /* of a line of the report */

struct config_block {
    struct config_block *next;
    max_align_t bytes[];
};

/* Where the value of a member stood. */
struct config_position {
    const void *member;
    size_t line, column; /* from 1 */
};

struct config {
    char *path;
    void *root;
    struct config_block *blocks; /* everything that root reaches */
    struct config_position *positions;
    size_t position_count, position_cap;
    uint8_t digest[CONFIG_DIGEST_BYTES];
};

/* One file on its way into a struct. */
struct config_loader {
    struct config *config;
    struct config_report *report;
    const unsigned char *bytes;
    size_t len;
    yaml_document_t *document;
    enum escrow_err err; /* ESCROW_ERR_CONFIG once a line was reported */
};

/* config.c: zeroed memory that config_free frees; NULL without. */
void *config_allocate(struct config *config, size_t count, size_t size);
/* config.c: notes where the value of a member stood, line and column from 1. */
MUST_CHECK enum escrow_err config_remember(struct config *config, const void *member, size_t line,
                                           size_t column);

/* config_yaml.c: the whole of a file into config->root. */
MUST_CHECK enum escrow_err config_parse(struct config *config, const char *bytes, size_t len,
                                        const struct config_schema *schema,
                                        struct config_report *report);
/* config_yaml.c: a line of the report, and loader->err. */
__attribute__((format(printf, 3, 4))) void config_refuse(struct config_loader *loader,
                                                         yaml_mark_t mark, const char *format, ...);

/* config_fill.c: a mapping into the struct at base; everything wrong is refused by config_refuse.
 */
void config_fill_mapping(struct config_loader *loader, const yaml_node_t *node,
                         const struct config_schema *schema, unsigned char *base);
