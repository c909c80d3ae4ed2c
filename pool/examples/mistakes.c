/* SPDX-License-Identifier: MIT
 *
 * mistakes overflow|late-write|late-put|leak: makes a mistake, for the checks to find:
 *
 *   H3POOL_POOL_CHECKS=all mistakes overflow
 */
#include <h3pool/byte_pool.h>
#include <h3pool/manager.h>
#include <stdio.h>
#include <string.h>

static struct hp_byte_pool *pool;

static char *take(void)
{
    char *block = hp_byte_pool_get(pool, 100);
    return block != NULL ? memset(block, 'x', 100) : NULL;
}

static void overflow(volatile char *block)
{
    block[100] = 0;
    hp_byte_pool_put(pool, (char *)block);
}

static void late_write(volatile char *block)
{
    hp_byte_pool_put(pool, (char *)block);
    block[10] = 0;
    hp_byte_pool_trim(pool);
}

static void late_put(volatile char *block)
{
    hp_byte_pool_put(pool, (char *)block);
    hp_byte_pool_put(pool, take());
    hp_byte_pool_put(pool, (char *)block);
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    pool = manager != NULL ? hp_byte_pool_new(manager, "mistakes", 16, 4096, 0) : NULL;
    char *block = pool != NULL ? take() : NULL;
    if (block == NULL)
        return 1;
    if (strcmp(what, "overflow") == 0)
        overflow(block);
    else if (strcmp(what, "late-write") == 0)
        late_write(block);
    else if (strcmp(what, "late-put") == 0)
        late_put(block);
    else if (strcmp(what, "leak") != 0)
        hp_byte_pool_put(pool, block);
    return 0; /* what is live now is reported */
}
