/* SPDX-License-Identifier: MIT
 *
 * What a manager's walk looks like: as a table and as JSON. Columns come from counters.h.
 */
#include <h3pool/builder.h>
#include <h3pool/manager.h>

static void add_live(void *ctx, const struct hp_pool_row *row)
{
    if (!row->group)
        *(uint64_t *)ctx += row->sum.live;
}

uint64_t hp_pool_manager_live(struct hp_pool_manager *m)
{
    uint64_t live = 0;
    hp_pool_manager_walk(m, add_live, &live);
    return live;
}

static void print_row(void *ctx, const struct hp_pool_row *row)
{
    FILE *to = ctx;
    fprintf(to, "%-12s", row->name);
#define X(name, column, text) fprintf(to, " %12llu", (unsigned long long)row->sum.name);
    HP_COUNTERS(X)
#undef X
    fputc('\n', to);
}

void hp_pool_manager_print(struct hp_pool_manager *m, FILE *to)
{
    fprintf(to, "%-12s", "name");
#define X(name, column, text) fprintf(to, " %12s", column);
    HP_COUNTERS(X)
#undef X
    fputc('\n', to);
    hp_pool_manager_walk(m, print_row, to);
    fflush(to);
}

struct json_state {
    struct hp_builder *out;
    bool more;
};

static void json_counter(struct hp_builder *out, const char *separator, const char *name, uint64_t value)
{
    hp_builder_append_str(out, separator);
    hp_builder_append_json(out, name, strlen(name));
    hp_builder_append_str(out, ":");
    hp_builder_append_u64(out, value);
}

static void json_row(void *ctx, const struct hp_pool_row *row)
{
    struct json_state *s = ctx;
    if (s->more)
        hp_builder_append_str(s->out, ",");
    s->more = true;
    hp_builder_append_json(s->out, row->name, strlen(row->name));
    const char *separator = ":{";
#define X(name, column, text)                                                                                          \
    json_counter(s->out, separator, #name, row->sum.name);                                                             \
    separator = ",";
    HP_COUNTERS(X)
#undef X
    hp_builder_append_str(s->out, "}");
}

void hp_pool_manager_json(struct hp_pool_manager *m, struct hp_builder *out)
{
    struct json_state s = {.out = out};
    hp_builder_append_str(out, "{");
    hp_pool_manager_walk(m, json_row, &s);
    hp_builder_append_str(out, "}");
}
