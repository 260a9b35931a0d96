/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/version.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

/*
 * Password codes: sqlserver-facts 3 (GOSSMS: ESKP on 13, ESP2 on 14 to 17). Rights: 4.1. Columns:
 * SMO asks for cluster_type from 14 on (SMOXML).
 */
static const struct version_facts facts[] = {
    {"2016", "ESKP", 13, false, false}, {"2017", "ESP2", 14, false, true},
    {"2019", "ESP2", 15, false, true},  {"2022", "ESP2", 16, true, true},
    {"2025", "ESP2", 17, true, true},
};

const struct version_facts *version_find(const char *version)
{
    unsigned long major = strtoul(version, NULL, 10);
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(facts) && facts[i].major < major)
        i++;
    return &facts[i];
}

/*
 * Columns that came later than 2012: SMOXML for availability_groups; sequence_number and
 * current_configuration_commit_start_time_utc are Pacemaker's (HA), which came with 2017; CAG for
 * contained groups; sys.trusted_assemblies is of 2017. Names that are in one view only.
 */
static const struct {
    const char *name;
    unsigned since;
    bool is_disputed;
} columns[] = {
    {"basic_features", 13, false},
    {"dtc_support", 13, false},
    {"db_failover", 13, false},
    {"is_distributed", 13, false},
    {"cluster_type", 14, true},
    {"cluster_type_desc", 14, true},
    {"required_synchronized_secondaries_to_commit", 14, false},
    {"sequence_number", 14, true},
    {"current_configuration_commit_start_time_utc", 14, false},
    {"description", 14, false},
    {"is_contained", 16, false},
    {"contained_availability_group_id", 16, false},
};

bool version_has_column(const char *version, const char *column)
{
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (strcasecmp(columns[i].name, column) == 0)
            return version_find(version)->major >= columns[i].since;
    }
    return true;
}

bool version_is_disputed(const char *column)
{
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (strcasecmp(columns[i].name, column) == 0)
            return columns[i].is_disputed;
    }
    return false;
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
