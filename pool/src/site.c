/* SPDX-License-Identifier: MIT
 *
 * Stacks are walked by the unwinder that every C compiler for Linux brings (libgcc's), along the tables in the
 * programs: so it needs no frame pointers, and no memory.
 */
#include "site.h"

#include "check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unwind.h>

struct site {
    _Atomic uint64_t hash; /* 0: free */
    uintptr_t frame[HP_SITE_FRAMES];
};

static struct site table[HP_SITES_MAX];

struct walk {
    uintptr_t frame[HP_SITE_FRAMES];
    unsigned count;
};

/* The functions that lead from a get or put of the interface to here. */
static bool own(uintptr_t function)
{
    static void *const functions[] = {
        (void *)hp_site_here,          (void *)hp_check_get,
        (void *)hp_check_put,          (void *)hp_check_put_remote,
        (void *)hp_byte_pool_get_slow, (void *)hp_byte_pool_put_slow,
        (void *)hp_byte_pool_put_any,  (void *)hp_source_take,
        (void *)hp_source_give,        (void *)hp_byte_pool_put_sized_slow,
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (function == (uintptr_t)functions[i])
            return true;
    return false;
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *ctx)
{
    struct walk *w = ctx;
    uintptr_t ip = _Unwind_GetIP(context);
    if (ip == 0)
        return _URC_NO_REASON;
    if (own(_Unwind_GetRegionStart(context))) { /* what it has called is the library's, too */
        w->count = 0;
        return _URC_NO_REASON;
    }
    w->frame[w->count++] = ip - 1; /* inside the call, not behind it */
    return w->count == HP_SITE_FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

__attribute__((noinline)) uint32_t hp_site_here(void)
{
    struct walk w = {0};
    _Unwind_Backtrace(on_frame, &w);
    uint64_t hash = 1469598103934665603u;
    for (unsigned i = 0; i < HP_SITE_FRAMES; i++)
        hash = (hash ^ w.frame[i]) * 1099511628211u;
    hash |= 1;
    for (unsigned i = 0; i < HP_SITES_MAX; i++) {
        struct site *site = &table[1 + (hash / 2 + i) % (HP_SITES_MAX - 1)];
        uint64_t seen = 0;
        if (atomic_compare_exchange_strong(&site->hash, &seen, hash)) {
            memcpy(site->frame, w.frame, sizeof site->frame);
            return (uint32_t)(site - table);
        }
        if (seen == hash)
            return (uint32_t)(site - table);
    }
    return 0;
}

static size_t frame_text(uintptr_t frame, char *out, size_t cap)
{
    Dl_info info;
    int n = 0;
    if (dladdr((void *)frame, &info) == 0)
        return (size_t)snprintf(out, cap, "%#zx", (size_t)frame);
    if (info.dli_sname != NULL)
        n = snprintf(out, cap, "%s ", info.dli_sname);
    const char *slash = strrchr(info.dli_fname, '/');
    if ((size_t)n < cap)
        n += snprintf(out + n, cap - (size_t)n, "(%s+%#zx)", slash != NULL ? slash + 1 : info.dli_fname,
                      (size_t)(frame - (uintptr_t)info.dli_fbase));
    return (size_t)n;
}

const char *hp_site_text(uint32_t site, char out[HP_SITE_TEXT_CAP])
{
    size_t at = 0;
    snprintf(out, HP_SITE_TEXT_CAP, "unknown caller");
    for (unsigned i = 0; i < HP_SITE_FRAMES && site != 0 && table[site].frame[i] != 0; i++) {
        if (at + 4 >= HP_SITE_TEXT_CAP)
            break;
        at += (size_t)snprintf(out + at, HP_SITE_TEXT_CAP - at, "%s", i != 0 ? " < " : "");
        at += frame_text(table[site].frame[i], out + at, HP_SITE_TEXT_CAP - at);
        if (at >= HP_SITE_TEXT_CAP)
            break;
    }
    return out;
}
