/* SPDX-License-Identifier: Apache-2.0 */
/* StringSplit in two nodes (passes/count_first.c): StringSplitCount says how many pieces the string
 * with most has, StringSplitTo writes all pieces, empty ones behind, and how many each string has.
 * Pieces are parts of the strings that they come from: no byte is copied. Without a delimiter runs
 * of white space divide, and none is at the ends. */
#include "movement/movement.h"

typedef struct split {
    lt_move_label label;
    leat_string delimiter; /* empty: white space */
    int64_t most;          /* divisions; negative: any number */
    int64_t count;         /* strings */
    int64_t planned;       /* pieces that there is room for */
    bool wants_counts;
} split;

/* What is left to divide. */
typedef struct rest {
    leat_string text;
    int64_t divided;
    bool ended;
} rest;

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void drop(leat_string *s, size_t bytes)
{
    s->data += bytes;
    s->bytes -= bytes;
}

static bool next_word(const split *s, rest *r, leat_string *out)
{
    size_t n = 0;
    while (r->text.bytes > 0 && is_space(r->text.data[0])) {
        drop(&r->text, 1);
    }
    if (r->text.bytes == 0) {
        return false;
    }
    while (n < r->text.bytes && (r->divided == s->most || !is_space(r->text.data[n]))) {
        n++;
    }
    *out = (leat_string){r->text.data, n};
    drop(&r->text, n);
    r->divided++;
    return true;
}

static bool next_piece(const split *s, rest *r, leat_string *out)
{
    if (s->delimiter.bytes == 0) {
        return next_word(s, r, out);
    }
    if (r->ended) {
        return false;
    }
    const char *at = r->divided == s->most ? NULL
                                           : memmem(r->text.data, r->text.bytes, s->delimiter.data,
                                                    s->delimiter.bytes);
    size_t n = at ? (size_t)(at - r->text.data) : r->text.bytes;
    *out = (leat_string){r->text.data, n};
    drop(&r->text, at ? n + s->delimiter.bytes : n);
    r->divided++;
    r->ended = at == NULL;
    return true;
}

static rest start(const void *strings, int64_t i)
{
    rest r = {.divided = 0};
    memcpy(&r.text, (const leat_string *)strings + i, sizeof(r.text));
    return r;
}

static leat_status launch_count(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const split *s = state;
    int64_t most = 0;
    leat_string piece;
    (void)err;
    for (int64_t i = 0; i < s->count; i++) {
        int64_t n = 0;
        for (rest r = start(args->inputs[0], i); next_piece(s, &r, &piece);) {
            n++;
        }
        most = n > most ? n : most;
    }
    *(int64_t *)args->outputs[0] = most;
    return LEAT_OK;
}

static leat_status launch_split(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const split *s = state;
    leat_string *out = args->outputs[0];
    int64_t *counts = s->wants_counts ? args->outputs[1] : NULL;
    for (int64_t i = 0; i < s->count; i++) {
        leat_string piece;
        int64_t n = 0;
        for (rest r = start(args->inputs[0], i); next_piece(s, &r, &piece); n++) {
            if (n == s->planned) {
                return lt_cpu_fail(err, LEAT_INVALID, "%s: string %lld has more than %lld pieces",
                                   s->label.text, (long long)i, (long long)n);
            }
            out[i * s->planned + n] = piece;
        }
        if (counts != NULL) {
            counts[i] = n;
        }
        for (; n < s->planned; n++) {
            out[i * s->planned + n] = (leat_string){"", 0};
        }
    }
    return LEAT_OK;
}

static split *new_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan)
{
    const leat_attr *delimiter = leat_node_attr(node->node, "delimiter");
    split *s = host->plan_alloc(plan, sizeof(*s));
    if (s != NULL) {
        s->label = lt_move_name(node->node);
        s->count = leat_value_count(leat_kernel_input(node, 0));
        s->most = leat_node_int(node->node, "maxsplit", -1);
        if (delimiter != NULL && delimiter->type == LEAT_ATTR_STRING) {
            s->delimiter = delimiter->u.s;
        }
    }
    return s;
}

leat_status lt_cpu_string_split_count_prepare(const leat_kernel_node *node, void *device,
                                              const leat_host *host, leat_plan *plan,
                                              leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    out_kernel->name = "string_split_count";
    out_kernel->launch = launch_count;
    out_kernel->state = new_state(node, host, plan);
    return out_kernel->state ? LEAT_OK : lt_move_no_memory(node->node, err);
}

leat_status lt_cpu_string_split_prepare(const leat_kernel_node *node, void *device,
                                        const leat_host *host, leat_plan *plan,
                                        leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, 0), *counts = leat_kernel_output(node, 1);
    split *s = new_state(node, host, plan);
    (void)device;
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->planned = y->rank > 0 ? y->shape[y->rank - 1] : 0;
    s->wants_counts = counts != NULL;
    if (leat_value_count(y) != s->count * s->planned ||
        (counts != NULL && leat_value_count(counts) != s->count)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its outputs do not fit", s->label.text);
    }
    out_kernel->name = "string_split";
    out_kernel->launch = launch_split;
    out_kernel->state = s;
    out_kernel->unread_mask = 2;
    return LEAT_OK;
}
