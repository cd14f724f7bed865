/* SPDX-License-Identifier: Apache-2.0 */
/* A libcublasLt.so.13 for tests: what the plugin uses of it, by plain loops over host memory on the
 * streams of fake_driver.cpp. It refuses what the real one would. The environment variable
 * LEAT_FAKE_CUBLASLT says how it behaves: unset or "good", or one of
 *
 *   no_handle    cublasLtCreate fails
 *   no_proposal  it never has one
 *   no_launch    cublasLtMatmul fails
 *
 * Its first two proposals' kernels need a counter in the workspace that is zero when they begin,
 * and leave another number there. As the real library does, it sets it to zero in front of each.
 */
#include "blaslt.h"

#include <dlfcn.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    INVALID = 7, /* cublasStatus_t */
    UNSUPPORTED = 15,
    MADE_DESC = 0xde5c,
    MADE_LAYOUT = 0x1a70,
    MADE_PREFERENCE = 0x9efe,
    MADE_ALGORITHM = 0xa190,
    COUNTER = 4, /* bytes of workspace: of the first two proposals, and of the third */
    WORKSPACE = 4096,
    PROPOSALS = 3
};

/* What the opaque structures hold here. */
typedef struct desc {
    uint64_t made;
    int32_t compute, scale_type, transposed, epilogue;
    const char *bias;
} desc;
typedef struct layout {
    uint64_t made;
    int32_t type, batch;
    int64_t rows, columns, ld, stride;
} layout;
typedef struct preference {
    uint64_t made, workspace_bytes;
    uint32_t alignment[4], sums;
} preference;
_Static_assert(sizeof(desc) <= sizeof(blaslt_matmul_desc) &&
                   sizeof(layout) <= sizeof(blaslt_layout) &&
                   sizeof(preference) <= sizeof(blaslt_preference),
               "they fit");

static _Atomic size_t matmuls, frugals, handles;

EXPORT size_t fake_blaslt_matmuls(void)
{
    return matmuls;
}

/* Of those the second proposal's. */
EXPORT size_t fake_blaslt_frugals(void)
{
    return frugals;
}

EXPORT size_t fake_blaslt_handles(void)
{
    return handles;
}

static bool behaves(const char *how)
{
    const char *wanted = getenv("LEAT_FAKE_CUBLASLT");
    return wanted != NULL && strcmp(wanted, how) == 0;
}

EXPORT int cublasLtCreate(blaslt_handle *out)
{
    if (behaves("no_handle")) {
        return 1;
    }
    *out = malloc(1);
    handles++;
    return *out ? 0 : 3;
}

EXPORT int cublasLtDestroy(blaslt_handle handle)
{
    free(handle);
    handles--;
    return 0;
}

EXPORT int cublasLtMatmulDescInit_internal(desc *d, size_t bytes, int compute, int scale_type)
{
    if (bytes != sizeof(blaslt_matmul_desc)) {
        return INVALID;
    }
    *d = (desc){.made = MADE_DESC,
                .compute = compute,
                .scale_type = scale_type,
                .epilogue = BLASLT_EPILOGUE_DEFAULT};
    return 0;
}

static int set(void *field, size_t field_bytes, const void *value, size_t bytes)
{
    if (bytes != field_bytes) {
        return INVALID;
    }
    memcpy(field, value, bytes);
    return 0;
}

EXPORT int cublasLtMatmulDescSetAttribute(desc *d, int attribute, const void *value, size_t bytes)
{
    switch (d->made == MADE_DESC ? attribute : -1) {
    case BLASLT_DESC_TRANSA:
        return set(&d->transposed, sizeof(d->transposed), value, bytes);
    case BLASLT_DESC_EPILOGUE:
        return set(&d->epilogue, sizeof(d->epilogue), value, bytes);
    case BLASLT_DESC_BIAS_POINTER:
        return set(&d->bias, sizeof(d->bias), value, bytes);
    default:
        return INVALID;
    }
}

EXPORT int cublasLtMatrixLayoutInit_internal(layout *l, size_t bytes, int type, uint64_t rows,
                                             uint64_t columns, int64_t ld)
{
    if (bytes != sizeof(blaslt_layout)) {
        return INVALID;
    }
    *l = (layout){.made = MADE_LAYOUT,
                  .type = type,
                  .batch = 1,
                  .rows = (int64_t)rows,
                  .columns = (int64_t)columns,
                  .ld = ld};
    return 0;
}

EXPORT int cublasLtMatrixLayoutSetAttribute(layout *l, int attribute, const void *value,
                                            size_t bytes)
{
    switch (l->made == MADE_LAYOUT ? attribute : -1) {
    case BLASLT_LAYOUT_BATCH_COUNT:
        return set(&l->batch, sizeof(l->batch), value, bytes);
    case BLASLT_LAYOUT_STRIDED_BATCH_OFFSET:
        return set(&l->stride, sizeof(l->stride), value, bytes);
    default:
        return INVALID;
    }
}

EXPORT int cublasLtMatmulPreferenceInit_internal(preference *p, size_t bytes)
{
    if (bytes != sizeof(blaslt_preference)) {
        return INVALID;
    }
    *p = (preference){.made = MADE_PREFERENCE, .alignment = {256, 256, 256, 256}};
    return 0;
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(preference *p, int attribute, const void *value,
                                                size_t bytes)
{
    const int i = attribute - BLASLT_PREF_MIN_ALIGNMENT_A_BYTES;
    if (p->made != MADE_PREFERENCE) {
        return INVALID;
    }
    if (attribute == BLASLT_PREF_MAX_WORKSPACE_BYTES) {
        return set(&p->workspace_bytes, sizeof(p->workspace_bytes), value, bytes);
    }
    if (attribute == BLASLT_PREF_REDUCTION_SCHEME_MASK) {
        return set(&p->sums, sizeof(p->sums), value, bytes);
    }
    return i < 0 || i > 3 ? INVALID : set(&p->alignment[i], sizeof(uint32_t), value, bytes);
}

/* Whether the matrices fit each other and the types are ones of the library's table. */
static bool is_sound(const desc *w, const layout *a, const layout *b, const layout *c,
                     const layout *d)
{
    const layout *const all[] = {a, b, c, d};
    const bool turned = w->transposed == BLASLT_OP_T;
    const bool f32 = a->type == BLASLT_R_32F;
    if (w->made != MADE_DESC || w->scale_type != BLASLT_R_32F ||
        w->compute != (f32 ? BLASLT_COMPUTE_32F_FAST_TF32 : BLASLT_COMPUTE_32F)) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (all[i]->made != MADE_LAYOUT || all[i]->ld < all[i]->rows || all[i]->rows < 1 ||
            all[i]->columns < 1 || all[i]->batch != d->batch) {
            return false;
        }
    }
    return (turned ? a->columns : a->rows) == d->rows &&
           (turned ? a->rows : a->columns) == b->rows && b->columns == d->columns &&
           c->rows == d->rows && c->columns == d->columns && a->type == b->type &&
           c->type == d->type && (d->type == a->type || d->type == BLASLT_R_32F);
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(blaslt_handle handle, const desc *w, const layout *a,
                                          const layout *b, const layout *c, const layout *d,
                                          const preference *p, int wanted, blaslt_proposal *out,
                                          int *out_count)
{
    if (handle == NULL || !is_sound(w, a, b, c, d) || p->made != MADE_PREFERENCE || wanted < 1 ||
        p->sums != BLASLT_REDUCTION_COMPUTE_TYPE ||
        ((w->epilogue & BLASLT_EPILOGUE_BIAS) != 0 && w->bias == NULL)) {
        return INVALID;
    }
    for (int i = 0; i < 4; i++) { /* kernels of vectors would read beyond what is aligned */
        if (p->alignment[i] > 16) {
            return INVALID;
        }
    }
    *out_count = behaves("no_proposal") ? 0 : wanted < PROPOSALS ? wanted : PROPOSALS;
    for (int i = 0; i < *out_count; i++) {
        out[i] = (blaslt_proposal){.algorithm = {{MADE_ALGORITHM, (uint64_t)i}},
                                   .workspace_bytes = i < 2 ? COUNTER : WORKSPACE};
    }
    return *out_count > 0 ? 0 : UNSUPPORTED;
}

/* The second proposal is a frugal one. */
EXPORT int cublasLtMatmulAlgoConfigGetAttribute(const blaslt_algorithm *algorithm, int attribute,
                                                void *out, size_t bytes, size_t *out_bytes)
{
    const bool frugal = algorithm->words[1] == 1;
    const uint32_t tile = frugal ? BLASLT_TILE_256X128 : BLASLT_TILE_256X128 - 1;
    const uint16_t cluster = BLASLT_CLUSTER_SHAPE_1X2X1;
    const bool is_tile = attribute == BLASLT_CONFIG_TILE_ID;
    if (algorithm->words[0] != MADE_ALGORITHM ||
        (!is_tile && attribute != BLASLT_CONFIG_CLUSTER_SHAPE_ID) ||
        bytes != (is_tile ? sizeof(tile) : sizeof(cluster))) {
        return INVALID;
    }
    memcpy(out, is_tile ? (const void *)&tile : &cluster, bytes);
    *out_bytes = bytes;
    return 0;
}

/* ---- the product ------------------------------------------------------------------------------
 */

typedef struct product {
    desc w;
    layout a, b, c, d;
    float alpha, beta;
    const char *pa, *pb, *pc;
    char *pd;
    uint32_t *counter; /* NULL: the kernel has none */
} product;

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static float number_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static double half(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double size = exponent == 0    ? ldexp(fraction, -24)
                        : exponent == 31 ? (fraction ? NAN : INFINITY)
                                         : ldexp(1024 + fraction, exponent - 25);
    return h >> 15 ? -size : size;
}

static double get(const char *data, int type, int64_t at)
{
    uint16_t h;
    float f;
    if (type == BLASLT_R_32F) {
        memcpy(&f, data + at * 4, 4);
        return f;
    }
    memcpy(&h, data + at * 2, 2);
    return type == BLASLT_R_16F ? half(h) : number_of((uint32_t)h << 16);
}

static void put(char *data, int type, int64_t at, double value)
{
    const float f = (float)value;
    uint16_t h;
    if (type == BLASLT_R_32F) {
        memcpy(data + at * 4, &f, 4);
        return;
    }
    if (type == BLASLT_R_16BF) {
        const uint32_t bits = bits_of(f);
        h = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    } else { /* a fraction of 10 bits below the leading one, or as many as there are */
        const double size = fabs(value);
        const int exponent = size < 0x1p-14 ? -14 : ilogb(size);
        const double fraction = nearbyint(ldexp(size, 10 - exponent));
        h = !(size < 65520) ? 0x7c00 : (uint16_t)((exponent + 14) * 1024 + (int)fraction);
        h |= signbit(value) ? 0x8000 : 0;
    }
    memcpy(data + at * 2, &h, 2);
}

static double finish(const desc *w, double x)
{
    if ((w->epilogue & BLASLT_EPILOGUE_RELU) != 0) {
        return x > 0 ? x : 0;
    }
    return (w->epilogue & BLASLT_EPILOGUE_GELU) != 0
               ? 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
               : x;
}

static void multiply(const void *opaque)
{
    product p;
    memcpy(&p, opaque, sizeof(p));
    const bool turned = p.w.transposed == BLASLT_OP_T;
    const bool begins = p.counter == NULL || *p.counter == 0;
    if (p.counter != NULL) {
        *p.counter = 132;
    }
    for (int64_t i = 0; i < p.d.batch * p.d.columns * p.d.rows; i++) {
        const int64_t row = i % p.d.rows, column = i / p.d.rows % p.d.columns;
        const int64_t z = i / p.d.rows / p.d.columns;
        double sum = begins ? 0 : NAN;
        for (int64_t k = 0; k < p.b.rows; k++) {
            const int64_t at = turned ? k + row * p.a.ld : row + k * p.a.ld;
            sum += get(p.pa, p.a.type, z * p.a.stride + at) *
                   get(p.pb, p.b.type, z * p.b.stride + k + column * p.b.ld);
        }
        sum *= (double)p.alpha;
        if (p.beta != 0) {
            sum += (double)p.beta * get(p.pc, p.c.type, z * p.c.stride + row + column * p.c.ld);
        }
        if ((p.w.epilogue & BLASLT_EPILOGUE_BIAS) != 0) {
            sum += get(p.w.bias, p.d.type, row);
        }
        put(p.pd, p.d.type, z * p.d.stride + row + column * p.d.ld, finish(&p.w, sum));
    }
}

static void *symbol_of(const char *name)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    return driver ? dlsym(driver, name) : NULL;
}

/* What a proposal needs before its kernel. */
static int begin(const blaslt_algorithm *algorithm, void *workspace, cu_stream stream)
{
    int (*zero)(void *, void *, size_t);
    void *symbol = symbol_of("fake_cuda_zero");
    memcpy(&zero, &symbol, sizeof(symbol));
    if (algorithm->words[1] < 2) {
        return zero(stream, workspace, COUNTER);
    }
    memset(workspace, 0xff, WORKSPACE);
    return 0;
}

EXPORT int cublasLtMatmul(blaslt_handle handle, const desc *w, const void *alpha, const void *a,
                          const layout *la, const void *b, const layout *lb, const void *beta,
                          const void *c, const layout *lc, void *d, const layout *ld,
                          const blaslt_algorithm *algorithm, void *workspace,
                          size_t workspace_bytes, cu_stream stream)
{
    int (*queue)(void *, void (*)(const void *), const void *, size_t);
    void *symbol = symbol_of("fake_cuda_queue");
    const uintptr_t all = (uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d;
    if (handle == NULL || !is_sound(w, la, lb, lc, ld) || all % 16 != 0 || symbol == NULL ||
        algorithm->words[0] != MADE_ALGORITHM || behaves("no_launch") || workspace == NULL ||
        workspace_bytes < (algorithm->words[1] < 2 ? (size_t)COUNTER : (size_t)WORKSPACE) ||
        begin(algorithm, workspace, stream) != 0) {
        return INVALID;
    }
    memcpy(&queue, &symbol, sizeof(symbol));
    product p = {
        .w = *w, .a = *la, .b = *lb, .c = *lc, .d = *ld, .pa = a, .pb = b, .pc = c, .pd = d};
    p.counter = algorithm->words[1] < 2 ? workspace : NULL;
    memcpy(&p.alpha, alpha, sizeof(p.alpha));
    memcpy(&p.beta, beta, sizeof(p.beta));
    matmuls++;
    frugals += algorithm->words[1] == 1;
    return queue(stream, multiply, &p, sizeof(p)) ? 13 : 0;
}
