/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cleanup_free(void *pointer_to_pointer)
{
    void *pointer;

    memcpy(&pointer, pointer_to_pointer, sizeof(pointer));
    free(pointer);
}

void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
