/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/roster_parts.h"

#include <stdlib.h>
#include <string.h>

/* Indexed by enum roster_role; the first never matches. */
static const char *const role_words[] = {
    NULL, [ROSTER_AGENT] = "agent", [ROSTER_ADMIN] = "admin", [ROSTER_AUDITOR] = "auditor"};

const char *roster_role_word(enum roster_role role)
{
    size_t index = (size_t)role;

    return index > 0 && index < ARRAY_LEN(role_words) ? role_words[index] : "unknown";
}

/* A point that must be on the curve, its signer Name and its key. */
static void read_signer(struct json_reader *reader, const char *name, struct ec_point *ret_point,
                        struct tpm_name *ret_name, EVP_PKEY **ret_key)
{
    json_read_point(reader, name, ret_point);
    if (key_from_point(ret_point, ret_key) != ESCROW_OK ||
        key_signer_name(ret_point, ret_name) != ESCROW_OK)
        json_reader_fault(reader, name);
}

static size_t read_public(struct json_reader *reader, const char *name, enum key_tpm_kind kind,
                          uint8_t ret_bytes[static KEY_PUBLIC_MAX], struct ec_point *ret_point,
                          struct tpm_name *ret_name)
{
    size_t len = json_read_bytes_up_to(reader, name, ret_bytes, KEY_PUBLIC_MAX);

    if (key_public_parse(kind, ret_bytes, len, ret_point, ret_name) != ESCROW_OK)
        json_reader_fault(reader, name);
    return len;
}

static enum escrow_err read_member(const json_t *item, size_t index, struct roster_member *member,
                                   EVP_PKEY **ret_answer_key)
{
    static const char *const ek_words[] = {"none", "verified"};
    struct json_reader reader;
    struct tpm_name audit;

    json_reader_init(&reader, item, "roster: members[%zu]", index);
    member->label = json_borrow_text(&reader, "label", NAME_MAX_BYTES);
    if (!name_is_valid(member->label))
        json_reader_fault(&reader, "label");
    member->storage_public_len =
        read_public(&reader, "storage", KEY_TPM_STORAGE, member->storage_public,
                    &member->storage_point, &member->storage);
    member->audit_public_len = read_public(&reader, "audit", KEY_TPM_AUDIT, member->audit_public,
                                           &member->audit_point, &audit);
    read_signer(&reader, "answer", &member->answer_point, &member->answer, ret_answer_key);
    json_read_tpm_name(&reader, "counter", &member->counter);
    member->is_ek_verified = json_read_word(&reader, "ek", ek_words, ARRAY_LEN(ek_words)) == 1;
    return json_reader_end(&reader);
}

/* Fills ret_texts with the borrowed texts of an array of names, or "*" where that is allowed. */
static void check_names(struct json_reader *reader, const char *name, const json_t *array,
                        bool may_be_all, const char **ret_texts)
{
    const json_t *item;
    size_t i;

    json_array_foreach(array, i, item)
    {
        const char *text = json_string_value(item);

        ret_texts[i] = text ? text : "";
        if (!name_is_valid(ret_texts[i]) && !(may_be_all && strcmp(ret_texts[i], "*") == 0))
            json_reader_fault(reader, name);
    }
}

static enum escrow_err read_names(struct json_reader *reader, struct roster_key *key,
                                  const char ***ret_names)
{
    const json_t *groups = json_read_array(reader, "groups", ROSTER_GROUPS_MAX);
    const json_t *instances = json_read_array(reader, "instances", ROSTER_GROUPS_MAX);
    size_t group_count = json_array_size(groups), instance_count = json_array_size(instances);
    const char **texts = calloc(group_count + instance_count + 1, sizeof(*texts));

    if (!texts)
        return ESCROW_ERR_NO_MEMORY;
    *ret_names = texts;
    key->groups = texts;
    key->group_count = group_count;
    key->instances = texts + group_count;
    key->instance_count = instance_count;
    check_names(reader, "groups", groups, true, texts);
    check_names(reader, "instances", instances, false, texts + group_count);
    if ((key->role == ROSTER_AGENT) != (instance_count > 0))
        json_reader_fault(reader, "instances");
    return ESCROW_OK;
}

static enum escrow_err read_key(const json_t *item, size_t index, struct roster *roster)
{
    struct roster_key *key = &roster->keys[index];
    struct json_reader reader;
    enum escrow_err err;

    json_reader_init(&reader, item, "roster: keys[%zu]", index);
    key->identity = json_borrow_text(&reader, "identity", IDENTITY_MAX);
    if (!identity_is_valid(key->identity))
        json_reader_fault(&reader, "identity");
    key->role =
        (enum roster_role)json_read_word(&reader, "role", role_words, ARRAY_LEN(role_words));
    json_read_point(&reader, "key", &key->point);
    if (key_check_point(&key->point) != ESCROW_OK ||
        key_signer_name(&key->point, &key->name) != ESCROW_OK)
        json_reader_fault(&reader, "key");
    err = read_names(&reader, key, &roster->parts[index].names);
    return err ? err : json_reader_end(&reader);
}

static enum escrow_err complain(const char *what, const char *name)
{
    log_notice("roster: %s '%s' stands there twice", what, name);
    return ESCROW_ERR_MALFORMED;
}

static enum escrow_err check_members_differ(const struct roster *roster)
{
    for (size_t i = 0; i < roster->member_count; i++) {
        const struct roster_member *one = &roster->members[i];

        for (size_t j = 0; j < i; j++) {
            const struct roster_member *other = &roster->members[j];

            if (strcmp(one->label, other->label) == 0)
                return complain("the label of member", one->label);
            if (tpm_name_equal(&one->counter, &other->counter))
                return complain("the counter of member", one->label);
        }
    }
    return ESCROW_OK;
}

/* Every key of a roster, whatever it is for. */
struct place {
    const struct ec_point *point;
    const char *what;
    const char *name;
};

#define PLACES(roster) (2 + 3 * (roster)->member_count + (roster)->key_count)

static void list_places(const struct roster *roster, const struct ec_point *authority,
                        struct place *ret_places)
{
    size_t count = 0;

    ret_places[count++] = (struct place){authority, "the key of", "authority"};
    ret_places[count++] = (struct place){&roster->recovery, "the key of", "recovery"};
    for (size_t i = 0; i < roster->member_count; i++) {
        const struct roster_member *member = &roster->members[i];

        ret_places[count++] =
            (struct place){&member->storage_point, "the storage key of member", member->label};
        ret_places[count++] =
            (struct place){&member->answer_point, "the answer key of member", member->label};
        ret_places[count++] =
            (struct place){&member->audit_point, "the audit key of member", member->label};
    }
    for (size_t i = 0; i < roster->key_count; i++)
        ret_places[count++] =
            (struct place){&roster->keys[i].point, "the act key of", roster->keys[i].identity};
}

static int compare_places(const void *one, const void *other)
{
    const struct place *a = one, *b = other;

    return memcmp(a->point, b->point, sizeof(*a->point));
}

/*
 * A key with two uses could sign for both sides of one conversation, or be thought safely offline
 * while an agent signs with it.
 */
static enum escrow_err check_keys_differ(const struct roster *roster,
                                         const struct ec_point *authority)
{
    size_t count = PLACES(roster);
    CLEANUP(cleanup_free) struct place *places = calloc(count, sizeof(*places));

    if (!places)
        return ESCROW_ERR_NO_MEMORY;
    list_places(roster, authority, places);
    qsort(places, count, sizeof(*places), compare_places);
    for (size_t i = 1; i < count; i++) {
        if (compare_places(&places[i - 1], &places[i]) == 0)
            return complain(places[i].what, places[i].name);
    }
    return ESCROW_OK;
}

int roster_compare_names(const void *one, const void *other)
{
    const struct roster_key *const *a = one, *const *b = other;

    return memcmp((*a)->name.bytes, (*b)->name.bytes, TPM_NAME_BYTES);
}

int roster_compare_identities(const void *one, const void *other)
{
    const struct roster_key *const *a = one, *const *b = other;

    return strcmp((*a)->identity, (*b)->identity);
}

static void sort_keys(const struct roster *roster)
{
    for (size_t i = 0; i < roster->key_count; i++)
        roster->by_name[i] = roster->by_identity[i] = &roster->keys[i];
    qsort(roster->by_name, roster->key_count, sizeof(const struct roster_key *),
          roster_compare_names);
    qsort(roster->by_identity, roster->key_count, sizeof(const struct roster_key *),
          roster_compare_identities);
}

static enum escrow_err read_members(struct roster *roster, const json_t *array)
{
    const json_t *item;
    size_t i;

    json_array_foreach(array, i, item)
    {
        enum escrow_err err;

        roster->member_count = i + 1;
        err = read_member(item, i, &roster->members[i], &roster->answer_keys[i]);
        if (err)
            return err;
    }
    return check_members_differ(roster);
}

/* One more of each than there are: calloc(0) may be NULL. */
static enum escrow_err read_keys(struct roster *roster, const json_t *array)
{
    size_t room = json_array_size(array) + 1, i;
    const json_t *item;

    roster->keys = calloc(room, sizeof(*roster->keys));
    roster->parts = calloc(room, sizeof(*roster->parts));
    roster->by_name = calloc(room, sizeof(const struct roster_key *));
    roster->by_identity = calloc(room, sizeof(const struct roster_key *));
    if (!roster->keys || !roster->parts || !roster->by_name || !roster->by_identity)
        return ESCROW_ERR_NO_MEMORY;
    json_array_foreach(array, i, item)
    {
        enum escrow_err err;

        roster->key_count = i + 1;
        err = read_key(item, i, roster);
        if (err)
            return err;
    }
    sort_keys(roster);
    return ESCROW_OK;
}

enum escrow_err roster_fill(struct roster *roster, EVP_PKEY *authority)
{
    CLEANUP(key_free_p) EVP_PKEY *recovery = NULL;
    struct ec_point pinned, authority_point;
    const json_t *members, *keys;
    struct json_reader reader;
    enum escrow_err err = key_point(authority, &pinned);

    if (err)
        return err;
    json_reader_init(&reader, roster->payload, "roster");
    json_read_v1(&reader);
    roster->version = json_read_number(&reader, "version", 1, INT64_MAX);
    json_read_point(&reader, "authority", &authority_point);
    if (memcmp(&authority_point, &pinned, sizeof(pinned)) != 0)
        json_reader_fault(&reader, "authority");
    json_read_point(&reader, "recovery", &roster->recovery);
    if (key_from_point(&roster->recovery, &recovery) != ESCROW_OK)
        json_reader_fault(&reader, "recovery");
    members = json_read_array(&reader, "members", ROSTER_MEMBERS_MAX);
    keys = json_read_array(&reader, "keys", ROSTER_KEYS_MAX);
    err = json_reader_end(&reader);
    if (!err)
        err = key_signer_name(&pinned, &roster->authority);
    if (!err)
        err = key_recipient_name(&roster->recovery, &roster->recovery_name);
    if (!err)
        err = read_members(roster, members);
    if (!err)
        err = read_keys(roster, keys);
    return err ? err : check_keys_differ(roster, &pinned);
}
