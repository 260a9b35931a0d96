/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/tpm_socket.h"

#include "libescrow/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES 10 /* tag, size, code */
#define SIZE_AT 2

bool tpm_socket_address(const char *path, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret_address->sun_path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(ret_address->sun_path, path, strlen(path));
    return true;
}

int tpm_socket_connect(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (!tpm_socket_address(path, &address) ||
                    connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)) {
        cleanup_close(&fd);
        fd = -1;
    }
    return fd;
}

bool tpm_socket_send(int fd, const uint8_t *bytes, size_t len)
{
    return send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

uint32_t tpm_socket_u32(const uint8_t *bytes)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof(number));
    return be32toh(number);
}

ssize_t tpm_socket_receive(int fd, uint8_t ret_bytes[static TPM_SOCKET_BYTES])
{
    size_t have = 0, wanted = HEADER_BYTES;

    while (have < wanted) {
        ssize_t got = read(fd, ret_bytes + have, TPM_SOCKET_BYTES - have);

        if (got == 0 && have == 0)
            return 0;
        if (got <= 0)
            return -1;
        have += (size_t)got;
        if (have >= HEADER_BYTES)
            wanted = tpm_socket_u32(ret_bytes + SIZE_AT);
        if (wanted < HEADER_BYTES || wanted > TPM_SOCKET_BYTES)
            return -1;
    }
    return have == wanted ? (ssize_t)have : -1;
}
