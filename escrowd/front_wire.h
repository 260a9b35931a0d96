/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * What goes over a connection, seen before evhttp gets it and before a client does. The head of
 * each request is scanned as it comes (escrowd/front_scan.h), since evhttp does not keep what it
 * was. evhttp answers what it cannot parse by a page of HTML: none leaves, a problem goes instead
 * of it, and then nothing more.
 */

struct front_connection;

/* From now on, for as long as the connection's bufferevent lives. False: no memory. */
bool front_wire_watch(struct front_connection *connection);
