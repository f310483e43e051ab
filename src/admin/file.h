/* Files that others may be reading. */
#ifndef INCIDENTS_ADMIN_FILE_H
#define INCIDENTS_ADMIN_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Puts the bytes into a file that is there whole or not at all: they are written to another beside it, and
 * onto the disk, before it takes the name. A file that was there is replaced, where it is a regular one; a
 * symbolic link is followed. The new one's mode is what the umask leaves of 0666. False, with a message on
 * standard error, where that fails: then nothing is changed. */
bool file_replace(const char *path, const void *data, size_t len);

#endif
