/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The arguments of a stored procedure as they follow EXEC: "@name = value, ..." or values in order.
 * Values are literals and numbers.
 */

/*
 * values[i] becomes that of names[i], owned by the caller, or stays NULL. false: a name that is not
 * among them, or no list of arguments; values may be set then too.
 */
bool procedure_arguments(const char *text, const char *const *names, size_t count, char **values);
void procedure_arguments_free(char **values, size_t count); /* wipes them */
