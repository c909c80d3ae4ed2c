/* SPDX-License-Identifier: MIT
 *
 * Runs bench-strategies and holds its table against the lines that it prints: both come from the same runs, so what the
 * table says must follow from the lines.
 */
#include "json.h"
#include "test.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRATEGIES 7u
#define LINES_MAX 32u
#define COLUMNS 9u
#define TEXT_MAX 65536u

/* A line of Go's format. */
struct line {
    unsigned strategy; /* from 1 */
    char form[16];
    double bytes, allocs, metric;
    char metric_unit[24];
};

/* A row of the table. */
struct row {
    unsigned strategy;
    char text[256];
    char *column[COLUMNS];
};
enum { TITLE, UNIT, BAD, GOOD, SAVING, CLAIM, MET, NS_BAD, NS_GOOD };

struct output {
    struct line line[LINES_MAX];
    struct row row[LINES_MAX];
    unsigned lines, rows, malloc_rows;
};

/* --- running and reading --------------------------------------------------------------------------------------------
 */

/* What the program writes, and that it ends well. |more| is for the shell. */
static const char *run(const char *more)
{
    static char text[TEXT_MAX], command[PATH_MAX + 256], self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(len > 0);
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(command, sizeof command, "'%s/../bench-strategies' -time 1ms %s", self, more);
    FILE *f = popen(command, "r");
    CHECK(f != NULL);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    CHECK_U64(pclose(f), 0);
    return text;
}

/* "BenchmarkStrategy/6-byte-pool/form=good <tab> N <tab> V unit <tab> V unit ..." */
static void read_line(struct line *l, char *text)
{
    char *name = strtok(text, "\t"), *count = strtok(NULL, "\t");
    CHECK(count != NULL && strtoull(count, NULL, 10) > 0);
    CHECK(sscanf(name, "BenchmarkStrategy/%u-%*[a-z-]/form=%15s", &l->strategy, l->form) == 2);
    bool ns = false, bytes = false, allocs = false;
    for (char *field; (field = strtok(NULL, "\t")) != NULL;) {
        char unit[24];
        double value;
        CHECK(sscanf(field, "%lf %23s", &value, unit) == 2);
        if (strcmp(unit, "ns/op") == 0) {
            ns = value > 0;
        } else if (strcmp(unit, "B/op") == 0) {
            bytes = true;
            l->bytes = value;
        } else if (strcmp(unit, "allocs/op") == 0) {
            allocs = true;
            l->allocs = value;
        } else {
            strcpy(l->metric_unit, unit);
            l->metric = value;
        }
    }
    CHECK(ns && bytes && allocs);
}

/* Columns are two spaces apart at least. */
static void read_row(struct row *r, const char *text)
{
    snprintf(r->text, sizeof r->text, "%s", text);
    r->strategy = (unsigned)strtoul(r->text, NULL, 10);
    char *at = r->text;
    for (unsigned i = 0; i < COLUMNS; i++) {
        CHECK(*at != '\0');
        r->column[i] = at;
        char *gap = strstr(at, "  ");
        at = gap != NULL ? gap + strspn(gap, " ") : at + strlen(at);
        if (gap != NULL)
            *gap = '\0';
    }
    CHECK(*at == '\0');
}

static struct output *read_output(const char *text)
{
    static struct output o;
    static char copy[TEXT_MAX];
    char *rest;
    o = (struct output){0};
    strcpy(copy, text);
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        CHECK(o.lines < LINES_MAX && o.rows < LINES_MAX);
        if (strncmp(line, "Benchmark", 9) == 0)
            read_line(&o.line[o.lines++], line);
        else if (line[0] >= '1' && line[0] <= '9')
            read_row(&o.row[o.rows++], line);
        else if (strncmp(line, "  with malloc alone", 19) == 0)
            o.malloc_rows++;
    }
    return &o;
}

static const struct line *find(const struct output *o, unsigned strategy, const char *form)
{
    for (unsigned i = 0; i < o->lines; i++)
        if (o->line[i].strategy == strategy && strcmp(o->line[i].form, form) == 0)
            return &o->line[i];
    test_fail(__FILE__, __LINE__, "strategy %u has no form=%s", strategy, form);
}

/* --- the tests ------------------------------------------------------------------------------------------------------
 */

static double in_unit(const struct line *l, const char *unit)
{
    if (strcmp(unit, "allocs/op") == 0)
        return l->allocs;
    CHECK_STR(l->metric_unit, unit);
    return l->metric;
}

static void check_row(const struct output *o, const struct row *r)
{
    double bad = in_unit(find(o, r->strategy, "bad"), r->column[UNIT]);
    double good = in_unit(find(o, r->strategy, "good"), r->column[UNIT]);
    double saving = 100 * (1 - good / bad), low, high;
    CHECK(bad > 0);
    CHECK(strtod(r->column[BAD], NULL) == bad);
    CHECK(strtod(r->column[GOOD], NULL) == good);
    CHECK(fabs(strtod(r->column[SAVING], NULL) - saving) <= 0.0051);
    if (sscanf(r->column[CLAIM], "%lf to %lf %% fewer", &low, &high) == 2)
        CHECK_STR(r->column[MET], saving < low ? "NO" : saving > high ? "yes, more" : "yes");
    else if (strcmp(r->column[UNIT], "B/walk") != 0) /* there the time counts, too */
        CHECK_STR(r->column[MET], good < bad ? "yes" : "NO");
}

static void test_table_follows_from_the_lines(void)
{
    const struct output *o = read_output(run("2>&1"));
    CHECK_U64(o->rows, STRATEGIES);
    for (unsigned i = 0; i < o->rows; i++) {
        CHECK_U64(o->row[i].strategy, i + 1);
        check_row(o, &o->row[i]);
    }
    CHECK_U64(o->malloc_rows, 2);
    CHECK_U64(o->lines, 2 * STRATEGIES + o->malloc_rows);
}

/* The means are over several runs, and of the same numbers. */
static void test_count(void)
{
    const struct output *o = read_output(run("-count 3 -bench '[1267]-.*=(bad|good)' 2>&1"));
    CHECK_U64(o->rows, 4);
    CHECK_U64(o->lines, 3 * 2 * 4);
    for (unsigned i = 0; i < o->rows; i++)
        check_row(o, &o->row[i]);
}

static void test_good_forms_allocate_nothing(void)
{
    const struct output *o = read_output(run("2>&1"));
    for (unsigned i = 1; i <= STRATEGIES; i++) {
        CHECK(find(o, i, "good")->allocs == 0);
        CHECK(find(o, i, "good")->bytes == 0);
    }
    const struct line *bad = find(o, 6, "bad");
    CHECK(bad->allocs == 1);
    CHECK(bad->bytes >= 1024 && bad->bytes <= 8192);
}

static void test_table_needs_both_forms(void)
{
    CHECK_U64(read_output(run("-bench form=good 2>&1"))->rows, 0);
    CHECK_U64(read_output(run("-bench 6-byte-pool 2>&1"))->rows, 1);
}

static void test_pools_take_nothing_during_the_runs(void)
{
    CHECK(strstr(run("2>&1"), " before the first run, 0 times during the runs.") != NULL);
}

static void test_json(void)
{
    const char *text = run("-json 2>/dev/null");
    unsigned count = 0;
    CHECK(json_valid(text, strlen(text)));
    for (const char *at = text; (at = strstr(at, "\"name\":\"Strategy/")) != NULL; at++)
        count++;
    CHECK_U64(count, 2 * STRATEGIES + 2);
    CHECK(strstr(text, "\"metrics\":{\"B/retained\":") != NULL);
}

TEST_MAIN(TEST(test_table_follows_from_the_lines), TEST(test_count), TEST(test_good_forms_allocate_nothing),
          TEST(test_table_needs_both_forms), TEST(test_pools_take_nothing_during_the_runs), TEST(test_json))
