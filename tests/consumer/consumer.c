/* SPDX-License-Identifier: MIT
 *
 * The smallest user of the installed library: one block, and what the counters say about it. Prints the version and
 * the build.
 */
#include <h3pool/byte_pool.h>
#include <h3pool/manager.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    struct hp_byte_pool *pool = manager != NULL ? hp_byte_pool_new(manager, "consumer", 64, 4096, 0) : NULL;
    char *block = pool != NULL ? hp_byte_pool_get(pool, 100) : NULL;
    if (block == NULL)
        return 1;
    memset(block, 1, 100);
    if (hp_pool_manager_live(manager) != 1)
        return 2;
    hp_byte_pool_put(pool, block);
    if (hp_pool_manager_live(manager) != 0)
        return 3;
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
    printf("%s %s\n", hp_version(), hp_build_name());
    return 0;
}
