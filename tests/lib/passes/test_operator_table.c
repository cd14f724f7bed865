/* SPDX-License-Identifier: Apache-2.0 */
/* README's table of operators, made from ops.def, the CPU backend's rows, the runtime's own
 * operators and the expanded ones. It must be the one that
 *
 *     build/tests/lib/passes/test_operator_table --write
 *
 * writes, called from the repository's root. */
#include "support/test.h"

#include "cpu.h"
#include "passes/contrib/contrib.h"
#include "runtime/host_node.h"
#include "support/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define README "README.md"
#define BEGIN "<!-- operators: made by tests/lib/passes/test_operator_table.c -->\n"
#define END "<!-- end of operators -->\n"
#define MOST_OPS 512

typedef struct op {
    const char *domain, *name;
    int since, until; /* until 0: no end */
    uint64_t dtypes;
    const char *by; /* what serves it beside rows; NULL: a row */
} op;

static const op known[] = {
#define LT_OP(domain, name, since, min_in, max_in, min_out, max_out, infer)                        \
    {domain, name, since, 0, 0, NULL},
#include "graph/ops.def"
#undef LT_OP
};

/* Operators that a pass divides: the second part's row says the types. */
static const char *const divided[][2] = {{"Compress", "CompressTo"},
                                         {"NonMaxSuppression", "NonMaxSuppressionAll"},
                                         {"NonZero", "NonZeroTo"},
                                         {"StringSplit", "StringSplitTo"},
                                         {"Unique", "UniqueTo"}};

static const struct {
    uint64_t dtypes;
    const char *name;
} sets[] = {{CPU_ALL, "all"},           {CPU_WHOLE, "whole"},
            {CPU_NUMBERS, "numbers"},   {CPU_FLOATS, "floats"},
            {CPU_INTS, "ints"},         {CPU_SIGNED, "signed"},
            {CPU_UNSIGNED, "unsigned"}, {CPU_FLOAT8, "float8"},
            {CPU_PACKED, "packed"},     {CPU_CONTAINERS, "containers"}};

static bool in_family(const lt_contrib_op *family, const char *name)
{
    for (; family->op != NULL; family++) {
        if (strcmp(family->op, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Types and opsets of the rows of that name. */
static void add_rows(op *o, const char *domain, const char *name)
{
    int since = 0, until = -1;
    for (int i = 0; i < LT_CPU_N_ROWS; i++) {
        const leat_op_row *row = &lt_cpu_rows[i];
        if (strcmp(row->op, name) == 0 && strcmp(row->domain, domain) == 0) {
            o->dtypes |= row->dtypes;
            since = since == 0 || row->since < since ? row->since : since;
            until = row->until == 0 || until == 0 ? 0 : row->until > until ? row->until : until;
        }
    }
    if (o->dtypes != 0 && strcmp(domain, "leat") != 0) {
        o->since = since > o->since ? since : o->since;
        o->until = until;
    }
}

static void describe(op *o)
{
    const leat_node node = {.domain = o->domain, .op = o->name};
    int since = o->since;
    add_rows(o, o->domain, o->name);
    for (size_t i = 0; i < sizeof(divided) / sizeof(divided[0]) && o->domain[0] == '\0'; i++) {
        if (strcmp(divided[i][0], o->name) == 0) {
            add_rows(o, "leat", divided[i][1]);
        }
    }
    if (o->domain[0] == '\0' && in_family(lt_contrib_older, o->name)) {
        o->since = since;
    }
    const lt_host_op *host = lt_host_op_find(&node);
    if (host != NULL && host->when == LT_HOST_TEXT) {
        o->dtypes |= CPU_T(STRING);
    }
    if (o->dtypes == 0) {
        o->by = host != NULL                              ? "the runtime, any type"
                : in_family(lt_contrib_formulas, o->name) ? "as a formula of others"
                                                          : NULL;
    }
}

static int by_name(const void *a, const void *b)
{
    const op *x = a, *y = b;
    int order = strcmp(x->domain, y->domain);
    return order ? order : strcmp(x->name, y->name);
}

static void write_types(FILE *out, uint64_t left)
{
    const char *between = "";
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        if ((left & sets[i].dtypes) == sets[i].dtypes) {
            fprintf(out, "%s%s", between, sets[i].name);
            left &= ~sets[i].dtypes;
            between = " ";
        }
    }
    for (int d = 1; d < 64; d++) {
        if (left >> d & 1) {
            fprintf(out, "%s%s", between, leat_dtype_name((leat_dtype)d));
            between = " ";
        }
    }
}

static size_t collect(op *ops)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        bool again = n > 0 && strcmp(ops[n - 1].name, known[i].name) == 0 &&
                     strcmp(ops[n - 1].domain, known[i].domain) == 0;
        if (!again && strcmp(known[i].domain, "leat") != 0) {
            assert_true(n < MOST_OPS);
            ops[n++] = known[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        describe(&ops[i]);
    }
    qsort(ops, n, sizeof(*ops), by_name);
    return n;
}

static void write_contrib(FILE *out)
{
    static const lt_contrib_op *const families[] = {lt_contrib_products, lt_contrib_norms,
                                                    lt_contrib_attention, lt_contrib_quantized,
                                                    lt_contrib_decoder};
    const char *before = "\nai.onnx before opset 10, on trial, expanded into the above: ";
    for (const lt_contrib_op *o = lt_contrib_removed; o->op != NULL; o++) {
        fprintf(out, "%s%s", before, o->op);
        before = ", ";
    }
    fprintf(out, ".\n");
    const char *between = "\ncom.microsoft, expanded into the above: ";
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        for (const lt_contrib_op *o = families[f]; o->op != NULL; o++) {
            fprintf(out, "%s%s", between, o->op);
            between = ", ";
        }
    }
    fprintf(out, ".\n");
}

static void write_table(FILE *out)
{
    op ops[MOST_OPS];
    size_t n = collect(ops);
    fprintf(out, "\n| operator | opsets | types of the first input |\n|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        const op *o = &ops[i];
        fprintf(out, "| %s%s%s | %d", o->domain, o->domain[0] ? "." : "", o->name, o->since);
        if (o->until != 0) {
            fprintf(out, "-%d | ", o->until);
        } else {
            fprintf(out, "+ | ");
        }
        if (o->by != NULL || o->dtypes == 0) {
            fprintf(out, "%s", o->by ? o->by : "none: nothing serves it");
        }
        write_types(out, o->dtypes);
        fprintf(out, " |\n");
    }
    write_contrib(out);
    fprintf(out, "\n");
}

static char *table_text(void)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    write_table(out);
    fclose(out);
    return text;
}

static void readme_table_is_that_of_the_sources(void **state)
{
    size_t bytes;
    char *readme = test_read_file(README, &bytes), *wanted = table_text();
    (void)state;
    char *begin = strstr(readme, BEGIN), *end = strstr(readme, END);
    assert_true(begin != NULL && end != NULL && begin < end);
    *end = '\0';
    if (strcmp(begin + strlen(BEGIN), wanted) != 0) {
        fail_msg("README's table of operators is old: run test_operator_table --write");
    }
    assert_null(strstr(wanted, "nothing serves it"));
    free(readme);
    free(wanted);
}

static int write_readme(void)
{
    size_t bytes;
    char *readme = test_read_file(README, &bytes), *table = table_text();
    char *begin = strstr(readme, BEGIN), *end = strstr(readme, END);
    FILE *out = begin && end && begin < end ? fopen(README, "w") : NULL;
    if (out == NULL) {
        return 1;
    }
    fwrite(readme, 1, (size_t)(begin - readme), out);
    fprintf(out, BEGIN "%s%s", table, end);
    free(readme);
    free(table);
    return fclose(out) != 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(readme_table_is_that_of_the_sources)};
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        return write_readme();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
