/* SPDX-License-Identifier: Apache-2.0 */
/* MatMulNBits of the domain leat: packing, and the way over groups of columns. See nbits.h. */
#include "gemm/nbits.h"

#define MOST_COLUMNS INT32_MAX

typedef struct nbits {
    const lt_nbits_kernels *kernels;
    const lt_nbits_fn *tiles; /* of 1, 2, 4, 8 rows */
    const uint32_t *packed;
    int64_t m, n, k, block, blocks;
    int64_t group_words; /* of a packed group */
    float zero;
    bool has_low;
} nbits;

/* The constants of a node. zeros: u8 in bits, packed by rows, or f32; NULL: all are `zero`. */
typedef struct weights {
    const uint8_t *q;
    const float *scales;
    const leat_value *zeros;
    int64_t n, blocks, block, bits;
    uint32_t lanes;
    bool has_low;
} weights;

static float zero_of(const weights *w, int64_t row, int64_t b)
{
    if (w->zeros == NULL) {
        return (float)(1 << (w->bits - 1));
    }
    if (w->zeros->dtype == LEAT_DTYPE_F32) {
        return ((const float *)w->zeros->data)[row * w->blocks + b];
    }
    const uint8_t *zeros = (const uint8_t *)w->zeros->data + row * ((w->blocks * w->bits + 7) / 8);
    return w->bits == 8 ? zeros[b] : (float)(zeros[b / 2] >> (b % 2 * 4) & 15);
}

/* One block of a row to its lane. */
static void pack_lane(const weights *w, int64_t row, int64_t b, uint32_t *out, uint32_t lane)
{
    int64_t bytes = w->block * w->bits / 8;
    const uint8_t *q = w->q + (row * w->blocks + b) * bytes;
    for (int64_t i = 0; i < bytes / 4; i++, q += 4) {
        out[i * w->lanes + lane] =
            q[0] | (uint32_t)q[1] << 8 | (uint32_t)q[2] << 16 | (uint32_t)q[3] << 24;
    }
    float *scales = (float *)(void *)(out + bytes / 4 * w->lanes);
    float scale = w->scales[row * w->blocks + b];
    scales[lane] = scale;
    if (w->has_low) {
        scales[w->lanes + lane] = -scale * zero_of(w, row, b);
    }
}

static int64_t block_words(const weights *w)
{
    return w->lanes * (w->block * w->bits / 32 + 1 + w->has_low);
}

static leat_status pack(void *out, size_t bytes, const leat_value *constant, const void *argument,
                        leat_error *err)
{
    const weights *w = argument;
    uint32_t *to = out;
    (void)constant;
    (void)err;
    memset(out, 0, bytes);
    for (int64_t row = 0; row < w->n; row += w->lanes) {
        for (int64_t b = 0; b < w->blocks; b++, to += block_words(w)) {
            for (uint32_t lane = 0; lane < w->lanes && row + lane < w->n; lane++) {
                pack_lane(w, row + lane, b, to, lane);
            }
        }
    }
    return LEAT_OK;
}

/* Whether zero points differ. */
static bool zeros_differ(const weights *w)
{
    for (int64_t row = 0; w->zeros != NULL && row < w->n; row++) {
        for (int64_t b = 0; b < w->blocks; b++) {
            if (zero_of(w, row, b) != zero_of(w, 0, 0)) {
                return true;
            }
        }
    }
    return false;
}

/* --- launch -------------------------------------------------------------------------------------
 */

typedef struct job {
    const nbits *s;
    const float *x, *sums;
    float *y;
} job;

static void sum_blocks(const nbits *s, const float *x, float *sums)
{
    for (int64_t i = 0; i < s->m * s->blocks; i++, x += s->block) {
        float part[16] = {0};
        for (int64_t k = 0; k < s->block; k += 16) {
            for (int64_t j = 0; j < 16; j++) {
                part[j] += x[k + j];
            }
        }
        for (int j = 1; j < 16; j++) {
            part[0] += part[j];
        }
        sums[i] = part[0];
    }
}

/* Items are groups of columns. */
static void run_groups(void *argument, int64_t begin, int64_t end)
{
    const job *j = argument;
    const nbits *s = j->s;
    int64_t lanes = s->kernels->lanes;
    for (int64_t g = begin; g < end; g++) {
        lt_nbits_tile tile = {.w = s->packed + g * s->group_words,
                              .blocks = (size_t)s->blocks,
                              .block = (size_t)s->block,
                              .ldx = (size_t)s->k,
                              .ldy = (size_t)s->n,
                              .n = (uint32_t)(s->n - g * lanes < lanes ? s->n - g * lanes : lanes),
                              .zero = s->zero,
                              .has_low = s->has_low};
        for (int64_t row = 0; row < s->m;) {
            int which = 3;
            while (s->m - row < 1 << which) {
                which--;
            }
            tile.x = j->x + row * s->k;
            tile.sums = j->sums + row * s->blocks;
            tile.y = j->y + row * s->n + g * lanes;
            s->tiles[which](&tile);
            row += 1 << which;
        }
    }
}

static leat_status launch_nbits(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const nbits *s = state;
    int64_t groups = (s->n + s->kernels->lanes - 1) / s->kernels->lanes;
    job j = {s, args->inputs[0], args->workspace, args->outputs[0]};
    (void)err;
    if (s->m == 0) {
        return LEAT_OK;
    }
    sum_blocks(s, j.x, args->workspace);
    lt_cpu_parallel_range(args, groups, 1, (double)s->group_words * (4.0 + (double)s->m),
                          run_groups, &j);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static leat_status misfit(const leat_kernel_node *node, const char *what, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_UNSUPPORTED, "MatMulNBits node '%s': %s", node->node->name, what);
}

/* Attributes and constants, all checked. */
static leat_status read_weights(const leat_kernel_node *node, weights *w, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *q = leat_kernel_input(node, 1);
    const leat_value *scales = leat_kernel_input(node, 2), *zeros = leat_kernel_input(node, 3);
    int64_t k = leat_node_int(node->node, "K", 0), n = leat_node_int(node->node, "N", 0);
    int64_t bits = leat_node_int(node->node, "bits", 4);
    int64_t block = leat_node_int(node->node, "block_size", 32);
    if ((bits != 4 && bits != 8) || block < 16 || block % 16 != 0 || k < 1 || k > MOST_COLUMNS ||
        k % block != 0 || n < 1 || n > MOST_COLUMNS) {
        return misfit(node, "4 or 8 bits, and K a multiple of block_size and that one of 16", err);
    }
    int64_t blocks = k / block;
    size_t numbers = (size_t)n * (size_t)blocks, row = (size_t)(blocks * bits + 7) / 8;
    if (x == NULL || x->dtype != LEAT_DTYPE_F32 || q == NULL || q->data == NULL ||
        q->dtype != LEAT_DTYPE_U8 || q->bytes != numbers * (size_t)(block * bits) / 8 ||
        scales == NULL || scales->data == NULL || scales->dtype != LEAT_DTYPE_F32 ||
        scales->bytes != numbers * sizeof(float)) {
        return misfit(node, "f32 data, constant weights and scales of its N, K and block_size",
                      err);
    }
    if (zeros != NULL &&
        (zeros->data == NULL || (zeros->dtype != LEAT_DTYPE_U8 && zeros->dtype != LEAT_DTYPE_F32) ||
         zeros->bytes != (zeros->dtype == LEAT_DTYPE_U8 ? row * (size_t)n : 4 * numbers))) {
        return misfit(node, "zero points must be constants, packed as the weights are or f32", err);
    }
    *w = (weights){q->data, scales->data, zeros, n, blocks, block, bits, 0, false};
    return LEAT_OK;
}

leat_status lt_cpu_nbits_supports(const leat_kernel_node *node, leat_error *err)
{
    weights w;
    return read_weights(node, &w, err);
}

static const lt_nbits_kernels *kernels_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa != LT_CPU_PORTABLE) {
        return device->isa == LT_CPU_AVX512 ? &lt_nbits_avx512 : &lt_nbits_avx2;
    }
#endif
    (void)device;
    return &lt_nbits_portable;
}

/* Scales and zero points belong to the weights, but might be another node's. */
static uint64_t key_of(const weights *w)
{
    uint64_t key = (uint64_t)(uintptr_t)w->scales * 0x9E3779B97F4A7C15u;
    key ^= (uint64_t)(uintptr_t)(w->zeros ? w->zeros->data : NULL) * 0xC2B2AE3D27D4EB4Fu;
    return (key ^ (uint64_t)(w->block << 16 | w->bits << 8 | w->lanes)) | 1u << 31;
}

leat_status lt_cpu_nbits_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    weights w;
    leat_status status = read_weights(node, &w, err);
    nbits *s = host->plan_alloc(plan, sizeof(*s));
    if (status != LEAT_OK || s == NULL) {
        return status ? status : lt_cpu_fail(err, LEAT_NO_MEMORY, "no memory to plan MatMulNBits");
    }
    s->kernels = kernels_for(device);
    s->tiles = w.bits == 4 ? s->kernels->four : s->kernels->eight;
    w.lanes = s->kernels->lanes;
    w.has_low = s->has_low = zeros_differ(&w);
    s->zero = zero_of(&w, 0, 0);
    s->n = w.n, s->k = w.block * w.blocks, s->block = w.block, s->blocks = w.blocks;
    if (x->rank < 1 || x->shape[x->rank - 1] != s->k) {
        return lt_cpu_fail(err, LEAT_INVALID, "MatMulNBits node '%s': rows of K numbers",
                           node->node->name);
    }
    s->m = leat_value_count(x) / s->k;
    s->group_words = block_words(&w) * s->blocks;
    int64_t groups = (s->n + w.lanes - 1) / w.lanes;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)(4 * s->group_words), (size_t)groups, &bytes)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "MatMulNBits node '%s' is too large", node->node->name);
    }
    status = host->plan_pack(plan, leat_kernel_input(node, 1), key_of(&w), bytes, pack, &w,
                             (const void **)&s->packed, err);
    out_kernel->name = s->kernels->name;
    out_kernel->launch = launch_nbits;
    out_kernel->state = s;
    out_kernel->workspace_bytes = (size_t)(s->m * s->blocks) * sizeof(float);
    out_kernel->flops = 2 * (uint64_t)(s->m * s->k) * (uint64_t)s->n;
    out_kernel->unread_mask = 0xe;
    return status;
}
