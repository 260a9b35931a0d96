/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * Which denials of the policy have a record of their own (denials.h): in each minute the first of a
 * kind always, and of those like it as many as an identity has records of refusals (refusals.h).
 * The others are counted, and one record says how many they were. The answer to the requester is
 * the same.
 */
struct keeper;
struct request;

/* The request has just been denied, by its release's verdict. True: it was counted instead. */
bool denial_is_counted(struct request *request);
/* The record of its denial is durable: those like it may be counted from now on. */
void denial_is_recorded(struct request *request);
/* Once a second, and with all when the keeper ends: queues the records of what was counted. */
void denials_tick(struct keeper *keeper, bool all);
