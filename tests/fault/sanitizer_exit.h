/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What ASan, UBSan and LSan end a process with in every program that links this; the exit codes of
 * escrowd are smaller.
 */
#define SANITIZER_EXIT 99
