/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/credential.h"

#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ID 65536 /* as a fresh server counts credentials */

static void free_password(struct credential *credential)
{
    OPENSSL_cleanse(credential->password, strlen(credential->password));
    free(credential->password);
}

void credentials_deinit(struct credentials *credentials)
{
    for (size_t i = 0; i < credentials->count; i++)
        free_password(&credentials->entries[i]);
    free(credentials->entries);
    memset(credentials, 0, sizeof(*credentials));
}

static size_t find(const struct credentials *credentials, uint32_t family, const char *password)
{
    size_t i = 0;

    while (i < credentials->count && (credentials->entries[i].family != family ||
                                      strcmp(credentials->entries[i].password, password) != 0))
        i++;
    return i;
}

int32_t credentials_add(struct credentials *credentials, uint32_t family, const char *password)
{
    if (find(credentials, family, password) < credentials->count)
        return 15594;
    credentials->entries =
        memory_grow(credentials->entries, credentials->count + 1, sizeof(*credentials->entries));
    credentials->entries[credentials->count++] = (struct credential){
        .id = FIRST_ID + credentials->next_id++,
        .family = family,
        .password = memory_copy(password),
    };
    return 0;
}

int32_t credentials_drop(struct credentials *credentials, uint32_t family, const char *password)
{
    size_t found = find(credentials, family, password);

    if (found == credentials->count)
        return 15595;
    free_password(&credentials->entries[found]);
    credentials->entries[found] = credentials->entries[--credentials->count];
    return 0;
}

void credential_family_guid(uint32_t family, char ret_text[static CREDENTIAL_GUID_SIZE])
{
    snprintf(ret_text, CREDENTIAL_GUID_SIZE, "5A1B0000-0000-4000-8000-0000%08" PRIX32, family);
}
