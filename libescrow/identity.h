/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * The texts by which things are known: identities (the SAN URI of a certificate, SPIFFE form) and
 * names of groups, instances and members. The character sets are narrow on purpose: these texts
 * stand in policy labels, file names, log lines and documents that people read and compare.
 */

#define IDENTITY_MAX 255 /* bytes */
#define NAME_MAX_BYTES 64

/*
 * spiffe://trust-domain/segment[/segment...]: trust domain of [a-z0-9._-], segments of
 * [A-Za-z0-9._-] that are neither "." nor "..", no query, port or user (SPIFFE-ID, section 2).
 */
bool identity_is_valid(const char *text);

/* 1 ..= NAME_MAX_BYTES of [A-Za-z0-9._-], not starting with "." or "-". */
bool name_is_valid(const char *text);
