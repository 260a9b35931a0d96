/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/session.h"

/*
 * Certificates as one session sees them: by the rights of its login, in the database that it is in
 * (sqlserver-facts 3). The statements about them are in statements_certificate.c.
 */
#define CERTIFICATE_SIGNATURE_BYTES 256 /* of one made by SQL Server: RSA-2048 */

bool certificate_is_seen(const struct session *session, const char *name);
/*
 * SIGNBYCERT: whether the certificate can sign here and now. If the DMK does not open, that is an
 * error or not by a switch.
 */
bool certificate_signs(struct session *session, const char *name, struct reply *reply);
