/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_sandbox.h"

#include "libescrow/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define REFUSED_IF(name, index, wanted)                                                            \
    {                                                                                              \
        .calls = (name), .error = EACCES, .has_condition = true, .argument = (index),              \
        .mask = ~0UL, .value = (wanted)                                                            \
    }

#define PORT_DNS 53

/*
 * openat: unixODBC and FreeTDS open their configuration for each connection; it lies in memory, and
 * Landlock knows no file that they could reach. memfd_create is not among it: that was before.
 */
const struct sandbox_rule sql_sandbox_rules[] = {
    SANDBOX_CALLS("connect eventfd2 getsockopt openat recvfrom sendto setsockopt"),
    /* libc: names by DNS, and which of their addresses comes first */
    SANDBOX_KEPT("getsockname recvmmsg sendmmsg"),
    SANDBOX_IF("socket", 0, AF_INET),
    SANDBOX_IF("socket", 0, AF_INET6),
    SANDBOX_IF("ioctl", 1, FIONBIO),
    /* the hardware address that a login names; FreeTDS overruns a buffer where it gets none */
    SANDBOX_IF("ioctl", 1, SIOCGIFCONF),
    SANDBOX_IF("ioctl", 1, SIOCGIFFLAGS),
    SANDBOX_IF("ioctl", 1, SIOCGIFHWADDR),
    /* libc: caches of names, the machine's own addresses */
    REFUSED_IF("socket", 0, AF_UNIX),
    REFUSED_IF("socket", 0, AF_NETLINK),
    SANDBOX_REFUSED("getdents64 readlinkat", EACCES),
};
const size_t sql_sandbox_rule_count = ARRAY_LEN(sql_sandbox_rules);

/* libkrb5 loads its plug-ins, and GSSAPI its mechanisms, whenever they make a new context. */
static const struct sandbox_rule kerberos_rules[] = {
    SANDBOX_CALLS("fcntl getdents64 mmap mprotect"),
    /* the dynamic linker, where a library's headers are beyond its first page */
    SANDBOX_KEPT("pread64"),
};

void sandbox_allow_lookup(const char *address, struct sandbox_plan *plan)
{
    static const char *const files[] = {"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf",
                                        "/etc/host.conf", "/etc/gai.conf"};
    struct in6_addr number;

    if (inet_pton(AF_INET, address, &number) == 1 || inet_pton(AF_INET6, address, &number) == 1)
        return;
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        sandbox_allow_path(plan, files[i], SANDBOX_READ);
    sandbox_allow_port(plan, PORT_DNS);
}

void sql_sandbox_allow(const struct sql_instance *instance, struct sandbox_plan *plan)
{
    static const char *const files[] = {"/usr/lib",         "/lib",    "/lib64", "/etc/ld.so.cache",
                                        "/etc/krb5.conf.d", "/etc/gss"};

    plan->has_network = true;
    sandbox_allow_port(plan, instance->port);
    sandbox_allow_lookup(instance->address, plan);
    if (instance->keytab) {
        for (size_t i = 0; i < ARRAY_LEN(files); i++)
            sandbox_allow_path(plan, files[i], SANDBOX_READ);
        sandbox_allow_path(plan, instance->keytab, SANDBOX_READ);
        sandbox_allow_path(plan, instance->krb5_conf, SANDBOX_READ);
        sandbox_allow_port(plan, instance->kdc_port);
        /* KDCs are found by name. */
        sandbox_allow_lookup("", plan);
        sandbox_allow_calls(plan, kerberos_rules, ARRAY_LEN(kerberos_rules));
    }
    sandbox_allow_calls(plan, sql_sandbox_rules, sql_sandbox_rule_count);
}
