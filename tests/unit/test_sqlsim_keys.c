/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/applock.h"
#include "tests/sqlsim/credential.h"
#include "tests/sqlsim/key_file.h"
#include "tests/sqlsim/master_key.h"
#include "tests/sqlsim/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

CLEANUP_FUNCTION(free_p, char, free)

static void add_certificate(struct master_key *key, const char *name, bool has_password)
{
    struct key_object *object = key_objects_add(&key->objects, KEY_CERTIFICATE, name);

    object->has_password = has_password;
    object->generation = key->generation;
}

static void test_create_and_drop(void **state)
{
    struct master_key key = {0};

    (void)state;
    master_key_create(&key, 7, "first");
    assert_true(key.exists);
    assert_true(master_key_has_password(&key, "first"));
    assert_false(master_key_wrapped_by(&key, ""));
    add_certificate(&key, "alone", true);
    assert_false(master_key_has_certificate(&key, "alone"));
    add_certificate(&key, "Probe", false);
    assert_true(master_key_has_certificate(&key, "probe"));
    assert_int_equal(master_key_drop(&key), 15580);
    key_objects_remove(&key.objects, key_objects_find(&key.objects, KEY_CERTIFICATE, "probe"));
    assert_int_equal(master_key_drop(&key), 0);
    assert_false(key.exists);
    assert_int_equal(key.password_count, 0);
    master_key_deinit(&key);
}

/* A copy shares nothing: what happens to one is not seen in the other. */
static void test_copy(void **state)
{
    struct master_key key = {0}, copy;

    (void)state;
    master_key_create(&key, 1, "first");
    add_certificate(&key, "probe", false);
    master_key_add_service_key(&key, "SQL1");
    master_key_copy(&key, &copy);
    assert_int_equal(master_key_add_password(&key, "second", 15579), 0);
    key_objects_remove(&key.objects, &key.objects.objects[0]);
    master_key_drop_service_key(&key);
    assert_int_equal(copy.password_count, 1);
    assert_true(master_key_has_certificate(&copy, "probe"));
    assert_true(master_key_wrapped_by(&copy, "SQL1"));
    master_key_deinit(&key);
    master_key_deinit(&copy);
}

/* REGENERATE takes everything along; FORCE without the old key loses it. */
static void test_replace(void **state)
{
    struct master_key key = {0};

    (void)state;
    master_key_create(&key, 1, "first");
    add_certificate(&key, "probe", false);
    master_key_add_service_key(&key, "SQL1");
    master_key_replace(&key, 2, "second", true);
    assert_true(master_key_has_certificate(&key, "probe"));
    assert_false(master_key_has_password(&key, "first"));
    assert_true(master_key_has_password(&key, "second"));
    assert_true(master_key_wrapped_by(&key, "SQL1"));
    master_key_replace(&key, 3, "third", false);
    assert_false(master_key_has_certificate(&key, "probe"));
    master_key_replace(&key, 4, "fourth", true);
    assert_false(master_key_has_certificate(&key, "probe")); /* lost for good */
    master_key_deinit(&key);
}

static void test_key_objects(void **state)
{
    struct master_key key = {0};
    struct key_object *object;

    (void)state;
    add_certificate(&key, "cert", false);
    assert_null(key_objects_find(&key.objects, KEY_SYMMETRIC, "cert"));
    assert_null(key_objects_under(&key.objects, "cert"));
    object = key_objects_add(&key.objects, KEY_SYMMETRIC, "data");
    object->certificate = strdup("cert");
    assert_string_equal(key_objects_under(&key.objects, "CERT")->name, "data");
    assert_string_equal(key_objects_under_master_key(&key.objects)->name, "cert");
    master_key_deinit(&key);
}

static void test_credentials(void **state)
{
    struct credentials credentials = {0};
    char guid[CREDENTIAL_GUID_SIZE], other[CREDENTIAL_GUID_SIZE];

    (void)state;
    assert_int_equal(credentials_add(&credentials, 1, "pw"), 0);
    assert_int_equal(credentials_add(&credentials, 1, "pw"), 15594);
    assert_int_equal(credentials_add(&credentials, 2, "pw"), 0);
    assert_int_equal(credentials_drop(&credentials, 1, "other"), 15595);
    assert_int_equal(credentials_drop(&credentials, 1, "pw"), 0);
    assert_int_equal(credentials_drop(&credentials, 1, "pw"), 15595);
    assert_int_equal(credentials.count, 1);
    credential_family_guid(1, guid);
    credential_family_guid(2, other);
    assert_int_equal(strlen(guid), CREDENTIAL_GUID_SIZE - 1);
    assert_string_not_equal(guid, other);
    credentials_deinit(&credentials);
}

static void test_key_files(void **state)
{
    struct key_files files = {0};

    (void)state;
    assert_int_equal(key_files_add(&files, "C:\\dmk.key", "pw", 3), 0);
    assert_int_equal(key_files_add(&files, "c:\\DMK.key", "pw", 4), 15240);
    assert_int_equal(key_files_find(&files, "C:\\dmk.key")->generation, 3);
    assert_null(key_files_find(&files, "C:\\other.key"));
    key_files_deinit(&files);
}

static void test_applock_modes(void **state)
{
    static const struct {
        const char *held, *wanted;
        int code;
    } cases[] = {
        {"Exclusive", "Shared", APPLOCK_TIMEOUT},
        {"exclusive", "IntentShared", APPLOCK_TIMEOUT},
        {"Shared", "Shared", APPLOCK_GRANTED},
        {"Shared", "Update", APPLOCK_GRANTED},
        {"Update", "Update", APPLOCK_TIMEOUT},
        {"Shared", "IntentExclusive", APPLOCK_TIMEOUT},
        {"IntentExclusive", "IntentExclusive", APPLOCK_GRANTED},
        {"IntentShared", "Exclusive", APPLOCK_TIMEOUT},
    };
    const struct applock_request first = {51, 1, "r", false}, second = {52, 1, "r", false};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct applocks locks = {0};
        enum applock_mode held, wanted;

        assert_true(applock_mode_parse(cases[i].held, &held));
        assert_true(applock_mode_parse(cases[i].wanted, &wanted));
        assert_int_equal(applocks_get(&locks, &first, held), APPLOCK_GRANTED);
        assert_int_equal(applocks_get(&locks, &second, wanted), cases[i].code);
        applocks_deinit(&locks);
    }
    assert_false(applock_mode_parse("Exclusiv", &(enum applock_mode){0}));
}

static void test_applock_owners(void **state)
{
    const struct applock_request session = {51, 1, "r", false}, transaction = {51, 1, "r", true};
    const struct applock_request other = {52, 1, "r", false}, case_differs = {52, 1, "R", false};
    const struct applock_request elsewhere = {52, 2, "r", false};
    struct applocks locks = {0};

    (void)state;
    assert_int_equal(applocks_get(&locks, &session, APPLOCK_SHARED), APPLOCK_GRANTED);
    assert_int_equal(applocks_get(&locks, &session, APPLOCK_EXCLUSIVE), APPLOCK_GRANTED);
    assert_int_equal(applocks_get(&locks, &case_differs, APPLOCK_EXCLUSIVE), APPLOCK_GRANTED);
    assert_int_equal(applocks_get(&locks, &elsewhere, APPLOCK_EXCLUSIVE), APPLOCK_GRANTED);
    assert_int_equal(applocks_release(&locks, &transaction), APPLOCK_INVALID);
    assert_int_equal(applocks_release(&locks, &session), APPLOCK_GRANTED);
    /* taken twice, released once: held, in its strongest mode */
    assert_int_equal(applocks_get(&locks, &other, APPLOCK_SHARED), APPLOCK_TIMEOUT);
    assert_int_equal(applocks_release(&locks, &session), APPLOCK_GRANTED);
    assert_int_equal(applocks_get(&locks, &other, APPLOCK_SHARED), APPLOCK_GRANTED);
    assert_int_equal(applocks_get(&locks, &transaction, APPLOCK_SHARED), APPLOCK_GRANTED);
    assert_int_equal(applocks_get(&locks, &session, APPLOCK_SHARED), APPLOCK_GRANTED);
    applocks_end_transaction(&locks, 51);
    assert_int_equal(applocks_release(&locks, &transaction), APPLOCK_INVALID);
    applocks_end_session(&locks, 51);
    assert_int_equal(applocks_release(&locks, &session), APPLOCK_INVALID);
    applocks_deinit(&locks);
}

static void test_versions(void **state)
{
    static const struct {
        const char *version, *year, *code;
        bool has_performance_state;
        bool is_valid;
    } cases[] = {
        {"13.0.7029.3", "2016", "ESKP", false, true}, {"14.0.3456.2", "2017", "ESP2", false, true},
        {"15.0.4375.4", "2019", "ESP2", false, true}, {"16.0.4165.4", "2022", "ESP2", true, true},
        {"17.0.1000", "2025", "ESP2", true, true},    {"12.0.6024.0", "2016", "ESKP", false, false},
        {"18.0.1.1", "2025", "ESP2", true, false},    {"16", "2022", "ESP2", true, false},
        {"16.0.x.1", "2022", "ESP2", true, false},
    };
    CLEANUP(free_p) char *windows = version_banner("13.0.7029.3", VERSION_WINDOWS);
    CLEANUP(free_p) char *linux_text = version_banner("17.0.1000.7", VERSION_LINUX);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct version_facts *facts = version_find(cases[i].version);

        assert_string_equal(facts->year, cases[i].year);
        assert_string_equal(facts->password_crypt_type, cases[i].code);
        assert_int_equal(facts->has_performance_state, cases[i].has_performance_state);
        assert_int_equal(version_is_valid(cases[i].version), cases[i].is_valid);
    }
    assert_non_null(strstr(windows, "Microsoft SQL Server 2016 - 13.0.7029.3 (X64)"));
    assert_non_null(strstr(windows, " on Windows Server"));
    assert_non_null(strstr(linux_text, " on Linux"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_drop), cmocka_unit_test(test_copy),
        cmocka_unit_test(test_replace),         cmocka_unit_test(test_key_objects),
        cmocka_unit_test(test_credentials),     cmocka_unit_test(test_key_files),
        cmocka_unit_test(test_applock_modes),   cmocka_unit_test(test_applock_owners),
        cmocka_unit_test(test_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
