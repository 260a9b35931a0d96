/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Passwords of database master keys that one instance stores (sp_control_dbmasterkey_password,
 * sqlserver-facts 5.1): rows of sys.master_key_passwords. They stay on the instance, and they are
 * found by the family of the database, not by its name. Whether a password opens a key is not known
 * here.
 */
struct credential {
    int32_t id;
    uint32_t family;
    char *password;
};

struct credentials {
    size_t count;
    struct credential *entries;
    int32_t next_id;
};

void credentials_deinit(struct credentials *credentials); /* wipes; a zeroed one is valid */

/* 0, or 15594 if it is there. */
int32_t credentials_add(struct credentials *credentials, uint32_t family, const char *password);
/* 0, or 15595 if it is not there. */
int32_t credentials_drop(struct credentials *credentials, uint32_t family, const char *password);

/* The family as SQL Server shows it: a GUID. */
#define CREDENTIAL_GUID_SIZE 37
void credential_family_guid(uint32_t family, char ret_text[static CREDENTIAL_GUID_SIZE]);
