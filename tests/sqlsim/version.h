/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * What differs between SQL Server 2016 (13) and 2025 (17), and between Windows and Linux, as far as
 * statements of the model show it: banners, names of rights, codes, columns. One table; a product
 * version outside it counts as its nearest row.
 */
enum version_platform { VERSION_WINDOWS, VERSION_LINUX };

struct version_facts {
    const char *year;
    const char *password_crypt_type; /* sys.key_encryptions.crypt_type of a password (3) */
    unsigned major;
    bool has_performance_state; /* VIEW SERVER PERFORMANCE STATE governs the DMVs (4.1) */
    bool has_cluster_type;      /* cluster_type and sequence_number of availability_groups */
};

/* version: "16.0.4165.4". Never NULL. */
const struct version_facts *version_find(const char *version);

/* Whether its system views have a column of that name, where they have it at all; and whether that
 * is not sure, of 2016. */
bool version_has_column(const char *version, const char *column);
bool version_is_disputed(const char *column);

/* Whether the text is a version of the table: "MAJOR.digits.digits[.digits]". */
bool version_is_valid(const char *version);

/* @@VERSION. Owned by the caller. */
char *version_banner(const char *version, enum version_platform platform);
