/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/key_check.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/transaction.h"

#include <ctype.h>
#include <string.h>

#define POLICY_LENGTH 8  /* what a Windows server asks by default: this long, */
#define POLICY_CLASSES 3 /* of so many kinds of characters */

bool key_check_control(const struct session *session, struct reply *reply)
{
    if (session_check_database(session, session->database, reply))
        return false;
    if (session->database && session_rights(session) & RIGHT_CONTROL_DATABASE)
        return true;
    reply_message(reply, 15151, "find the symmetric key", "master key");
    return false;
}

bool key_check_exists(const struct session *session, struct reply *reply)
{
    if (!key_check_control(session, reply))
        return false;
    if (session_key(session)->exists)
        return true;
    reply_message(reply, 15151, "find the symmetric key", "master key");
    return false;
}

bool key_is_writable(const struct session *session)
{
    return model_view_is_writable(session->model, session->database, session->instance);
}

bool key_opens(struct session *session)
{
    return session_has_open_key(session) ||
           (session->database && model_use_key(session->model, session->database, session->instance,
                                               key_is_writable(session)));
}

void key_reply_15581(const struct session *session, struct reply *reply)
{
    reply_message_state(reply, 15581, (uint8_t)session->model->switches.state_15581);
}

bool key_check_opens(struct session *session, struct reply *reply)
{
    if (key_opens(session))
        return true;
    key_reply_15581(session, reply);
    return false;
}

bool key_check_write(struct session *session, struct reply *reply)
{
    int32_t number = key_is_writable(session) ? 0 : 3906; /* 1.6 */

    if (!number)
        number = transaction_touch(session);
    if (number)
        reply_message(reply, number, session->database->name, NULL);
    return number == 0;
}

static size_t count_characters(const char *utf8)
{
    size_t count = 0;

    for (; *utf8; utf8++) {
        unsigned char byte = (unsigned char)*utf8;

        /* UTF-16, as SQL Server counts: four bytes of UTF-8 are two. */
        if (byte < 0x80 || byte >= 0xc0)
            count += byte >= 0xf0 ? 2 : 1;
    }
    return count;
}

static unsigned count_classes(const char *password)
{
    bool has_upper = false, has_lower = false, has_digit = false, has_other = false;

    for (; *password; password++) {
        unsigned char byte = (unsigned char)*password;

        has_upper |= isupper(byte) != 0;
        has_lower |= islower(byte) != 0;
        has_digit |= isdigit(byte) != 0;
        has_other |= !isalnum(byte);
    }
    return (unsigned)has_upper + has_lower + has_digit + has_other;
}

bool key_check_new_password(const struct session *session, const char *password,
                            struct reply *reply)
{
    const struct switches *switches = &session->model->switches;
    size_t length = count_characters(password);

    if (length > (size_t)switches->password_max) {
        CLEANUP(cleanup_free) char *most = memory_format("%d", (int)switches->password_max);

        reply_message(reply, 15156, most, NULL);
        return false;
    }
    if (switches->password_policy == SWITCH_NO)
        return true;
    if (length >= POLICY_LENGTH && count_classes(password) >= POLICY_CLASSES)
        return true;
    reply_message(reply, length < POLICY_LENGTH ? 15116 : 15118, NULL, NULL);
    return false;
}
