/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/fault/fault_worker.h"

/* The escrowd of fault_worker.h: grants whatever is asked for, and remembers what it was told. */

/* Seals FAULT_PASSWORD as the version that there is. */
void fault_escrowd_deposit(struct fault_worker *world);
/* An https_handler_fn; argument is the struct fault_worker. */
char *fault_escrowd_answer(const char *method, const char *path, const char *body, void *argument);
