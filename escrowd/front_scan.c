/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_scan.h"

static bool is_printable(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f;
}

static enum front_scan_state next(enum front_scan_state state, uint8_t byte)
{
    switch (state) {
    case FRONT_SCAN_FIRST:
        return is_printable(byte) && byte != ' ' ? FRONT_SCAN_LINE : FRONT_SCAN_BAD;
    case FRONT_SCAN_LINE:
        if (byte == '\r')
            return FRONT_SCAN_CR;
        return is_printable(byte) || byte == '\t' ? FRONT_SCAN_LINE : FRONT_SCAN_BAD;
    case FRONT_SCAN_CR:
        return byte == '\n' ? FRONT_SCAN_START : FRONT_SCAN_BAD;
    case FRONT_SCAN_START:
        if (byte == '\r')
            return FRONT_SCAN_LAST_CR;
        return is_printable(byte) && byte != ' ' ? FRONT_SCAN_LINE : FRONT_SCAN_BAD;
    case FRONT_SCAN_LAST_CR:
        return byte == '\n' ? FRONT_SCAN_DONE : FRONT_SCAN_BAD;
    case FRONT_SCAN_DONE:
    case FRONT_SCAN_BAD:
        break;
    }
    return state;
}

size_t front_scan(enum front_scan_state *state, const uint8_t *bytes, size_t len)
{
    size_t taken = 0;

    for (; taken < len && *state != FRONT_SCAN_DONE; taken++)
        *state = next(*state, bytes[taken]);
    return taken;
}
