/* SPDX-License-Identifier: Apache-2.0 */
/* Every operator with random inputs, attributes and data, many of them extreme: inference must
 * answer, and what it accepts must hold together. Meant for SANITIZE=address and undefined. */
#include "support/test.h"

#include "base/tensor.h"
#include "graph/infer.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS 400 /* nodes per operator and mode */
#define DATA_BYTES 2048

typedef struct op_name {
    const char *domain, *name;
} op_name;

static const op_name op_names[] = {
#define LT_OP(domain, name, since, min_in, max_in, min_out, max_out, infer) {domain, name},
#include "graph/ops.def"
#undef LT_OP
};

static const char *const int_names[] = {
    "axis",          "group",       "keepdims",     "ceil_mode",
    "transA",        "transB",      "allowzero",    "start",
    "end",           "to",          "batch_dims",   "blocksize",
    "block_size",    "num_groups",  "num_outputs",  "k",
    "output_dtype",  "dtype",       "stash_type",   "noop_with_empty_axes",
    "antialias",     "largest",     "spatial",      "residual",
    "channels_last", "hidden_size", "layout",       "output_height",
    "output_width",  "q_num_heads", "kv_num_heads", "num_heads",
    "onesided",      "inverse",     "sorted",       "offset_group"};
static const char *const list_names[] = {
    "axes",   "perm", "pads",         "strides",      "split", "dilations",   "output_padding",
    "starts", "ends", "kernel_shape", "output_shape", "steps", "pooled_shape"};
static const char *const string_names[] = {"auto_pad",
                                           "coordinate_transformation_mode",
                                           "keep_aspect_ratio_policy",
                                           "direction",
                                           "reduction",
                                           "equation"};
static const char *const strings[] = {
    "SAME_UPPER", "SAME_LOWER",  "VALID",         "NOTSET", "bogus",     "tf_crop_and_resize",
    "not_larger", "not_smaller", "bidirectional", "none",   "ij,jk->ik", "...i,...i",
    "ab->ba",     "a,b,c->",     "i...j->...",    "...->"};
static const int64_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, INT32_MAX, (int64_t)1 << 40, INT64_MAX};
static const int64_t numbers[] = {INT64_MIN, INT32_MIN, -9, -3, -2, -1, 0,         1,
                                  2,         3,         4,  5,  7,  9,  INT32_MAX, INT64_MAX};
static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_I64, LEAT_DTYPE_I32,
                                    LEAT_DTYPE_U8,  LEAT_DTYPE_I8,  LEAT_DTYPE_BOOL,
                                    LEAT_DTYPE_F16, LEAT_DTYPE_I4,  LEAT_DTYPE_UNDEFINED};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef struct dice {
    uint64_t state;
} dice;

/* 0 to n - 1 (xorshift64*, Marsaglia 2003 and Vigna 2016). */
static size_t roll(dice *d, size_t n)
{
    d->state ^= d->state >> 12;
    d->state ^= d->state << 25;
    d->state ^= d->state >> 27;
    return (size_t)((d->state * 0x2545f4914f6cdd1d) >> 32) % n;
}

static int64_t number(dice *d)
{
    /* Mostly small, so that many nodes are accepted. */
    return roll(d, 4) ? (int64_t)roll(d, 4) : numbers[roll(d, COUNT(numbers))];
}

static void fill(dice *d, lt_graph *graph, leat_value *value, bool concrete, const char *data)
{
    leat_error err;
    value->dtype = roll(d, 3) ? dtypes[roll(d, 2)] : dtypes[roll(d, COUNT(dtypes))];
    value->rank = (int32_t)roll(d, 5);
    value->rank = roll(d, 16) ? value->rank : concrete ? 8 : -1;
    for (int32_t i = 0; i < value->rank; i++) {
        value->shape[i] = roll(d, 8) ? 1 + (int64_t)roll(d, 4) : sizes[roll(d, COUNT(sizes))];
        if (!concrete && roll(d, 4) == 0) {
            assert_ok(lt_graph_symbol(graph, roll(d, 2) ? "N" : NULL, &value->shape[i], &err),
                      &err);
        }
    }
    value->bytes = 0;
    if (value->rank >= 0 &&
        lt_shape_bytes(value->dtype, value->rank, value->shape, &value->bytes) &&
        value->bytes <= DATA_BYTES && roll(d, 4) != 0) {
        value->data = data;
    }
}

static uint32_t add_inputs(dice *d, lt_graph *graph, const lt_op *op, bool concrete,
                           const char *data, uint32_t *inputs)
{
    leat_error err;
    size_t most = op->max_inputs < 0 ? 4 : (size_t)op->max_inputs + 2;
    size_t least = (size_t)op->min_inputs;
    uint32_t n = (uint32_t)(least + roll(d, most - least + 1));
    for (uint32_t i = 0; i < n; i++) {
        if (roll(d, 10) == 0 && (int32_t)i >= op->min_inputs) {
            inputs[i] = LEAT_NO_VALUE;
            continue;
        }
        assert_ok(lt_graph_add_value(graph, "v", &inputs[i], &err), &err);
        leat_value value = graph->values[inputs[i]];
        fill(d, graph, &value, concrete, data);
        if (i > 0 && inputs[0] != LEAT_NO_VALUE &&
            roll(d, 2)) { /* as the first, so that types agree */
            const leat_value *first = &graph->values[inputs[0]];
            value = roll(d, 2) ? *first : value;
            value.data = value.dtype == first->dtype ? value.data : NULL;
        }
        graph->values[inputs[i]] = value;
    }
    return n;
}

static uint32_t make_attrs(dice *d, leat_attr *attrs, int64_t (*lists)[9])
{
    uint32_t n = (uint32_t)roll(d, 5);
    for (uint32_t i = 0; i < n; i++) {
        leat_attr *attr = &attrs[i];
        memset(attr, 0, sizeof(*attr));
        attr->count = 1;
        size_t kind = roll(d, 8);
        if (kind == 0) {
            const char *text = strings[roll(d, COUNT(strings))];
            attr->name = string_names[roll(d, COUNT(string_names))];
            attr->type = LEAT_ATTR_STRING;
            attr->u.s = (leat_string){text, strlen(text)};
        } else if (kind < 4) {
            attr->name = int_names[roll(d, COUNT(int_names))];
            attr->type = LEAT_ATTR_INT;
            attr->u.i = number(d);
        } else {
            attr->name = list_names[roll(d, COUNT(list_names))];
            attr->type = LEAT_ATTR_INTS;
            attr->count = roll(d, 10);
            attr->u.ints = lists[i];
            for (size_t k = 0; k < attr->count; k++) {
                lists[i][k] = number(d);
            }
        }
    }
    return n;
}

/* What inference accepts is whole: known dimensions with their bytes, or symbols of the graph. */
static void check_outputs(const lt_infer *infer, const leat_node *node, bool concrete)
{
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        const leat_value *value = &infer->values[node->outputs[i]];
        size_t bytes = 0;
        bool known = value->rank >= 0 && value->dtype != LEAT_DTYPE_UNDEFINED;
        if (value->rank < -1 || value->rank > LEAT_MAX_RANK) {
            fail_msg("%s: rank %d", node->op, value->rank);
        }
        for (int32_t k = 0; k < value->rank; k++) {
            known &= value->shape[k] >= 0;
            if (value->shape[k] < 0 &&
                (concrete || -(value->shape[k] + 1) >= (int64_t)infer->graph->n_symbols)) {
                fail_msg("%s: dimension %d is %lld", node->op, k, (long long)value->shape[k]);
            }
        }
        if (known && (!lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes) ||
                      bytes != value->bytes)) {
            fail_msg("%s: %zu bytes, not %zu", node->op, value->bytes, bytes);
        }
    }
}

/* Returns whether the node was accepted. */
static bool try_node(dice *d, const op_name *which, bool concrete)
{
    static const int32_t opsets[] = {7, 10, 11, 13, 18, 22, 24, 27};
    const char *name = which->name;
    lt_memory memory;
    lt_graph *graph;
    leat_error err = {0};
    uint32_t inputs[16], outputs[8];
    leat_attr attrs[5];
    int64_t lists[5][9], data[DATA_BYTES / 8];
    leat_node *node;
    bool own = roll(d, 4) == 0;
    int32_t opset = opsets[roll(d, COUNT(opsets))];
    const lt_op *op = lt_op_find(own ? "leat" : which->domain, name, opset);
    if (op == NULL) {
        return false;
    }
    for (size_t i = 0; i < COUNT(data); i++) {
        data[i] = number(d);
    }
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_graph_create(&memory, NULL, &graph, &err), &err);
    lt_node_desc desc = {.op = name, .domain = own ? "leat" : which->domain, .name = "n"};
    desc.inputs = inputs;
    desc.n_inputs = add_inputs(d, graph, op, concrete, (const char *)data, inputs);
    desc.outputs = outputs;
    desc.n_outputs = (uint32_t)op->min_outputs + (uint32_t)roll(d, 2);
    for (uint32_t i = 0; i < desc.n_outputs; i++) {
        assert_ok(lt_graph_add_value(graph, "o", &outputs[i], &err), &err);
    }
    desc.attrs = attrs;
    desc.n_attrs = make_attrs(d, attrs, lists);
    assert_ok(lt_graph_add_node(graph, &desc, 0, &node, &err), &err);
    node->opset = opset;
    lt_infer infer = {.graph = graph, .values = graph->values, .concrete = concrete};
    leat_status status = lt_infer_node(&infer, node, &err);
    bool accepted = status == LEAT_OK && infer.needs == LEAT_NO_VALUE;
    if (status != LEAT_OK && status != LEAT_INVALID && status != LEAT_UNSUPPORTED) {
        fail_msg("%s: %s: %s", name, leat_status_text(status), err.message);
    }
    if (status != LEAT_OK && strstr(err.message, "node 'n' (") == NULL) {
        fail_msg("%s: \"%s\" does not name the node", name, err.message);
    }
    if (status == LEAT_OK && infer.needs != LEAT_NO_VALUE) {
        assert_true(concrete);
        assert_null(graph->values[infer.needs].data);
    }
    if (accepted) {
        check_outputs(&infer, node, concrete);
    }
    lt_graph_destroy(graph);
    assert_int_equal(memory.live_blocks, 0);
    return accepted;
}

static void try_all(bool concrete)
{
    dice d = {concrete ? 1 : 2};
    size_t accepted = 0;
    for (size_t i = 0; i < COUNT(op_names); i++) {
        for (int round = 0; round < ROUNDS; round++) {
            accepted += try_node(&d, &op_names[i], concrete);
        }
    }
    print_message("%zu of %zu nodes accepted\n", accepted, COUNT(op_names) * ROUNDS);
    assert_true(accepted > COUNT(op_names) * ROUNDS / 20);
}

static void infer_hostile_nodes_at_plan_time_answers(void **state)
{
    (void)state;
    try_all(true);
}

static void infer_hostile_nodes_at_load_answers(void **state)
{
    (void)state;
    try_all(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infer_hostile_nodes_at_plan_time_answers),
        cmocka_unit_test(infer_hostile_nodes_at_load_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
