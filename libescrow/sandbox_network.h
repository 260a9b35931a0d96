/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A process without a network: a namespace of its own with no device in it but a loopback that is
 * down. Unix sockets with a path, and descriptors that it has already, go on working.
 */

enum sandbox_network {
    SANDBOX_NETWORK_SHARED, /* it has the machine's */
    SANDBOX_NETWORK_NONE,
};

/* Quiet where root may not (the unit of escrowd takes CAP_SYS_ADMIN away). */
enum sandbox_network sandbox_network_leave_as_root(void);

/*
 * By a user namespace in which this user and group keep their numbers, and of which it keeps no
 * capability. Where the kernel does not allow that, a log line says so. It leaves the process
 * dumpable: sandbox_harden comes after it.
 */
enum sandbox_network sandbox_network_leave(void);
