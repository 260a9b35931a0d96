/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_state.h"

/*
 * How far the log's alerts are with the alerter, kept in the store, so that a keeper that is killed
 * between a record and the hand-over of its alert tells it in the next start: at least once, and
 * the later ones again. Without a store, or without a command until now, nothing old is told.
 */

/* At the start, before any new record: hands over what was not. */
void keeper_told_resume(struct keeper *keeper);
/* Every second. */
void keeper_told_tick(struct keeper *keeper);
/* At the end, after keeper_alerts_hand_over. */
void keeper_told_end(struct keeper *keeper);
