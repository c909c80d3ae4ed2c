/* SPDX-License-Identifier: MIT */
#include "metrics.h"

static void append(struct hp_builder *out, const char *separator, const char *name, uint64_t value)
{
    hp_builder_append_str(out, separator);
    hp_builder_append_json(out, name, strlen(name));
    hp_builder_append_str(out, ":");
    hp_builder_append_u64(out, value);
}

void metrics_json(const struct metrics_set *set, struct hp_builder *out)
{
    uint64_t sum;
    const char *separator = "";
#define X(name, text)                                                                                                  \
    sum = 0;                                                                                                           \
    for (unsigned i = 0; i < set->count; i++)                                                                          \
        sum += HP_READ(set->of_worker[i]->name);                                                                       \
    append(out, separator, #name, sum);                                                                                \
    separator = ",";
    METRICS(X)
#undef X
}
