/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the roles, as a hostile role would send them. */
#include "escrowd/ipc_messages.h"
#include "libescrow/log.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const struct ipc_message message = {.payload = bytes, .len = len, .fd = -1};
    struct ipc_request request;
    struct ipc_reply reply;
    struct ipc_peer peer;
    unsigned taken = 0;

    log_init("fuzz", (enum log_level)0);
    taken += ipc_get_request(&message, &request) == ESCROW_OK;
    taken += ipc_get_reply(&message, &reply) == ESCROW_OK;
    taken += ipc_get_peer(&message, &peer) == ESCROW_OK;
    (void)taken;
    return 0;
}
