/* SPDX-License-Identifier: MIT
 *
 * The class table, written out so that it is constant data: a compiler may then keep a class over a store.
 */
#include <h3pool/types.h>

#define R2(c) (c), (c)
#define R4(c) R2(c), R2(c)
#define R8(c) R4(c), R4(c)
#define R16(c) R8(c), R8(c)
/* The 8 classes of a doubling, each of as many granules as R repeats. */
#define DOUBLING(R, c) R((c)), R((c) + 1), R((c) + 2), R((c) + 3), R((c) + 4), R((c) + 5), R((c) + 6), R((c) + 7)
#define ONCE(c) (c)

const uint8_t hp_class_table[HP_CLASS_TABLE_MAX / HP_BLOCK_ALIGN + 1] = {
    0, /* a size of 0 is taken as 1 */
    DOUBLING(ONCE, 0),
    DOUBLING(ONCE, 8),
    DOUBLING(R2, 16),
    DOUBLING(R4, 24),
    DOUBLING(R8, 32),
    DOUBLING(R16, 40),
};
