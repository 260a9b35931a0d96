/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * Whether a batch is nothing but SET statements of session options that drivers send after the
 * login and that change nothing here. Our programs send none of them.
 */
bool client_options_match(const char *text);
