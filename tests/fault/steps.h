/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Every step by which a keeper makes something last, or says that it did: what it writes, syncs and
 * cuts in its files, what SQLite does in its own, each statement, each command to the TPM, each
 * reply to front. They are numbered as they come, and at any of them the process is killed, as by
 * kill -9. What was done to files is noted, so that a disk can be computed that lost what was not
 * synced (disk.h). The calls are wrapped by the linker (CMakeLists.txt); SQLite is given a VFS.
 * Nothing here fails a call.
 */

/* After step N and before step N + 1 the files are the same, but not what others were told. */
enum step_phase {
    STEP_BEFORE,
    STEP_HALF, /* of a write: its first half happens */
    STEP_AFTER,
    STEP_PHASES,
};

#define STEPS_MAX 16384 /* of one piece of work */

struct steps_report {
    uint64_t count;           /* steps since they were armed */
    bool is_write[STEPS_MAX]; /* step N + 1 has a half */
    bool is_killed;
    char killed_at[32]; /* its name */
};

/* Before anything opens a database. */
void steps_init(void);
/* From now on the steps of this process count. */
void steps_here(void);
/* Kills at this step, from 1; 0: only counts. */
void steps_arm(uint64_t at, enum step_phase phase);
/* The same, at the first step of this name. */
void steps_arm_first(const char *name, enum step_phase phase);
void steps_disarm(struct steps_report *ret_report);

/* What was done to a file, as it is noted. */
enum note_kind { NOTE_CREATE, NOTE_WRITE, NOTE_CUT, NOTE_REMOVE, NOTE_SYNC };

struct note {
    enum note_kind kind;
    char path[300]; /* NOTE_SYNC: of a file or of a folder */
    int64_t at;     /* of a write; the new length of a cut */
    uint64_t len;   /* of a write: so many bytes follow the note */
};

/* The notes since they were forgotten: a file to be read with pread. */
int steps_notes(void);
void steps_forget(void);

/* For the VFS: around an operation; half says whether only a half of it is to happen. */
bool steps_before(const char *name, bool is_write);
void steps_after(void);
void steps_note(const struct note *note, const void *bytes);
/* Becomes SQLite's default. */
void steps_vfs_register(void);
