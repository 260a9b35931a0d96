/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The client of the control socket. Prints the answer, one line of JSON. Exit code: 0 for "ok":
 * true, 1 for "ok": false, 2 if nothing answered.
 */
int ctl_main(int argc, char **argv); /* argv: SOCKET COMMAND [WORD...]; "-": a line of stdin */
