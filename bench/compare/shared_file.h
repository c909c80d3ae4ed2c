/* SPDX-License-Identifier: MIT
 *
 * The file in which a measuring part of a process writes what another process reads while it runs: both map it.
 * Neither function calls malloc, or mmap by its name, which a measuring part may have taken over.
 */
#ifndef BENCH_COMPARE_SHARED_FILE_H
#define BENCH_COMPARE_SHARED_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_NOT_MEASURED 2

static inline void *shared_file_mmap(int fd, size_t bytes, bool writable)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    return (void *)syscall(SYS_mmap, NULL, bytes, protection, MAP_SHARED, fd, (off_t)0);
}

/* Makes the file |path| anew, with the |bytes| bytes at |first| in it, and maps it. It gets its name when it is
 * complete: whoever still maps a file of that name keeps the old one. Where that fails, the process ends with a line
 * that begins with |who|, and exit status EXIT_NOT_MEASURED: a run that seems to be measured and is not helps nobody.
 */
static inline void *shared_file_make(const char *who, const char *path, const void *first, size_t bytes)
{
    static char whole[PATH_MAX];
    int len = snprintf(whole, sizeof whole, "%s.%ld", path, (long)getpid());
    errno = ENAMETOOLONG;
    int fd = len > 0 && (size_t)len < sizeof whole ? open(whole, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    void *file = fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 ? shared_file_mmap(fd, bytes, true) : MAP_FAILED;
    if (file != MAP_FAILED) {
        memcpy(file, first, bytes);
        if (close(fd) == 0 && rename(whole, path) == 0)
            return file;
    }
    dprintf(STDERR_FILENO, "%s: %s: %s\n", who, path, strerror(errno));
    _exit(EXIT_NOT_MEASURED);
}

/* Maps a file of exactly |bytes| bytes; NULL if there is none. */
static inline void *shared_file_map(const char *path, size_t bytes, bool writable)
{
    struct stat st;
    void *file = MAP_FAILED;
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == (off_t)bytes)
        file = shared_file_mmap(fd, bytes, writable);
    if (fd >= 0)
        close(fd);
    return file != MAP_FAILED ? file : NULL;
}

#endif
