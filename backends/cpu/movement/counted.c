/* SPDX-License-Identifier: Apache-2.0 */
/* Operators whose output size depends on data. leat's CompressCount and NonZeroCount say how much
 * there is; NonZeroTo and CompressTo then write that: the count is one more input, which only
 * shapes read. Prefix: the first rows of a longer array. Data that changed between the two is
 * refused. Bound by memory. */
#include "movement/movement.h"

typedef struct counted {
    lt_move_label label;
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    int64_t count;             /* elements looked at */
    int64_t planned;           /* what the output has room for */
    int64_t outer, dim, inner; /* Compress, around the axis */
} counted;

static leat_status changed(const counted *c, int64_t found, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_INVALID, "%s: %lld elements, planned %lld", c->label.text,
                       (long long)found, (long long)c->planned);
}

static counted *new_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan)
{
    const leat_value *in = leat_kernel_input(node, 0);
    counted *c = host->plan_alloc(plan, sizeof(*c));
    if (c != NULL) {
        c->label = lt_move_name(node->node);
        c->dtype = in->dtype;
        c->rank = in->rank;
        c->count = leat_value_count(in);
        memcpy(c->shape, in->shape, sizeof(c->shape));
    }
    return c;
}

/* ---- NonZero -------------------------------------------------------------------------------- */

/* -0.0 of floats is zero. */
static bool is_zero(const counted *c, const uint8_t *data, int64_t i)
{
    size_t bytes = lt_cpu_element_bytes(c->dtype);
    const uint8_t *element = data + (size_t)i * bytes;
    uint64_t bits[2] = {0};
    if (c->dtype == LEAT_DTYPE_STRING) {
        leat_string s;
        memcpy(&s, element, sizeof(s));
        return s.bytes == 0;
    }
    memcpy(bits, element, bytes);
    switch (c->dtype) {
    case LEAT_DTYPE_F32:
        return (uint32_t)(bits[0] << 1) == 0;
    case LEAT_DTYPE_F64:
        return bits[0] << 1 == 0;
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        return (uint16_t)(bits[0] << 1) == 0;
    case LEAT_DTYPE_F8E4M3FN:
    case LEAT_DTYPE_F8E5M2:
        return (uint8_t)(bits[0] << 1) == 0;
    default:
        return (bits[0] | bits[1]) == 0;
    }
}

/* Of a bool array, in a loop that compilers vectorise. */
static int64_t count_bytes(const uint8_t *data, int64_t n)
{
    int64_t total = 0;
    for (int64_t i = 0; i < n;) {
        uint32_t part = 0;
        int64_t end = n - i < 4096 ? n : i + 4096;
        for (; i < end; i++) {
            part += data[i] != 0;
        }
        total += part;
    }
    return total;
}

static int64_t count_non_zero(const counted *c, const uint8_t *data)
{
    int64_t n = 0;
    if (lt_cpu_element_bytes(c->dtype) == 1 && !(CPU_FLOAT8 >> c->dtype & 1)) {
        return count_bytes(data, c->count);
    }
    for (int64_t i = 0; i < c->count; i++) {
        n += !is_zero(c, data, i);
    }
    return n;
}

static leat_status launch_count_non_zero(const void *state, const leat_kernel_args *args,
                                         leat_error *err)
{
    (void)err;
    *(int64_t *)args->outputs[0] = count_non_zero(state, args->inputs[0]);
    return LEAT_OK;
}

/* Output row k has coordinate k of every element that is not zero, in order. */
static leat_status launch_non_zero(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const counted *c = state;
    int64_t *out = args->outputs[0], at[LEAT_MAX_RANK] = {0}, n = 0;
    for (int64_t i = 0; i < c->count; i++) {
        if (!is_zero(c, args->inputs[0], i)) {
            if (n == c->planned) {
                return changed(c, n + 1, err);
            }
            for (int32_t k = 0; k < c->rank; k++) {
                out[k * c->planned + n] = at[k];
            }
            n++;
        }
        for (int32_t k = c->rank - 1; k >= 0 && ++at[k] == c->shape[k]; k--) {
            at[k] = 0;
        }
    }
    return n == c->planned ? LEAT_OK : changed(c, n, err);
}

static leat_status finish(counted *c, const char *name,
                          leat_status (*launch)(const void *, const leat_kernel_args *,
                                                leat_error *),
                          leat_kernel *out_kernel)
{
    out_kernel->name = name;
    out_kernel->launch = launch;
    out_kernel->state = c;
    return LEAT_OK;
}

leat_status lt_cpu_non_zero_count_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    counted *c = new_state(node, host, plan);
    (void)device;
    return c ? finish(c, "count", launch_count_non_zero, out_kernel)
             : lt_move_no_memory(node->node, err);
}

leat_status lt_cpu_non_zero_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    counted *c = new_state(node, host, plan);
    (void)device;
    if (c == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    if (out->rank != 2 || out->shape[0] != c->rank || out->dtype != LEAT_DTYPE_I64) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output does not fit", c->label.text);
    }
    c->planned = out->shape[1];
    out_kernel->unread_mask = 2;
    return finish(c, "non_zero", launch_non_zero, out_kernel);
}

/* ---- Compress ------------------------------------------------------------------------------- */

static leat_status launch_count_condition(const void *state, const leat_kernel_args *args,
                                          leat_error *err)
{
    const counted *c = state;
    (void)err;
    *(int64_t *)args->outputs[0] = count_bytes(args->inputs[1], c->count);
    return LEAT_OK;
}

static leat_status launch_compress(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const counted *c = state;
    const uint8_t *in = args->inputs[0], *condition = args->inputs[1];
    uint8_t *out = args->outputs[0];
    size_t run = lt_cpu_element_bytes(c->dtype) * (size_t)c->inner;
    int64_t found = count_bytes(condition, c->count);
    if (found != c->planned) {
        return changed(c, found, err);
    }
    for (int64_t o = 0; o < c->outer; o++) {
        for (int64_t i = 0; i < c->count; i++) {
            if (condition[i]) {
                memcpy(out, in + (size_t)(o * c->dim + i) * run, run);
                out += run;
            }
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_compress_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *condition = leat_kernel_input(node, 1);
    if (leat_kernel_input(node, 0) == NULL || condition == NULL ||
        condition->dtype != LEAT_DTYPE_BOOL) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its condition must be bool",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

/* Dimensions around the axis; without one the data is a list. A longer condition is cut. */
static leat_status read_axis(const leat_kernel_node *node, counted *c, leat_error *err)
{
    const leat_attr *attr = leat_node_attr(node->node, "axis");
    int32_t axis = 0;
    c->outer = c->inner = 1;
    c->dim = c->count;
    if (attr != NULL && attr->type == LEAT_ATTR_INT) {
        leat_status status = lt_move_axis(node->node, attr->u.i, c->rank, &axis, err);
        if (status != LEAT_OK) {
            return status;
        }
        c->outer = lt_move_product(c->shape, 0, axis);
        c->dim = c->shape[axis];
        c->inner = lt_move_product(c->shape, axis + 1, c->rank);
    }
    int64_t conditions = leat_value_count(leat_kernel_input(node, 1));
    c->count = conditions < c->dim ? conditions : c->dim;
    return LEAT_OK;
}

leat_status lt_cpu_compress_count_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    counted *c = new_state(node, host, plan);
    (void)device;
    if (c == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    finish(c, "count", launch_count_condition, out_kernel);
    return read_axis(node, c, err);
}

leat_status lt_cpu_compress_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    counted *c = new_state(node, host, plan);
    (void)device;
    if (c == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    leat_status status = read_axis(node, c, err);
    if (status != LEAT_OK) {
        return status;
    }
    int64_t each = c->outer * c->inner, room = leat_value_count(leat_kernel_output(node, 0));
    c->planned = each != 0 ? room / each : 0;
    if (each == 0) { /* nothing to write, whatever the condition */
        c->count = 0;
    }
    out_kernel->unread_mask = 4;
    return finish(c, "compress", launch_compress, out_kernel);
}

/* ---- Prefix --------------------------------------------------------------------------------- */

static leat_status launch_prefix(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const counted *c = state;
    size_t bytes = lt_cpu_element_bytes(c->dtype) * (size_t)c->planned;
    lt_move_rows copy = {args->outputs[0], args->inputs[0], 1,
                         (int64_t)bytes,   (int64_t)bytes,  (int64_t)bytes};
    (void)err;
    if (bytes != 0) {
        lt_move_copy_rows(&copy, args);
    }
    return LEAT_OK;
}

leat_status lt_cpu_prefix_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    counted *c = new_state(node, host, plan);
    (void)device;
    if (c == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    c->planned = leat_value_count(out);
    if (c->planned > c->count || c->dtype != out->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: more than there is", c->label.text);
    }
    out_kernel->unread_mask = 2;
    return finish(c, "prefix", launch_prefix, out_kernel);
}
