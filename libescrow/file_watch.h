/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/event.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * Tells when files have changed, however that is done: written in place, replaced by renaming,
 * reached through a symbolic link that was turned (as Kubernetes does it), removed and made again.
 * It looks at what stat(2) says and never reads a file. inotify on their folders says when to look,
 * and so does a timer, once a minute: for network file systems, links that lead elsewhere, and
 * where there is no inotify to be had.
 */

struct file_watch;

/* Some have changed, and none again for half a second: file_watch_has_changed says which. */
typedef void (*file_watch_fn)(void *argument);

/*
 * Watches nothing yet. The base is borrowed and must outlive it. ESCROW_ERR_NO_MEMORY; without
 * inotify it still looks, and says so in the log.
 */
MUST_CHECK enum escrow_err file_watch_new(struct event_base *base, file_watch_fn on_change,
                                          void *argument, struct file_watch **ret_watch);
void file_watch_free(struct file_watch *watch);

/*
 * Watches these files instead of the ones before; NULL among them is skipped. A change counts from
 * now on, or from the last look at it if the file was watched before. ESCROW_ERR_NO_MEMORY: the
 * files before are still watched.
 */
MUST_CHECK enum escrow_err file_watch_set(struct file_watch *watch, const char *const *paths,
                                          size_t count);

/* Looks now, without a call of on_change: for somebody who is about to read the files anyway. */
void file_watch_look(struct file_watch *watch);
/* Whether that file was found changed when last looked. */
bool file_watch_has_changed(const struct file_watch *watch, const char *path);
