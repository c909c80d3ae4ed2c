/* SPDX-License-Identifier: MIT
 *
 * A source that tells with POLLPRI, as the kernel's do, is put into an epoll instance of its own, which becomes
 * readable: event loops do not ask for POLLPRI.
 */
#include "pressure.h"

#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIGGER "some 150000 2000000"
#define WRITE_CAP 256u

static int in_epoll(int source)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLPRI, .data.fd = source};
    if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, source, &event) != 0) {
        if (fd >= 0)
            close(fd);
        close(source);
        return -1;
    }
    return fd; /* |source| stays open for as long as the process lives */
}

/* A file of the kernel's, to which the trigger is written. */
static int open_trigger(const char *path, const void *trigger, size_t len)
{
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (len != 0 && write(fd, trigger, len) != (ssize_t)len) {
        close(fd);
        return -1;
    }
    return in_epoll(fd);
}

/* What systemd has named. */
static int open_named(const char *path)
{
    struct stat st;
    unsigned char write_bytes[WRITE_CAP];
    const char *text = getenv("MEMORY_PRESSURE_WRITE");
    int len = text != NULL ? tls_decode_base64(text, write_bytes, sizeof write_bytes) : 0;
    if (strcmp(path, "/dev/null") == 0 || stat(path, &st) != 0 || S_ISSOCK(st.st_mode) || len < 0)
        return -1;
    if (S_ISREG(st.st_mode))
        return open_trigger(path, write_bytes, (size_t)len);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* a FIFO */
    if (fd >= 0 && len > 0 && write(fd, write_bytes, (size_t)len) < 0 && errno != EAGAIN) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The process's cgroup of version 2, else the machine. */
static int open_kernel(void)
{
    char line[PATH_MAX], path[PATH_MAX + 64];
    int fd = -1;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (fd < 0 && f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.pressure", line + 3);
            fd = open_trigger(path, TRIGGER, sizeof TRIGGER);
        }
    if (f != NULL)
        fclose(f);
    return fd >= 0 ? fd : open_trigger("/proc/pressure/memory", TRIGGER, sizeof TRIGGER);
}

int pressure_open(void)
{
    const char *named = getenv("MEMORY_PRESSURE_WATCH");
    return named != NULL ? open_named(named) : open_kernel();
}

int pressure_read(int fd)
{
    struct epoll_event event;
    if (epoll_wait(fd, &event, 1, 0) >= 0) /* a trigger; asking takes the event in */
        return (event.events & EPOLLERR) != 0 ? -1 : 0;
    char bytes[4096];
    ssize_t n;
    do
        n = read(fd, bytes, sizeof bytes);
    while (n > 0);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ? -1 : 0;
}
