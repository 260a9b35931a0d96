/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/tsql.h"
#include "libescrow/tsql_grants.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Prints every T-SQL text that this project can send, or print for a DBA, with sample parameters:
 * one line of JSON each, {"function", "sample", "text"}. For parsers that we did not write. A
 * function of tsql.h that is missing here fails tests/integration/tsql.bats.
 */

/* Names and values that a careless quoting would let out of their literals. */
static const char *const samples[] = {"SSISDB", "it's", "a]b[c]", "-- /* */", "ä€\xf0\x9f\x94\x91"};

static void print(const char *function, const char *sample, const char *text)
{
    json_t *line =
        text ? json_pack("{s:s, s:s, s:s}", "function", function, "sample", sample, "text", text)
             : NULL;

    if (!line || json_dumpf(line, stdout, JSON_COMPACT) || putchar('\n') == EOF) {
        fprintf(stderr, "tsql_texts: %s has no text for %s\n", function, sample);
        exit(EXIT_FAILURE);
    }
    json_decref(line);
}

static void print_owned(const char *function, const char *sample, char *text)
{
    print(function, sample, text);
    free(text);
}

static void print_open_master_key(const char *sample)
{
    CLEANUP(secret_free_p) struct secret *password = secret_new(strlen(sample));
    CLEANUP(secret_free_p) struct secret *text = NULL;
    CLEANUP(cleanup_free) char *copy = NULL;

    if (password) {
        memcpy(password->bytes, sample, password->len);
        text = tsql_open_master_key(password);
    }
    if (text)
        copy = strndup((const char *)text->bytes, text->len);
    print("tsql_open_master_key", sample, copy);
}

static void print_grants(const char *sample)
{
    for (int kind = TSQL_LOGIN_AGENT; kind <= TSQL_LOGIN_PROBER; kind++) {
        const struct tsql_grants grants = {
            .kind = (enum tsql_login)kind,
            .login = sample,
            .database = sample,
            .may_run_catalog_startup = kind == TSQL_LOGIN_AGENT,
        };
        CLEANUP(cleanup_free) char *text = NULL;

        if (tsql_grants(&grants, &text))
            text = NULL;
        print("tsql_grants", sample, text);
    }
}

int main(void)
{
    const uint8_t nonce[TSQL_NONCE_BYTES] = {0x00, 0x27, 0xff};

    if (secret_heap_init())
        return EXIT_FAILURE;
    print_owned("tsql_quorum", "", tsql_quorum());
    print_owned("tsql_set_context", "", tsql_set_context(nonce));
    print_owned("tsql_commit_echo", "", tsql_commit_echo(nonce));
    print_owned("tsql_opens", "", tsql_opens());
    print_owned("tsql_probe_certificate", "", tsql_probe_certificate());
    print_owned("tsql_add_service_master_key", "", tsql_add_service_master_key());
    print_owned("tsql_close_master_key", "", tsql_close_master_key());
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        print_owned("tsql_state", samples[i], tsql_state(samples[i], samples[i]));
        print_owned("tsql_states", samples[i],
                    tsql_states(&(struct tsql_target){samples[i], samples[i]}, 1));
        print_owned("tsql_local", samples[i], tsql_local(samples[i], samples[i]));
        print_owned("tsql_members", samples[i], tsql_members(samples[i]));
        print_owned("tsql_readers", samples[i], tsql_readers(samples[i]));
        print_owned("tsql_find_session", samples[i], tsql_find_session(nonce, samples[i]));
        print_owned("tsql_find_echo", samples[i], tsql_find_echo(nonce, samples[i]));
        print_owned("tsql_use", samples[i], tsql_use(samples[i]));
        print_owned("tsql_catalog_startup", samples[i], tsql_catalog_startup(samples[i]));
        print_open_master_key(samples[i]);
        print_grants(samples[i]);
    }
    return EXIT_SUCCESS;
}
