/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_login.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/tds_text.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

enum { OPTION_VERSION = 0, OPTION_ENCRYPTION = 1, OPTION_INSTANCE = 2, OPTION_THREAD = 3 };
enum { OPTION_MARS = 4, OPTION_END = 0xff };

#define OPTION_LEN 5
#define LOGIN_FIXED_LEN 94
#define TYPE_READ_ONLY_INTENT 0x20
#define OPTION2_INTEGRATED 0x80

static size_t big16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

static size_t little16(const uint8_t *at)
{
    return (size_t)at[1] << 8 | at[0];
}

static uint32_t little32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

enum escrow_err tds_prelogin_parse(const uint8_t *payload, size_t len,
                                   enum tds_encryption *ret_encryption)
{
    for (size_t at = 0; at < len && payload[at] != OPTION_END; at += OPTION_LEN) {
        size_t offset, size;

        if (at + OPTION_LEN > len)
            return ESCROW_ERR_MALFORMED;
        offset = big16(payload + at + 1);
        size = big16(payload + at + 3);
        if (offset + size > len)
            return ESCROW_ERR_MALFORMED;
        if (payload[at] != OPTION_ENCRYPTION)
            continue;
        if (size != 1 || payload[offset] > TDS_ENCRYPT_REQ)
            return ESCROW_ERR_MALFORMED;
        *ret_encryption = (enum tds_encryption)payload[offset];
        return ESCROW_OK;
    }
    return ESCROW_ERR_MALFORMED;
}

enum tds_encryption tds_prelogin_negotiate(enum tds_encryption_mode mode,
                                           enum tds_encryption client)
{
    bool demands = client == TDS_ENCRYPT_ON || client == TDS_ENCRYPT_REQ;

    switch (mode) {
    case TDS_MODE_LIE_OFF:
        return client == TDS_ENCRYPT_NOT_SUP ? TDS_ENCRYPT_NOT_SUP : TDS_ENCRYPT_OFF;
    case TDS_MODE_NOT_SUP:
        return TDS_ENCRYPT_NOT_SUP;
    case TDS_MODE_REQUIRE:
        return demands ? TDS_ENCRYPT_ON : TDS_ENCRYPT_REQ;
    case TDS_MODE_ON:
        break;
    }
    return demands ? TDS_ENCRYPT_ON : client;
}

void tds_prelogin_put(struct evbuffer *out, const char *version, enum tds_encryption encryption)
{
    enum { OPTIONS = 5, DATA = OPTIONS * OPTION_LEN + 1 };
    char *at = NULL;
    unsigned long major = strtoul(version, &at, 10);
    unsigned long minor = *at ? strtoul(at + 1, &at, 10) : 0;
    unsigned long build = *at ? strtoul(at + 1, &at, 10) : 0;
    const uint8_t payload[] = {
        /* option, offset, length; then the data in the same order */
        OPTION_VERSION,
        0,
        DATA,
        0,
        6, /* */
        OPTION_ENCRYPTION,
        0,
        DATA + 6,
        0,
        1, /* */
        OPTION_INSTANCE,
        0,
        DATA + 7,
        0,
        1, /* */
        OPTION_THREAD,
        0,
        DATA + 8,
        0,
        0, /* */
        OPTION_MARS,
        0,
        DATA + 8,
        0,
        1, /* */
        OPTION_END,
        (uint8_t)major,
        (uint8_t)minor,
        (uint8_t)(build >> 8),
        (uint8_t)build,
        0,
        0,
        (uint8_t)encryption,
        0,
        0,
    };

    evbuffer_add(out, payload, sizeof(payload));
}

/* The text that the offset and length (characters) at a place of the fixed part point to. */
static enum escrow_err login_text(const uint8_t *payload, size_t len, size_t place,
                                  bool is_password, char **ret_text)
{
    size_t offset = little16(payload + place), size = 2 * little16(payload + place + 2);
    uint8_t *bytes;

    if (offset + size > len)
        return ESCROW_ERR_MALFORMED;
    bytes = memory_new(size + 1);
    memcpy(bytes, payload + offset, size);
    for (size_t i = 0; is_password && i < size; i++) {
        uint8_t byte = bytes[i] ^ 0xa5; /* MS-TDS 2.2.6.4: nibbles swapped, then exclusive or */

        bytes[i] = (uint8_t)(byte << 4 | byte >> 4);
    }
    *ret_text = tds_text_decode(bytes, size);
    OPENSSL_cleanse(bytes, size);
    free(bytes);
    return ESCROW_OK;
}

void tds_login_deinit(struct tds_login *login)
{
    if (login->password)
        OPENSSL_cleanse(login->password, strlen(login->password));
    free(login->user);
    free(login->password);
    free(login->database);
    free(login->application);
    free(login->token);
    memset(login, 0, sizeof(*login));
}

/* A length of 0xffff says that the long one, of four bytes, counts. */
static enum escrow_err login_token(const uint8_t *payload, size_t len, struct tds_login *login)
{
    size_t offset = little16(payload + 78), size = little16(payload + 80);

    if (size == UINT16_MAX)
        size = little32(payload + 90);
    if (offset + size > len)
        return ESCROW_ERR_MALFORMED;
    login->token = memory_new(size + 1);
    login->token_len = size;
    memcpy(login->token, payload + offset, size);
    return ESCROW_OK;
}

enum escrow_err tds_login_parse(const uint8_t *payload, size_t len, struct tds_login *ret_login)
{
    struct tds_login login = {0};

    if (len < LOGIN_FIXED_LEN || little32(payload) != len)
        return ESCROW_ERR_MALFORMED;
    login.tds_version = little32(payload + 4);
    login.packet_size = little32(payload + 8);
    login.has_sspi = payload[25] & OPTION2_INTEGRATED;
    login.has_read_intent = payload[26] & TYPE_READ_ONLY_INTENT;
    if (login_text(payload, len, 40, false, &login.user) ||
        login_text(payload, len, 44, true, &login.password) ||
        login_text(payload, len, 48, false, &login.application) ||
        login_text(payload, len, 68, false, &login.database) ||
        (login.has_sspi && login_token(payload, len, &login))) {
        tds_login_deinit(&login);
        return ESCROW_ERR_MALFORMED;
    }
    *ret_login = login;
    return ESCROW_OK;
}
