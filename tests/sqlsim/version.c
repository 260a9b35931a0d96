/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/version.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <ctype.h>
#include <stdlib.h>

/*
 * Password codes: sqlserver-facts 3 (GOSSMS: ESKP on 13, ESP2 on 14 to 17). Rights: 4.1. Columns:
 * SMO takes WSFC for the cluster type of servers of 13 or less (learn.microsoft.com,
 * AvailabilityGroup.ClusterTypeWithDefault), M; contained groups came with 2022 (CAG).
 */
static const struct version_facts facts[] = {
    {"2016", "ESKP", 13, false, false, false}, {"2017", "ESP2", 14, false, true, false},
    {"2019", "ESP2", 15, false, true, false},  {"2022", "ESP2", 16, true, true, true},
    {"2025", "ESP2", 17, true, true, true},
};

const struct version_facts *version_find(const char *version)
{
    unsigned long major = strtoul(version, NULL, 10);
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(facts) && facts[i].major < major)
        i++;
    return &facts[i];
}

bool version_is_valid(const char *version)
{
    unsigned dots = 0;

    if (version_find(version)->major != strtoul(version, NULL, 10))
        return false;
    for (const char *at = version; *at; at++) {
        if (*at == '.' && isdigit((unsigned char)at[1]))
            dots++;
        else if (!isdigit((unsigned char)*at))
            return false;
    }
    return dots == 2 || dots == 3;
}

char *version_banner(const char *version, enum version_platform platform)
{
    static const char *const systems[] = {
        [VERSION_WINDOWS] = "Windows Server 2022 Standard 10.0 <X64> (Build 20348: ) (Hypervisor)",
        [VERSION_LINUX] = "Linux (Ubuntu 22.04.4 LTS) <X64>",
    };

    return memory_format("Microsoft SQL Server %s - %s (X64) \n\tEnterprise Edition (64-bit) on "
                         "%s\n",
                         version_find(version)->year, version, systems[platform]);
}
