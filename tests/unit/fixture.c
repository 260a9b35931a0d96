/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fixture.h"

#include "libescrow/encode.h"
#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* TPMT_PUBLIC up to the point: fixedTPM | fixedParent | restricted | decrypt with the policy of
 * every storage key, and with userWithAuth | sign instead. */
#define STORAGE_HEAD                                                                               \
    "0023000b000300320020"                                                                         \
    "b5e22d4af1244db634c43bac0d110a16b0dfb3c549d34d3b53b2b150684cbe59"                             \
    "000600800043001000030010"
#define AUDIT_HEAD "0023000b00050072000000100018000b00030010"

struct tpm_name fixture_name(EVP_PKEY *key)
{
    struct ec_point point = fixture_point(key);
    struct tpm_name name;

    assert_int_equal(key_signer_name(&point, &name), ESCROW_OK);
    return name;
}

struct ec_point fixture_point(EVP_PKEY *key)
{
    struct ec_point point;

    assert_int_equal(key_point(key, &point), ESCROW_OK);
    return point;
}

static json_t *point_of(EVP_PKEY *key)
{
    struct ec_point point = fixture_point(key);

    return json_point(&point);
}

static json_t *public_of(const char *head, EVP_PKEY *key)
{
    struct ec_point point = fixture_point(key);
    uint8_t bytes[KEY_PUBLIC_MAX];
    size_t len = strlen(head) / 2;

    assert_int_equal(hex_decode(head, bytes, len), ESCROW_OK);
    for (int i = 0; i < 2; i++) {
        bytes[len++] = 0;
        bytes[len++] = EC_COORDINATE_BYTES;
        memcpy(bytes + len, i ? point.y : point.x, EC_COORDINATE_BYTES);
        len += EC_COORDINATE_BYTES;
    }
    return json_bytes(bytes, len);
}

static json_t *member_entry(const struct fixture *fixture, int index)
{
    char label[8], counter[TPM_NAME_HEX + 1] = "000b";

    snprintf(label, sizeof(label), "m%d", index);
    memset(counter + 4, '1' + index, TPM_NAME_HEX - 4);
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s}", "label", label, "storage",
                     public_of(STORAGE_HEAD, fixture->storage[index]), "answer",
                     point_of(fixture->answer[index]), "audit",
                     public_of(AUDIT_HEAD, fixture->audit[index]), "counter", counter, "ek",
                     "none");
}

static json_t *key_entry(EVP_PKEY *key, const char *identity, const char *role, const char *group,
                         const char *instance)
{
    json_t *instances = json_array();

    if (instance)
        assert_int_equal(json_array_append_new(instances, json_string(instance)), 0);
    return json_pack("{s:s, s:s, s:o, s:[s], s:o}", "identity", identity, "role", role, "key",
                     point_of(key), "groups", group, "instances", instances);
}

json_t *fixture_roster_payload(const struct fixture *fixture)
{
    json_t *payload = json_pack(
        "{s:i, s:i, s:o, s:o, s:[o, o], s:[o, o, o]}", "v", 1, "version", 1, "authority",
        point_of(fixture->authority), "recovery", point_of(fixture->recovery), "members",
        member_entry(fixture, 0), member_entry(fixture, 1), "keys",
        key_entry(fixture->agent, FIXTURE_AGENT, "agent", FIXTURE_GROUP, FIXTURE_INSTANCE),
        key_entry(fixture->admin, FIXTURE_ADMIN, "admin", "*", NULL),
        key_entry(fixture->auditor, FIXTURE_AUDITOR, "auditor", "*", NULL));

    assert_non_null(payload);
    return payload;
}

static json_t *shorten(const json_t *value)
{
    json_t *copy;
    const char *name;
    char text[32];
    json_t *item;
    size_t i;

    if (json_is_string(value) && json_string_length(value) > 24) {
        snprintf(text, sizeof(text), "%.4s<%zu>", json_string_value(value),
                 json_string_length(value));
        return json_string(text);
    }
    if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach(value, i, item) json_array_append_new(copy, shorten(item));
        return copy;
    }
    copy = json_copy((json_t *)(uintptr_t)value);
    json_object_foreach(copy, name, item) json_object_set_new(copy, name, shorten(item));
    return copy;
}

char *fixture_form(const json_t *document)
{
    CLEANUP(json_free_p) json_t *short_one = shorten(document);
    char *text = json_text(short_one);

    assert_non_null(text);
    for (char *quote = text; (quote = strchr(quote, '"')); quote++)
        *quote = '\'';
    return text;
}

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    CLEANUP(json_free_p) json_t *payload = NULL;

    assert_non_null(fixture);
    fixture->authority = key_generate();
    fixture->recovery = key_generate();
    fixture->agent = key_generate();
    fixture->admin = key_generate();
    fixture->auditor = key_generate();
    for (int i = 0; i < FIXTURE_MEMBERS; i++) {
        fixture->storage[i] = key_generate();
        fixture->answer[i] = key_generate();
        fixture->audit[i] = key_generate();
    }
    payload = fixture_roster_payload(fixture);
    assert_int_equal(roster_sign(payload, fixture->authority, &fixture->roster), ESCROW_OK);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    EVP_PKEY_free(fixture->authority);
    EVP_PKEY_free(fixture->recovery);
    EVP_PKEY_free(fixture->agent);
    EVP_PKEY_free(fixture->admin);
    EVP_PKEY_free(fixture->auditor);
    for (int i = 0; i < FIXTURE_MEMBERS; i++) {
        EVP_PKEY_free(fixture->storage[i]);
        EVP_PKEY_free(fixture->answer[i]);
        EVP_PKEY_free(fixture->audit[i]);
    }
    roster_free(fixture->roster);
    free(fixture);
    return 0;
}
