/* SPDX-License-Identifier: Apache-2.0 */
/* HannWindow, HammingWindow, BlackmanWindow: sums of cosines. MelWeightMatrix: triangles over the
 * bins of a spectrum, whose corners are evenly spaced on the mel scale. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

typedef struct window {
    lt_move_label label;
    leat_dtype dtype, size_dtype;
    double a, b, c; /* a - b cos(x) + c cos(2 x) */
    bool periodic;
    int64_t size;
} window;

static leat_status launch_window(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const window *w = state;
    int64_t size = lt_element_int(w->size_dtype, args->inputs[0], 0);
    double turn = 2 * M_PI / (double)(w->periodic || w->size < 2 ? w->size : w->size - 1);
    if (size != w->size) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: size is %lld, planned %lld", w->label.text,
                           (long long)size, (long long)w->size);
    }
    for (int64_t i = 0; i < w->size; i++) {
        double x = turn * (double)i;
        lt_element_set(w->dtype, args->outputs[0], i, w->a - w->b * cos(x) + w->c * cos(2 * x));
    }
    return LEAT_OK;
}

leat_status lt_cpu_window_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, 0);
    return y == NULL || !(CPU_NUMBERS >> y->dtype & 1)
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its output must hold numbers",
                             lt_move_name(node->node).text)
               : LEAT_OK;
}

leat_status lt_cpu_window_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    static const double hann[] = {0.5, 0.5, 0}, hamming[] = {25.0 / 46, 21.0 / 46, 0};
    static const double blackman[] = {0.42, 0.5, 0.08};
    const leat_value *y = leat_kernel_output(node, 0);
    window *w = host->plan_alloc(plan, sizeof(*w));
    (void)device;
    if (w == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    const char *op = node->node->op;
    const double *terms = op[0] == 'B' ? blackman : op[2] == 'n' ? hann : hamming;
    w->label = lt_move_name(node->node);
    w->dtype = y->dtype;
    w->size_dtype = leat_kernel_input(node, 0)->dtype;
    w->a = terms[0];
    w->b = terms[1];
    w->c = terms[2];
    w->periodic = leat_node_int(node->node, "periodic", 1) != 0;
    w->size = leat_value_count(y);
    out_kernel->name = "window";
    out_kernel->launch = launch_window;
    out_kernel->state = w;
    return LEAT_OK;
}

/* ---- MelWeightMatrix ------------------------------------------------------------------------ */

typedef struct mel {
    lt_move_label label;
    leat_dtype dtype, dtypes[5];
    int64_t bins, mels;
} mel;

/* First bin of triangle i, in spectrum bins. */
static int64_t corner(double low, double step, int64_t i, double length, double rate)
{
    double hertz = 700 * (pow(10, (low + (double)i * step) / 2595) - 1);
    return lt_saturate_i64(floor((length + 1) * hertz / rate));
}

static void put(const mel *m, void *out, int64_t bin, int64_t i, double v)
{
    if (bin >= 0 && bin < m->bins) {
        lt_element_set(m->dtype, out, bin * m->mels + i, v);
    }
}

/* Bins are visited within the matrix only, however far the corners lie. */
static void triangle(const mel *m, void *out, int64_t i, const int64_t *at)
{
    int64_t low = at[0], center = at[1], high = at[2];
    int64_t from = low > 0 ? low : 0, to = center < m->bins - 1 ? center : m->bins - 1;
    if (center == low) {
        put(m, out, center, i, 1);
    }
    for (int64_t j = from; j <= to && center != low; j++) {
        put(m, out, j, i, (double)(j - low) / (double)(center - low));
    }
    from = center > 0 ? center : 0;
    to = high < m->bins ? high : m->bins;
    for (int64_t j = from; j < to; j++) {
        put(m, out, j, i, (double)(high - j) / (double)(high - center));
    }
}

static leat_status launch_mel(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const mel *m = state;
    double in[5];
    for (int i = 0; i < 5; i++) {
        in[i] = lt_element_get(m->dtypes[i], args->inputs[i], 0);
    }
    if ((int64_t)in[0] != m->mels || lt_saturate_i64(in[1]) / 2 + 1 != m->bins || !(in[2] > 0) ||
        !(in[3] >= 0) || !(in[4] >= in[3]) || !(in[4] < 1e12)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %g bands from %g to %g Hz at rate %g",
                           m->label.text, in[0], in[3], in[4], in[2]);
    }
    double low = 2595 * log10(1 + in[3] / 700), high = 2595 * log10(1 + in[4] / 700);
    double step = (high - low) / (double)(m->mels + 2);
    memset(args->outputs[0], 0, (size_t)(m->bins * m->mels) * lt_cpu_element_bytes(m->dtype));
    for (int64_t i = 0; i < m->mels; i++) {
        int64_t at[3];
        for (int k = 0; k < 3; k++) {
            at[k] = corner(low, step, i + k, in[1], in[2]);
        }
        triangle(m, args->outputs[0], i, at);
    }
    return LEAT_OK;
}

leat_status lt_cpu_mel_weights_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, 0);
    mel *m = host->plan_alloc(plan, sizeof(*m));
    (void)device;
    if (m == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    m->label = lt_move_name(node->node);
    m->dtype = y->dtype;
    for (uint32_t i = 0; i < 5; i++) {
        const leat_value *in = leat_kernel_input(node, i);
        if (in == NULL || leat_value_count(in) != 1 || y->rank != 2) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: input %u must be one number", m->label.text,
                               i);
        }
        m->dtypes[i] = in->dtype;
    }
    m->bins = y->shape[0];
    m->mels = y->shape[1];
    out_kernel->name = "mel_weights";
    out_kernel->launch = launch_mel;
    out_kernel->state = m;
    return LEAT_OK;
}
