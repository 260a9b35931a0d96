/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/reason.h"

/*
 * The one form of every refusal (RFC 9457): {"type": "urn:escrowd:problem:CODE", "title", "status",
 * "code", "detail"}. Codes are those of reason.h; a client acts on the code alone.
 */

/* detail may be NULL or "" (left out). Text owned by the caller; NULL without memory. */
char *front_problem(enum reason reason, const char *detail);
