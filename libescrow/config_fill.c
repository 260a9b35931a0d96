/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/config_internal.h"
#include "libescrow/config_value.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 512 /* of one part of a line of the report */

static void *allocate(struct config_loader *loader, size_t count, size_t size)
{
    void *bytes = config_allocate(loader->config, count, size);

    if (!bytes)
        loader->err = ESCROW_ERR_NO_MEMORY;
    return bytes;
}

static void remember(struct config_loader *loader, const void *member, yaml_mark_t mark)
{
    if (config_remember(loader->config, member, mark.line + 1, mark.column + 1))
        loader->err = ESCROW_ERR_NO_MEMORY;
}

static char *copy_text(struct config_loader *loader, const struct config_scalar *scalar)
{
    char *text = allocate(loader, 1, scalar->len + 1);

    if (text)
        memcpy(text, scalar->text, scalar->len);
    return text;
}

static struct config_scalar scalar_of(const yaml_node_t *node)
{
    return (struct config_scalar){
        .text = (const char *)node->data.scalar.value,
        .len = node->data.scalar.length,
        .is_plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE,
    };
}

static void describe_node(const yaml_node_t *node, char *ret_text, size_t cap)
{
    struct config_scalar scalar;

    switch (node->type) {
    case YAML_SCALAR_NODE:
        scalar = scalar_of(node);
        config_value_found(&scalar, ret_text, cap);
        return;
    case YAML_SEQUENCE_NODE:
        snprintf(ret_text, cap, "a list of %zd",
                 node->data.sequence.items.top - node->data.sequence.items.start);
        return;
    case YAML_MAPPING_NODE:
        snprintf(ret_text, cap, "a mapping");
        return;
    case YAML_NO_NODE:
        break;
    }
    snprintf(ret_text, cap, "nothing");
}

static void refuse_value(struct config_loader *loader, const struct config_field *field,
                         const yaml_node_t *node)
{
    char found[TEXT_MAX], expected[TEXT_MAX];

    describe_node(node, found, sizeof(found));
    config_value_expected(field, expected, sizeof(expected));
    config_refuse(loader, node->start_mark, "%s: found %s, expected %s", field->key, found,
                  expected);
}

/* A member's type is checked where its field is declared (CONFIG_OFFSET). */
static bool fill_scalar(struct config_loader *loader, const struct config_field *field,
                        const struct config_scalar *scalar, unsigned char *base)
{
    int64_t number;
    const char *text;

    switch (field->type) {
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_NAME:
    case CONFIG_TYPE_PATH:
        if (!config_value_is_text(field, scalar))
            return false;
        text = copy_text(loader, scalar);
        memcpy(base + field->offset, &text, sizeof(text));
        return true;
    case CONFIG_TYPE_INTEGER:
    case CONFIG_TYPE_DURATION:
        if (!config_value_number(field, scalar, &number))
            return false;
        memcpy(base + field->offset, &number, sizeof(number));
        return true;
    case CONFIG_TYPE_BOOLEAN:
        if (!config_value_number(field, scalar, &number))
            return false;
        memcpy(base + field->offset, &(bool){number == 1}, sizeof(bool));
        return true;
    case CONFIG_TYPE_ENUM:
        if (!config_value_number(field, scalar, &number))
            return false;
        memcpy(base + field->offset, &(int){(int)number}, sizeof(int));
        return true;
    case CONFIG_TYPE_MAPPING:
    case CONFIG_TYPE_STRING_LIST:
    case CONFIG_TYPE_NAME_LIST:
    case CONFIG_TYPE_MAPPING_LIST:
        break;
    }
    return false;
}

static void fill_text_item(struct config_loader *loader, const struct config_field *field,
                           const yaml_node_t *node, const char **items, size_t index)
{
    struct config_scalar scalar = {.text = ""}; /* no valid item */
    char found[TEXT_MAX];

    describe_node(node, found, sizeof(found));
    if (node->type == YAML_SCALAR_NODE)
        scalar = scalar_of(node);
    if (!config_value_is_text(field, &scalar)) {
        config_refuse(loader, node->start_mark, "%s: found %s, expected a %s of 1 to %zu bytes",
                      field->key, found,
                      field->type == CONFIG_TYPE_NAME_LIST ? "name (letters, digits, '.', '_', '-')"
                                                           : "printable text",
                      field->item_max);
        return;
    }
    for (size_t i = 0; i < index; i++) {
        if (items[i] && strcmp(items[i], scalar.text) == 0)
            config_refuse(loader, node->start_mark, "%s: found %s again, expected each item once",
                          field->key, found);
    }
    items[index] = copy_text(loader, &scalar);
    remember(loader, &items[index], node->start_mark);
}

static void fill_list(struct config_loader *loader, const struct config_field *field,
                      const yaml_node_t *node, unsigned char *base)
{
    const yaml_node_item_t *ids = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - ids);
    bool is_mappings = field->type == CONFIG_TYPE_MAPPING_LIST;
    size_t size = is_mappings ? field->schema->size : sizeof(char *);
    void *items;

    if (count < (size_t)field->min || count > (size_t)field->max) {
        refuse_value(loader, field, node);
        return;
    }
    items = allocate(loader, count ? count : 1, size);
    for (size_t i = 0; items && i < count; i++) {
        const yaml_node_t *item = yaml_document_get_node(loader->document, ids[i]);

        if (is_mappings)
            config_fill_mapping(loader, item, field->schema, (unsigned char *)items + i * size);
        else
            fill_text_item(loader, field, item, items, i);
    }
    memcpy(base + field->offset, &items, sizeof(items));
    memcpy(base + field->count_offset, &count, sizeof(count));
}

static void fill_field(struct config_loader *loader, const struct config_field *field,
                       const yaml_node_t *node, unsigned char *base)
{
    struct config_scalar scalar;

    remember(loader, base + field->offset, node->start_mark);
    if (field->type == CONFIG_TYPE_MAPPING && node->type == YAML_MAPPING_NODE) {
        config_fill_mapping(loader, node, field->schema, base + field->offset);
        return;
    }
    if (field->type >= CONFIG_TYPE_STRING_LIST && node->type == YAML_SEQUENCE_NODE) {
        fill_list(loader, field, node, base);
        return;
    }
    if (node->type == YAML_SCALAR_NODE) {
        scalar = scalar_of(node);
        if (fill_scalar(loader, field, &scalar, base))
            return;
    }
    refuse_value(loader, field, node);
}

/* The fields of a mapping that is not there, and the absent ones of a mapping that is. */
static void fill_fallback(struct config_loader *loader, const struct config_field *field,
                          yaml_mark_t mark, unsigned char *base)
{
    remember(loader, base + field->offset, mark);
    if (field->type == CONFIG_TYPE_MAPPING) {
        for (size_t i = 0; i < field->schema->field_count; i++)
            fill_fallback(loader, &field->schema->fields[i], mark, base + field->offset);
    } else if (field->fallback) {
        const struct config_scalar scalar = {field->fallback, strlen(field->fallback), true};

        if (!fill_scalar(loader, field, &scalar, base))
            config_refuse(loader, mark, "%s: its fallback '%s' is not valid", field->key,
                          field->fallback);
    }
}

static void refuse_unknown(struct config_loader *loader, const yaml_node_t *key,
                           const struct config_schema *schema)
{
    char found[TEXT_MAX], expected[TEXT_MAX];
    size_t len = 0;

    describe_node(key, found, sizeof(found));
    for (size_t i = 0; i < schema->field_count && len < sizeof(expected); i++)
        len += (size_t)snprintf(expected + len, sizeof(expected) - len, "%s%s", i ? ", " : "",
                                schema->fields[i].key);
    config_refuse(loader, key->start_mark, "found the unknown key %s, expected one of %s", found,
                  expected);
}

/* The index of the field with this key; field_count if there is none. */
static size_t find_field(const struct config_schema *schema, const yaml_node_t *key)
{
    size_t i = schema->field_count;

    if (key->type == YAML_SCALAR_NODE) {
        struct config_scalar scalar = scalar_of(key);

        for (i = 0; i < schema->field_count; i++) {
            if (scalar.len == strlen(schema->fields[i].key) &&
                memcmp(scalar.text, schema->fields[i].key, scalar.len) == 0)
                break;
        }
    }
    return i;
}

void config_fill_mapping(struct config_loader *loader, const yaml_node_t *node,
                         const struct config_schema *schema, unsigned char *base)
{
    char found[TEXT_MAX];
    uint64_t seen = 0; /* a bit a field: schemas have fewer than 64 */

    remember(loader, base, node->start_mark);
    if (node->type != YAML_MAPPING_NODE) {
        describe_node(node, found, sizeof(found));
        config_refuse(loader, node->start_mark, "found %s, expected a mapping", found);
        return;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(loader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(loader->document, pair->value);
        size_t i = find_field(schema, key);

        if (i == schema->field_count) {
            refuse_unknown(loader, key, schema);
            continue;
        }
        if (seen & (UINT64_C(1) << i))
            config_refuse(loader, key->start_mark, "found '%s' again, expected each key once",
                          schema->fields[i].key);
        else
            fill_field(loader, &schema->fields[i], value, base);
        seen |= UINT64_C(1) << i;
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct config_field *field = &schema->fields[i];

        if (seen & (UINT64_C(1) << i))
            continue;
        if (field->is_required)
            config_refuse(loader, node->start_mark, "found no '%s', expected it in this mapping",
                          field->key);
        else
            fill_fallback(loader, field, node->start_mark, base);
    }
}
