/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLASLt sees matrices columns first: D [m][n] of rows is D^T [n][m] of columns, and
 * D^T = B^T A^T. So its first factor is B, its second one A, and its bias, a number for each row,
 * is ours for each column. */
#include "blaslt.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

/* Of a proposal at most; NVIDIA's advice for Hopper. */
#define WORKSPACE_BYTES ((size_t)32 << 20)
#define ALIGNMENT 16u
#define PROPOSALS 8
/* Of which a large product's first one may be chosen. */
#define LOOKED_AT 4
/* What proposals are asked for with: the address is known when it runs. */
#define ANY_BIAS ((const void *)(uintptr_t)(4096 + ALIGNMENT))

typedef struct functions {
#define FIELD(field, name, arguments) int(*field) arguments;
    LT_CUDA_BLASLT_FUNCTIONS(FIELD)
#undef FIELD
} functions;

typedef struct lt_cuda_blaslt {
    pthread_mutex_t lock; /* for what follows, until `looked` */
    bool looked;
    functions f;
    blaslt_handle handle; /* NULL: none */
} lt_cuda_blaslt;

static bool find(void *library, functions *out)
{
    void *symbol;
#define FIND(field, name, arguments)                                                               \
    symbol = dlsym(library, name);                                                                 \
    if (symbol == NULL) {                                                                          \
        return false;                                                                              \
    }                                                                                              \
    memcpy(&out->field, &symbol, sizeof(symbol));
    LT_CUDA_BLASLT_FUNCTIONS(FIND)
#undef FIND
    return true;
}

/* Never closed again: what it registered with the driver lives as long as the process. */
static void *load(void)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                        "/usr/local/cuda/lib64/libcublasLt.so"};
    const char *path = getenv("LEAT_CUBLASLT_PATH");
    if (path != NULL && path[0] != '\0') {
        return dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    }
    void *library = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && library == NULL; i++) {
        library = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL);
    }
    return library;
}

static void look(const lt_cuda_device *device, lt_cuda_blaslt *lt)
{
    const char *wanted = getenv("LEAT_CUBLASLT");
    void *library = wanted != NULL && strcmp(wanted, "off") == 0 ? NULL : load();
    lt->handle = NULL;
    if (library == NULL || !find(library, &lt->f) ||
        device->cu->ctx_set_current(device->context) != 0 || lt->f.create(&lt->handle) != 0) {
        lt->handle = NULL;
    }
}

leat_status lt_cuda_blaslt_open(lt_cuda_device *device, leat_error *err)
{
    lt_cuda_blaslt *lt = device->host->alloc(device->host->context, sizeof(*lt), 64);
    device->blaslt = NULL;
    if (lt == NULL) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a device");
    }
    *lt = (lt_cuda_blaslt){.looked = false};
    if (pthread_mutex_init(&lt->lock, NULL) != 0) {
        device->host->free(device->host->context, lt, sizeof(*lt));
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a lock");
    }
    device->blaslt = lt;
    return LEAT_OK;
}

void lt_cuda_blaslt_close(lt_cuda_device *device)
{
    lt_cuda_blaslt *lt = device->blaslt;
    if (lt == NULL) {
        return;
    }
    if (lt->handle != NULL) {
        (void)lt->f.destroy(lt->handle);
    }
    (void)pthread_mutex_destroy(&lt->lock);
    device->host->free(device->host->context, lt, sizeof(*lt));
    device->blaslt = NULL;
}

/* NULL where there is no library that starts. */
static const lt_cuda_blaslt *library_of(const lt_cuda_device *device)
{
    lt_cuda_blaslt *lt = device->blaslt;
    (void)pthread_mutex_lock(&lt->lock);
    if (!lt->looked) {
        look(device, lt);
        lt->looked = true;
    }
    (void)pthread_mutex_unlock(&lt->lock);
    return lt->handle != NULL ? lt : NULL;
}

static bool is_half(leat_dtype dtype)
{
    return (LT_CUDA_HALVES >> dtype & 1) != 0;
}

/* Of rows that are not so it computes an epilogue by itself, on results that are rounded already:
 * seen on an H100 with 50 x 33 x 47 of BF16 and a bias. */
static bool rows_are_aligned(const lt_cuda_gemm_desc *d)
{
    const int64_t factors = is_half(d->dtype) ? 2 : 4, results = is_half(d->out_dtype) ? 2 : 4;
    return (d->lda * factors | d->ldb * factors | d->ldd * results | d->ldr * results) %
               (int64_t)ALIGNMENT ==
           0;
}

bool lt_cuda_blaslt_takes(const lt_cuda_gemm_desc *d)
{
    const leat_dtype out = d->out_dtype, none = LEAT_DTYPE_UNDEFINED;
    return (is_half(d->dtype) || d->dtype == LEAT_DTYPE_F32) &&
           (out == d->dtype || out == LEAT_DTYPE_F32) &&
           (d->bias_dtype == none || d->bias_dtype == out) &&
           (d->residual_dtype == none || d->residual_dtype == out) &&
           (d->activation == LT_GEMM_LINEAR || d->activation == LT_GEMM_RELU ||
            d->activation == LT_GEMM_GELU_TANH) &&
           (rows_are_aligned(d) || (d->bias_dtype == none && d->activation == LT_GEMM_LINEAR));
}

static int type_of(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_F16    ? BLASLT_R_16F
           : dtype == LEAT_DTYPE_BF16 ? BLASLT_R_16BF
                                      : BLASLT_R_32F;
}

/* A layout of `columns` columns, one behind the other by ld elements, in so many matrices. */
static int set_layout(const functions *f, blaslt_layout *out, leat_dtype dtype, int64_t rows,
                      int64_t columns, int64_t ld, int64_t batch, int64_t stride)
{
    int32_t count = (int32_t)batch;
    int result = f->layout_init(out, sizeof(*out), type_of(dtype), (uint64_t)rows,
                                (uint64_t)columns, columns > 1 || ld > rows ? ld : rows);
    if (result == 0 && batch > 1) {
        result = f->layout_set(out, BLASLT_LAYOUT_BATCH_COUNT, &count, sizeof(count));
        result = result ? result
                        : f->layout_set(out, BLASLT_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                        sizeof(stride));
    }
    return result;
}

static int set_layouts(const functions *f, const lt_cuda_gemm_desc *d, lt_cuda_blaslt_plan *out)
{
    const bool turned = d->b_transposed != 0;
    int result = set_layout(f, &out->a, d->dtype, turned ? d->k : d->n, turned ? d->n : d->k,
                            d->ldb, d->batch, d->b_batch);
    result = result ? result
                    : set_layout(f, &out->b, d->dtype, d->k, d->m, d->lda, d->batch, d->a_batch);
    result = result
                 ? result
                 : set_layout(f, &out->d, d->out_dtype, d->n, d->m, d->ldd, d->batch, d->d_batch);
    out->c = out->d;
    return result || !out->has_residual
               ? result
               : set_layout(f, &out->c, d->out_dtype, d->n, d->m, d->ldr, d->batch, d->r_batch);
}

static int set_desc(const functions *f, const lt_cuda_gemm_desc *d, blaslt_matmul_desc *out)
{
    const void *const bias = ANY_BIAS;
    const int32_t transposed = d->b_transposed ? BLASLT_OP_T : BLASLT_OP_N;
    const int compute =
        d->dtype == LEAT_DTYPE_F32 ? BLASLT_COMPUTE_32F_FAST_TF32 : BLASLT_COMPUTE_32F;
    int32_t epilogue = d->activation == LT_GEMM_RELU        ? BLASLT_EPILOGUE_RELU
                       : d->activation == LT_GEMM_GELU_TANH ? BLASLT_EPILOGUE_GELU
                                                            : 0;
    epilogue |= d->bias_dtype != LEAT_DTYPE_UNDEFINED ? BLASLT_EPILOGUE_BIAS : 0;
    epilogue = epilogue ? epilogue : BLASLT_EPILOGUE_DEFAULT;
    int result = f->desc_init(out, sizeof(*out), compute, BLASLT_R_32F);
    result =
        result ? result : f->desc_set(out, BLASLT_DESC_TRANSA, &transposed, sizeof(transposed));
    result = result ? result : f->desc_set(out, BLASLT_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
    return result || d->bias_dtype == LEAT_DTYPE_UNDEFINED
               ? result
               : f->desc_set(out, BLASLT_DESC_BIAS_POINTER, &bias, sizeof(bias));
}

/* Sums of parts of k stay f32, and none are added in an order that changes from run to run. */
static int set_preference(const functions *f, blaslt_preference *out)
{
    const size_t workspace_bytes = WORKSPACE_BYTES;
    const uint32_t alignment = ALIGNMENT, sums = BLASLT_REDUCTION_COMPUTE_TYPE;
    int result = f->preference_init(out, sizeof(*out));
    result = result ? result
                    : f->preference_set(out, BLASLT_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                        sizeof(workspace_bytes));
    result = result
                 ? result
                 : f->preference_set(out, BLASLT_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof(sums));
    for (int i = 0; i < 4 && result == 0; i++) {
        result = f->preference_set(out, BLASLT_PREF_MIN_ALIGNMENT_A_BYTES + i, &alignment,
                                   sizeof(alignment));
    }
    return result;
}

/* Products of several tiles of 128 x 256 a multiprocessor, one after the other, hold an H100 at its
 * limit of power, where what takes the least energy is fastest: such tiles, in clusters of two that
 * share their columns. 12288 x 3072 x 1024 of F16 (9 tiles) takes 127 to 131 us so, by the first
 * proposal 133; of 24576 rows the two are alike, and the model of 64 sequences is no faster. */
static bool is_large(const lt_cuda_device *device, const lt_cuda_gemm_desc *d)
{
    const double tiles = (double)d->m * (double)d->n * (double)d->batch / (128 * 256);
    return is_half(d->dtype) && tiles >= 2.0 * device->processors &&
           tiles <= 12.0 * device->processors;
}

static bool is_frugal(const functions *f, const blaslt_proposal *p)
{
    uint32_t tile = 0;
    uint16_t cluster = 0;
    size_t bytes;
    return p->state == 0 &&
           f->config_get(&p->algorithm, BLASLT_CONFIG_TILE_ID, &tile, sizeof(tile), &bytes) == 0 &&
           f->config_get(&p->algorithm, BLASLT_CONFIG_CLUSTER_SHAPE_ID, &cluster, sizeof(cluster),
                         &bytes) == 0 &&
           tile == BLASLT_TILE_256X128 && cluster == BLASLT_CLUSTER_SHAPE_1X2X1;
}

/* Brings the first frugal one, if there is one, to the front. */
static void bring_frugal(const functions *f, blaslt_proposal *found, int count)
{
    int first = 0;
    while (first < count && !is_frugal(f, &found[first])) {
        first++;
    }
    if (first > 0 && first < count) {
        const blaslt_proposal frugal = found[first];
        memmove(found + 1, found, (size_t)first * sizeof(*found));
        found[0] = frugal;
    }
}

leat_status lt_cuda_blaslt_plan_product(const lt_cuda_device *device, const lt_cuda_gemm_desc *d,
                                        uint32_t proposal, lt_cuda_blaslt_plan *out,
                                        leat_error *err)
{
    const lt_cuda_blaslt *lt = lt_cuda_blaslt_takes(d) ? library_of(device) : NULL;
    blaslt_preference preference;
    blaslt_proposal found[PROPOSALS];
    const bool large = is_large(device, d);
    int count = 0, wanted = (int)proposal + 1;
    const int asked = large && wanted < LOOKED_AT ? LOOKED_AT : wanted;
    if (lt == NULL || wanted > PROPOSALS) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: no cuBLASLt for this product");
    }
    *out = (lt_cuda_blaslt_plan){.scale = d->scale,
                                 .has_bias = d->bias_dtype != LEAT_DTYPE_UNDEFINED,
                                 .has_residual = d->residual_dtype != LEAT_DTYPE_UNDEFINED};
    out->residual_scale = out->has_residual ? 1 : 0;
    int result = device->cu->ctx_set_current(device->context);
    result = result ? result : set_desc(&lt->f, d, &out->desc);
    result = result ? result : set_layouts(&lt->f, d, out);
    result = result ? result : set_preference(&lt->f, &preference);
    result = result ? result
                    : lt->f.propose(lt->handle, &out->desc, &out->a, &out->b, &out->c, &out->d,
                                    &preference, asked, found, &count);
    if (result == 0 && large) {
        bring_frugal(&lt->f, found, count < LOOKED_AT ? count : LOOKED_AT);
    }
    if (result != 0 || count < wanted || found[proposal].state != 0 ||
        found[proposal].workspace_bytes > WORKSPACE_BYTES) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: cuBLASLt has no proposal %u for this product (status %d)",
                            proposal, result);
    }
    out->algorithm = found[proposal].algorithm;
    out->workspace_bytes = found[proposal].workspace_bytes;
    return LEAT_OK;
}

bool lt_cuda_blaslt_fits(const lt_cuda_gemm_operands *o)
{
    const uintptr_t all = (uintptr_t)o->a | (uintptr_t)o->b | (uintptr_t)o->bias |
                          (uintptr_t)o->residual | (uintptr_t)o->d;
    return all % ALIGNMENT == 0;
}

leat_status lt_cuda_blaslt_launch(const lt_cuda_device *device, const lt_cuda_blaslt_plan *plan,
                                  const lt_cuda_gemm_operands *o, void *workspace, cu_stream queue,
                                  leat_error *err)
{
    const functions *f = &device->blaslt->f;
    blaslt_matmul_desc desc = plan->desc;
    int result = plan->has_bias
                     ? f->desc_set(&desc, BLASLT_DESC_BIAS_POINTER, &o->bias, sizeof(o->bias))
                     : 0;
    result = result ? result
                    : f->matmul(device->blaslt->handle, &desc, &plan->scale, o->b, &plan->a, o->a,
                                &plan->b, &plan->residual_scale,
                                plan->has_residual ? o->residual : o->d, &plan->c, o->d, &plan->d,
                                &plan->algorithm, workspace, plan->workspace_bytes, queue);
    return result ? lt_cuda_fail(err, LEAT_DEVICE_LOST, "cuda: cuBLASLt refuses a product (%d)",
                                 result)
                  : LEAT_OK;
}
