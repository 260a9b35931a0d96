/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Words to the service manager that started this process, by the protocol of sd_notify(3): one
 * datagram to the socket that NOTIFY_SOCKET names. Without one nothing is sent.
 */

/*
 * Sends lines such as "READY=1" or "STOPPING=1\nSTATUS=text". A failure is logged and changes
 * nothing: a service works without its manager.
 */
void service_notify(const char *lines);
