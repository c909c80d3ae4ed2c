/* SPDX-License-Identifier: MIT
 *
 * Sources of pressure as systemd names them. The kernel's own are not to be had everywhere, and can't be provoked.
 */
#include "pressure.h"

#include "test.h"
#include "tls.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/h3pool-pressure-XXXXXX";

static int open_watch(const char *path, const char *write)
{
    CHECK(setenv("MEMORY_PRESSURE_WATCH", path, 1) == 0);
    CHECK((write != NULL ? setenv("MEMORY_PRESSURE_WRITE", write, 1) : unsetenv("MEMORY_PRESSURE_WRITE")) == 0);
    return pressure_open();
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void test_a_fifo(void)
{
    char path[128];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK(mkfifo(path, 0600) == 0);
    int fd = open_watch(path, NULL), other = open(path, O_WRONLY | O_NONBLOCK);
    CHECK(fd >= 0 && other >= 0);
    for (int i = 0; i < 3; i++) {
        CHECK(!readable(fd));
        CHECK(write(other, "signals", 7) == 7);
        CHECK(readable(fd));
        CHECK_U64(pressure_read(fd), 0);
    }
    CHECK(!readable(fd));
    close(other);
    close(fd);
    unlink(path);
    rmdir(folder);
}

static void test_none(void)
{
    CHECK(open_watch("/dev/null", NULL) < 0); /* how systemd says that there is none */
    CHECK(open_watch("/nonexistent", NULL) < 0);
    CHECK(open_watch("/proc/self/cmdline", NULL) < 0); /* can't be written to */
}

static void test_base64(void)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},
                {"Zg==", "f"},
                {"Zm8=", "fo"},
                {"Zm9v", "foo"},
                {"c29tZSAyMDAwMDAgMjAwMDAwMAA=", "some 200000 2000000"}};
    unsigned char out[64];
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        int n = tls_decode_base64(good[i].text, out, sizeof out);
        CHECK(n >= (int)strlen(good[i].bytes) && memcmp(out, good[i].bytes, strlen(good[i].bytes)) == 0);
    }
    CHECK(tls_decode_base64("not base64!", out, sizeof out) < 0);
    CHECK(tls_decode_base64("Zm9vZm9v", out, 5) < 0);
}

TEST_MAIN(TEST(test_a_fifo), TEST(test_none), TEST(test_base64))
