/* SPDX-License-Identifier: Apache-2.0 */
/* A policy file: YAML, schema and the rules between its values. */
#include "policy/policy.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct config_report report = {0};
    struct policy *policy = NULL;

    if (policy_load_bytes(bytes, len, "policy", &report, &policy) == ESCROW_OK)
        policy_free(policy);
    config_report_deinit(&report);
    return 0;
}
