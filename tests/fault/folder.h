/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Removes the files of a folder that has no other folder in it; what begins with a dot stays.
 * Failures are cmocka's. */
void folder_clear(const char *path);
