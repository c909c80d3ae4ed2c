/* SPDX-License-Identifier: MIT
 *
 * What the memory checkers are told: which bytes of the library's memory callers may touch. Under one of them the
 * fronts are off and heaps give each block a block of its own, so that every use after put and every overflow is seen.
 */
#ifndef H3POOL_ANNOTATE_H
#define H3POOL_ANNOTATE_H

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#define HP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HP_ASAN 1
#endif
#endif
#ifndef HP_ASAN
#define HP_ASAN 0
#endif

#if HP_ASAN
#include <sanitizer/asan_interface.h>
/* The bytes may be used, with the contents that they have; with contents that mean nothing; may not be used. */
#define HP_USABLE(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define HP_UNDEFINED(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define HP_UNUSABLE(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
static inline bool hp_watched(void)
{
    return true;
}
#elif __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define HP_USABLE(p, n) ((void)VALGRIND_MAKE_MEM_DEFINED((p), (n)))
#define HP_UNDEFINED(p, n) ((void)VALGRIND_MAKE_MEM_UNDEFINED((p), (n)))
#define HP_UNUSABLE(p, n) ((void)VALGRIND_MAKE_MEM_NOACCESS((p), (n)))
/* True under Memcheck, which alone answers this request; other tools of Valgrind are to see what really runs. */
static inline bool hp_watched(void)
{
    char byte = 0;
    return VALGRIND_MAKE_MEM_DEFINED(&byte, sizeof byte) != 0;
}
#else
#define HP_USABLE(p, n) ((void)(p), (void)(n))
#define HP_UNDEFINED(p, n) ((void)(p), (void)(n))
#define HP_UNUSABLE(p, n) ((void)(p), (void)(n))
static inline bool hp_watched(void)
{
    return false;
}
#endif

#endif
