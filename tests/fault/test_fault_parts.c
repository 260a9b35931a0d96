/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"
#include "libescrow/payload.h"
#include "libescrow/tpm_recovery.h"
#include "libescrow/wrap.h"
#include "tests/fault/inject.h"
#include "tests/fault/memory_search.h"

#include <dirent.h>
#include <sanitizer/lsan_interface.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * What both sides share, with every call failing once, one after the other: a result is right or an
 * error, an error hands out nothing, nothing leaks (LeakSanitizer looks at the end), and no copy of
 * a secret stays in memory.
 */

#define PASSWORD_BYTES 24

struct part {
    EVP_PKEY *recipient;
    struct ec_point point;
    struct secret *data_key, *password;
    struct payload_binding binding;
    struct wrap_object object;
    struct wrap_blob blob;
    uint8_t payload[PAYLOAD_CIPHERTEXT_BYTES];
    char *recovery;
    char folder[200], path[230];
};

typedef enum escrow_err (*part_fn)(struct part *part);

static enum escrow_err seal(struct part *part)
{
    static const uint8_t policy[32] = {1, 2, 3};
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    enum escrow_err err = wrap_object_new(policy, part->data_key, &part->object, &sensitive);

    if (!err)
        err = wrap_seal(&part->object, sensitive, &part->point, &part->blob);
    if (!err) {
        part->binding.object = part->object.name;
        err = payload_seal(&part->binding, part->data_key, part->password, part->payload);
    }
    return err;
}

static enum escrow_err open_sealed(struct part *part)
{
    CLEANUP(secret_free_p) struct secret *data_key = NULL, *password = NULL;
    enum escrow_err err = wrap_open(&part->object, &part->blob, part->recipient, &data_key);

    assert_true(err ? !data_key : secret_equal(data_key, part->data_key));
    if (err)
        return err;
    err = payload_open(&part->binding, data_key, part->payload, &password);
    assert_true(err ? !password : secret_equal(password, part->password));
    return err;
}

static enum escrow_err seal_recovery(struct part *part)
{
    char *text = NULL;
    enum escrow_err err = tpm_recovery_seal(part->data_key, part->data_key, &part->point, &text);

    assert_true((err == ESCROW_OK) == (text != NULL));
    if (text) {
        free(part->recovery);
        part->recovery = text;
    }
    return err;
}

static enum escrow_err open_recovery(struct part *part)
{
    CLEANUP(secret_free_p) struct secret *owner = NULL, *lockout = NULL;
    enum escrow_err err = tpm_recovery_open(part->recovery, strlen(part->recovery), part->recipient,
                                            &owner, &lockout);

    assert_true(err ? !owner && !lockout
                    : secret_equal(owner, part->data_key) && secret_equal(lockout, part->data_key));
    return err;
}

/* What is under the path: 0 nothing, 1 the old text, 2 the new one; anything else is a failure. */
static int content(const struct part *part)
{
    char text[16] = "";
    FILE *file = fopen(part->path, "re");

    if (!file)
        return 0;
    (void)!fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    assert_true(strcmp(text, "old") == 0 || strcmp(text, "and new") == 0);
    return strcmp(text, "old") == 0 ? 1 : 2;
}

static void assert_alone(const struct part *part, unsigned expected)
{
    DIR *folder = opendir(part->folder);
    const struct dirent *entry;
    unsigned count = 0;

    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    assert_int_equal(count, expected);
}

static void write_old(struct part *part)
{
    FILE *file = fopen(part->path, "we");

    fputs("old", file);
    fclose(file);
}

static enum escrow_err replace_file(struct part *part)
{
    return file_replace(part->path, 0600, "and new", 7);
}

static enum escrow_err create_file(struct part *part)
{
    return file_create(part->path, 0600, "and new", 7);
}

static void check_replaced(struct part *part, enum escrow_err err)
{
    int found = content(part);

    assert_true(err ? found == 1 || found == 2 : found == 2);
    assert_alone(part, 1);
    write_old(part);
}

static void check_created(struct part *part, enum escrow_err err)
{
    assert_int_equal(content(part), err ? 0 : 2);
    assert_alone(part, err ? 0 : 1);
    unlink(part->path);
}

/* Every call of every class fails, alone and from there on, in each of its ways. */
static void fail_all(struct part *part, part_fn run, void (*check)(struct part *, enum escrow_err))
{
    struct inject_report counted, report;
    struct inject_order order;
    uint64_t runs = 0;

    inject_arm(NULL);
    assert_int_equal(run(part), ESCROW_OK);
    inject_disarm(&counted);
    if (check)
        check(part, ESCROW_OK);
    for (int class = 0; class < INJECT_CLASSES; class ++) {
        for (uint64_t i = 0; i < 6 * counted.calls[class]; i++, runs++) {
            enum escrow_err err;

            order = (struct inject_order){.class = (enum inject_class) class,
                                          .at = 1 + i / 6,
                                          .span = i % 2 ? 1000 : 1,
                                          .variant = (unsigned)(i / 2 % 3)};
            inject_arm(&order);
            err = run(part);
            inject_disarm(&report);
            if (check)
                check(part, err);
        }
    }
    assert_true(runs > 0);
    print_message("# %llu runs\n", (unsigned long long)runs);
    assert_int_equal(run(part), ESCROW_OK);
    if (check)
        check(part, ESCROW_OK);
}

static int setup(void **state)
{
    static struct part part;
    const char *base = getenv("TMPDIR");

    part = (struct part){.binding = {.group = "ssis", .database = "SSISDB", .version = 1}};
    assert_int_equal(secret_heap_init(), ESCROW_OK);
    part.recipient = key_generate();
    assert_int_equal(key_point(part.recipient, &part.point), ESCROW_OK);
    part.data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    part.password = secret_random(PASSWORD_BYTES);
    snprintf(part.folder, sizeof(part.folder), "%.150s/parts.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(part.folder));
    snprintf(part.path, sizeof(part.path), "%s/file", part.folder);
    assert_int_equal(seal(&part), ESCROW_OK);
    assert_int_equal(seal_recovery(&part), ESCROW_OK);
    *state = &part;
    return 0;
}

static int teardown(void **state)
{
    struct part *part = *state;

    EVP_PKEY_free(part->recipient);
    secret_free(part->data_key);
    secret_free(part->password);
    free(part->recovery);
    unlink(part->path);
    return rmdir(part->folder);
}

static void test_seal(void **state)
{
    fail_all(*state, seal, NULL);
    assert_int_equal(open_sealed(*state), ESCROW_OK);
}

static void test_open(void **state)
{
    fail_all(*state, open_sealed, NULL);
}

static void test_recovery(void **state)
{
    fail_all(*state, seal_recovery, NULL);
    fail_all(*state, open_recovery, NULL);
}

static void test_files(void **state)
{
    struct part *part = *state;

    fail_all(part, create_file, check_created);
    write_old(part);
    fail_all(part, replace_file, check_replaced);
    unlink(part->path);
}

/* Only the secure heap held them; a block that was freed as it was is still in the quarantine. */
static void test_no_copy_stays(void **state)
{
    const struct part *part = *state;
    uint8_t *careless = malloc(4096);

    assert_int_equal(memory_search(part->password->bytes, PASSWORD_BYTES, part->password), 0);
    assert_int_equal(memory_search(part->data_key->bytes, PAYLOAD_DATA_KEY_BYTES, part->data_key),
                     0);
    memcpy(careless + 64, part->password->bytes, PASSWORD_BYTES);
    free(careless);
    assert_int_not_equal(memory_search(part->password->bytes, PASSWORD_BYTES, part->password), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal),          cmocka_unit_test(test_open),
        cmocka_unit_test(test_recovery),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_no_copy_stays),
    };

    inject_init();
    inject_here();
    return cmocka_run_group_tests(tests, setup, teardown);
}
