/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/*
 * What a disk holds of files that were noted (steps.h), as POSIX promises it and no better: the
 * bytes of a file are on it when the file was synced, its name when its folder was; of everything
 * else any part may be there, whole or in sectors of 512 bytes, or nothing. A process that is
 * killed loses none of it; only a power cut does.
 */
struct disk;

/* Of the unsynced changes. */
enum disk_loss {
    DISK_KEEPS,   /* all reached the disk */
    DISK_LOSES,   /* none did */
    DISK_SCRAPES, /* any sectors of any of them, by the seed */
    DISK_LOSSES,
};

struct disk *disk_new(void);
void disk_free(struct disk *disk);
/* Takes over what was noted since, and forgets it. */
void disk_feed(struct disk *disk);
/* Somebody else removes a file, for good. */
void disk_remove(struct disk *disk, const char *path);
/*
 * The power is cut: the files of these folders (a path that holds log, or does not) become what the
 * disk still holds, and that is then all on it.
 */
void disk_cut(struct disk *disk, const char *log_folder, enum disk_loss of_log,
              enum disk_loss of_others, uint64_t seed);
