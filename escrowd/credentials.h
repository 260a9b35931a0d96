/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"

/*
 * Certificate, key, CAs and revocation lists of front as one: a sealed copy in memory that the
 * kernel makes from the files, so that the private key never is in the memory of the supervisor,
 * and that front reads without opening a file. Either all four are taken over or none.
 */

/*
 * The copy of the files, made by whoever may read them; close-on-exec, the caller's to close.
 * ESCROW_ERR_CONFIG with a log line that names the file (missing, too large, a key that others may
 * read), ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err credentials_seal(const struct escrowd_tls *files, int *ret_fd);

/* What a server is made of from such a copy, which stays the caller's. As tls_server_new. */
MUST_CHECK enum escrow_err credentials_read(int fd, struct tls **ret_tls);

/*
 * credentials_read for a server that serves already by those in use. ESCROW_ERR_CONFIG, with a log
 * line, also for what would end its service: another identity, a certificate that is not valid now,
 * no CA that is.
 */
MUST_CHECK enum escrow_err credentials_renew(int fd, const struct tls *in_use,
                                             struct tls **ret_tls);
