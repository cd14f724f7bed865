/* SPDX-License-Identifier: Apache-2.0 */
/* Matching (regex.h), and RegexFullMatch: whether each string matches a pattern as a whole. */
#include "text/regex.h"

#include "movement/movement.h"
#include "text/utf8.h"

#define NO_CHARACTER UINT32_MAX

/* Steps that wait for the next character; seen[step] says in which round it was added last. */
typedef struct matcher {
    const lt_regex *regex;
    uint32_t *now, *next, *seen, *stack;
    uint32_t n_now, n_next, round;
    uint32_t before, after; /* characters around the place */
    bool matched;
} matcher;

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= 'a' && c <= 'z');
}

static bool holds(const matcher *m, lt_regex_op op)
{
    bool edge = is_word(m->before) != is_word(m->after);
    return op == LT_REGEX_BEGIN       ? m->before == NO_CHARACTER
           : op == LT_REGEX_END       ? m->after == NO_CHARACTER
           : op == LT_REGEX_WORD_EDGE ? edge
                                      : !edge;
}

/* Adds a step and what is reached from it without a character. Each step enters the stack at most
 * twice a round. */
static void follow(matcher *m, uint32_t step)
{
    uint32_t n = 0;
    m->stack[n++] = step;
    while (n > 0) {
        uint32_t at = m->stack[--n];
        const lt_regex_step *s = &m->regex->steps[at];
        if (m->seen[at] == m->round) {
            continue;
        }
        m->seen[at] = m->round;
        switch (s->op) {
        case LT_REGEX_RANGES:
            m->next[m->n_next++] = at;
            break;
        case LT_REGEX_MATCH:
            m->matched = m->matched || m->after == NO_CHARACTER;
            break;
        case LT_REGEX_SPLIT:
            m->stack[n++] = (uint32_t)((int32_t)at + s->b);
            m->stack[n++] = (uint32_t)((int32_t)at + s->a);
            break;
        case LT_REGEX_JUMP:
            m->stack[n++] = (uint32_t)((int32_t)at + s->a);
            break;
        default:
            if (holds(m, s->op)) {
                m->stack[n++] = at + 1;
            }
        }
    }
}

static bool in_ranges(const lt_regex *regex, const lt_regex_step *s, uint32_t c)
{
    bool found = false;
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        found = found || (c >= regex->ranges[i].low && c <= regex->ranges[i].high);
    }
    return found != s->negated;
}

bool lt_regex_match(const lt_regex *regex, leat_string text, uint32_t *workspace)
{
    uint32_t n = regex->n_steps;
    matcher m = {.regex = regex,
                 .now = workspace,
                 .next = workspace + n,
                 .seen = workspace + 2 * n,
                 .stack = workspace + 3 * n,
                 .round = 1,
                 .before = NO_CHARACTER};
    memset(m.seen, 0, n * sizeof(*m.seen));
    m.after = text.bytes ? lt_utf8_next(&text) : NO_CHARACTER;
    follow(&m, 0);
    while (m.after != NO_CHARACTER && m.n_next > 0) {
        uint32_t *swap = m.now, c = m.after;
        m.now = m.next;
        m.next = swap;
        m.n_now = m.n_next;
        m.n_next = 0;
        m.round++;
        m.before = c;
        m.after = text.bytes ? lt_utf8_next(&text) : NO_CHARACTER;
        for (uint32_t i = 0; i < m.n_now; i++) {
            if (in_ranges(regex, &regex->steps[m.now[i]], c)) {
                follow(&m, m.now[i] + 1);
            }
        }
    }
    return m.matched;
}

/* ---- RegexFullMatch ------------------------------------------------------------------------- */

typedef struct regex_node {
    int64_t count;
    lt_regex regex;
} regex_node;

static leat_status launch_regex(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const regex_node *r = state;
    uint8_t *out = args->outputs[0];
    (void)err;
    for (int64_t i = 0; i < r->count; i++) {
        leat_string s;
        memcpy(&s, (const leat_string *)args->inputs[0] + i, sizeof(s));
        out[i] = lt_regex_match(&r->regex, s, args->workspace);
    }
    return LEAT_OK;
}

leat_status lt_cpu_regex_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_attr *pattern = leat_node_attr(node->node, "pattern");
    regex_node *r = host->plan_alloc(plan, sizeof(*r));
    bool unsupported = false;
    (void)device;
    if (r == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    leat_string text =
        pattern && pattern->type == LEAT_ATTR_STRING ? pattern->u.s : (leat_string){"", 0};
    const char *wrong = lt_regex_compile(&r->regex, text, &unsupported);
    if (wrong != NULL) {
        return lt_cpu_fail(err, unsupported ? LEAT_UNSUPPORTED : LEAT_INVALID,
                           "%s: pattern '%.*s': %s", lt_move_name(node->node).text,
                           (int)(text.bytes < 80 ? text.bytes : 80), text.data, wrong);
    }
    r->count = leat_value_count(leat_kernel_input(node, 0));
    out_kernel->name = "regex";
    out_kernel->launch = launch_regex;
    out_kernel->state = r;
    out_kernel->workspace_bytes = lt_regex_workspace(&r->regex);
    if (leat_value_count(leat_kernel_output(node, 0)) != r->count) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its shape must stay",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}
