/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONTEXT_MAX 128 /* bytes of libyaml's "while ...", with NUL */

void config_refuse(struct config_loader *loader, yaml_mark_t mark, const char *format, ...)
{
    char text[CONFIG_LINE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    config_report_add(loader->report, "%s:%zu:%zu: %s", loader->config->path, mark.line + 1,
                      mark.column + 1, text);
    if (!loader->err)
        loader->err = ESCROW_ERR_CONFIG;
}

/* libyaml gives an offset alone for bytes that are not UTF-8. */
static yaml_mark_t mark_of_offset(const struct config_loader *loader, size_t offset)
{
    yaml_mark_t mark = {0};

    for (size_t i = 0; i < offset && i < loader->len; i++) {
        mark.column++;
        if (loader->bytes[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

/* What libyaml calls the mistakes that people make, and what to write instead. */
static const char *expected_for(const char *problem)
{
    static const struct {
        const char *problem, *expected;
    } mistakes[] = {
        {"mapping values are not allowed", "one key in a line, indented as those beside it"},
        {"tab character", "spaces: YAML is not indented by tabs"},
        {"cannot start any token", "spaces in place of tabs, and quotes around such a value"},
        {"did not find expected '-'", "the items of a list under each other, and nothing else"},
        {"did not find expected key", "the keys of a mapping under each other, and nothing else"},
        {"could not find expected ':'", "a colon and a blank after each key"},
        {"unknown escape character", "no backslash between double quotes: use ' or none"},
        {"end of stream", "the quote or bracket to be closed"},
        {"UTF-8", "a file in UTF-8"},
    };

    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        if (strstr(problem, mistakes[i].problem))
            return mistakes[i].expected;
    }
    return "one well-formed document";
}

static void refuse_syntax(struct config_loader *loader, const yaml_parser_t *parser)
{
    const char *problem = parser->problem ? parser->problem : "unknown problem";
    char context[CONTEXT_MAX] = "";
    bool is_reader = parser->error == YAML_READER_ERROR;
    yaml_mark_t mark =
        is_reader ? mark_of_offset(loader, parser->problem_offset) : parser->problem_mark;

    if (parser->error == YAML_MEMORY_ERROR) {
        loader->err = ESCROW_ERR_NO_MEMORY;
        return;
    }
    /* Where it began is mostly where it is to be mended. */
    if (parser->context && parser->context_mark.line != mark.line)
        snprintf(context, sizeof(context), "%s from line %zu on: ", parser->context,
                 parser->context_mark.line + 1);
    else if (parser->context)
        snprintf(context, sizeof(context), "%s: ", parser->context);
    config_refuse(loader, mark, "found malformed YAML (%s%s), expected %s", context, problem,
                  expected_for(problem));
}

static bool start_parser(struct config_loader *loader, yaml_parser_t *ret_parser)
{
    if (!yaml_parser_initialize(ret_parser)) {
        loader->err = ESCROW_ERR_NO_MEMORY;
        return false;
    }
    /* Without this, libyaml would take UTF-16 too. */
    yaml_parser_set_encoding(ret_parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(ret_parser, loader->bytes, loader->len);
    return true;
}

/* What we take no part in: NULL, or how it is called where it is refused. */
static const char *refused_token(const yaml_token_t *token, bool is_after_content)
{
    switch (token->type) {
    case YAML_VERSION_DIRECTIVE_TOKEN:
    case YAML_TAG_DIRECTIVE_TOKEN:
        return "a directive";
    case YAML_ALIAS_TOKEN:
        return "an alias";
    case YAML_ANCHOR_TOKEN:
        return "an anchor";
    case YAML_TAG_TOKEN:
        return "a tag";
    case YAML_DOCUMENT_START_TOKEN:
        return is_after_content ? "a second document" : NULL;
    case YAML_DOCUMENT_END_TOKEN:
        return "an end of the document";
    default:
        return NULL;
    }
}

static int nesting(const yaml_token_t *token)
{
    switch (token->type) {
    case YAML_BLOCK_SEQUENCE_START_TOKEN:
    case YAML_BLOCK_MAPPING_START_TOKEN:
    case YAML_FLOW_SEQUENCE_START_TOKEN:
    case YAML_FLOW_MAPPING_START_TOKEN:
        return 1;
    case YAML_BLOCK_END_TOKEN:
    case YAML_FLOW_SEQUENCE_END_TOKEN:
    case YAML_FLOW_MAPPING_END_TOKEN:
        return -1;
    default:
        return 0;
    }
}

struct scan {
    int depth;
    bool is_in_document; /* its start or content was seen */
};

/* Takes one token; false ends the scan. */
static bool check_token(struct config_loader *loader, const yaml_token_t *token, struct scan *scan)
{
    const char *refused = refused_token(token, scan->is_in_document);

    if (refused)
        config_refuse(loader, token->start_mark,
                      "found %s, expected one document without directives, anchors, aliases and "
                      "tags",
                      refused);
    scan->is_in_document |= token->type >= YAML_DOCUMENT_START_TOKEN;
    scan->depth += nesting(token);
    if (scan->depth > CONFIG_DEPTH_MAX) {
        config_refuse(loader, token->start_mark, "found more than %d levels, expected fewer",
                      CONFIG_DEPTH_MAX);
        return false;
    }
    return token->type != YAML_STREAM_END_TOKEN && token->type != YAML_NO_TOKEN;
}

/*
 * The document API resolves aliases and forgets anchors and tags, so they are looked for in the
 * tokens, and depth is bounded before anything is built.
 */
static void check_tokens(struct config_loader *loader)
{
    yaml_parser_t parser;
    struct scan scan = {0};
    bool is_more = true;

    if (!start_parser(loader, &parser))
        return;
    while (is_more) {
        yaml_token_t token;

        if (!yaml_parser_scan(&parser, &token)) {
            refuse_syntax(loader, &parser);
            break;
        }
        is_more = check_token(loader, &token, &scan);
        yaml_token_delete(&token);
    }
    yaml_parser_delete(&parser);
}

static void load_document(struct config_loader *loader, const struct config_schema *schema)
{
    yaml_parser_t parser;
    yaml_document_t document;
    const yaml_node_t *root;

    if (!start_parser(loader, &parser))
        return;
    if (!yaml_parser_load(&parser, &document)) {
        refuse_syntax(loader, &parser);
        yaml_parser_delete(&parser);
        return;
    }
    loader->document = &document;
    root = yaml_document_get_root_node(&document);
    if (root)
        config_fill_mapping(loader, root, schema, loader->config->root);
    else
        config_refuse(loader, (yaml_mark_t){0}, "found an empty document, expected a mapping");
    loader->document = NULL;
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
}

enum escrow_err config_parse(struct config *config, const char *bytes, size_t len,
                             const struct config_schema *schema, struct config_report *report)
{
    struct config_loader loader = {
        .config = config,
        .report = report,
        .bytes = (const unsigned char *)bytes,
        .len = len,
    };

    check_tokens(&loader);
    if (!loader.err)
        load_document(&loader, schema);
    return loader.err;
}
