/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "libescrow/key.h"
#include "tests/unit/swtpm.h"

#include <stdbool.h>

/* A machine before and after `escrowd init`, and what must be true of it whatever happened to the
 * init. Failures are cmocka's. */
struct machine {
    struct swtpm swtpm;
    char folder[200], state[220], recovery_file[220];
    EVP_PKEY *recovery;
    struct escrowd_config config;
};

void machine_start(struct machine *machine);
void machine_stop(struct machine *machine);
/* Whether the state folder has a file of this name. */
bool machine_has(const struct machine *machine, const char *name);
/* Others may read nothing but the statement; and nothing is empty, or it was cut short. Returns how
 * many files there are. */
unsigned machine_check_files(const struct machine *machine, bool may_be_cut);
/* Whatever auth value the TPM has, the recovery key finds. Returns whether init changed nothing. */
bool machine_check_tpm(const struct machine *machine);
/* A member that the keeper starts with. */
void machine_assert_member(const struct machine *machine);
