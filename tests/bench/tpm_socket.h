/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/*
 * Whole TPM commands and responses over a Unix socket, without any TSS: what the benches compare
 * escrowd with. Blocking and without deadlines: whoever runs a bench ends what hangs.
 */

#define TPM_SOCKET_BYTES 8192 /* room for any command or response */

/* False with errno if the path is too long. */
bool tpm_socket_address(const char *path, struct sockaddr_un *ret_address);
/* A connected descriptor, or -1 with errno. */
int tpm_socket_connect(const char *path);
bool tpm_socket_send(int fd, const uint8_t *bytes, size_t len);
/* One command or response; its length, 0 at the end of the connection, -1 if it is not whole. */
ssize_t tpm_socket_receive(int fd, uint8_t ret_bytes[static TPM_SOCKET_BYTES]);
/* A big-endian number of 32 bits, as TPMs write them. */
uint32_t tpm_socket_u32(const uint8_t *bytes);
