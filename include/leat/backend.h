/* SPDX-License-Identifier: Apache-2.0 */
/* leat's plugin ABI: what a backend gives the host, and what the host gives a backend.
 *
 * A plugin is a shared object that exports
 *
 *     const leat_backend *leat_backend_query(uint32_t host_abi);
 *
 * and links without libleat: every host service arrives by pointer (leat_host). The built-in CPU
 * backend comes through the same structures.
 *
 * Order of calls: dlopen(RTLD_NOW | RTLD_LOCAL), query (pure: no allocation, no device), the
 * host's checks of abi, struct_size and sanitizer, init, device_count, device_info, and then
 * device_open when a session first asks for the device. A plugin is never unloaded once a device
 * was opened.
 *
 * A run:  describe (which nodes, at what cost)  ->  compile (a segment at fixed shapes)  ->
 *         executable_require (workspace)  ->  launch, again and again  ->  executable_destroy.
 *
 * There are two kinds of backend. A kernel backend fills `rows`, one per operator, and sets
 * describe, compile, executable_require, launch and executable_destroy to NULL: the host's step
 * runner then provides them. A whole-graph compiler fills those five and leaves rows NULL.
 *
 * The structs only grow at the end. A host reads a field only if struct_size covers it.
 */
#ifndef LEAT_BACKEND_H
#define LEAT_BACKEND_H

#include <leat/leat.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_BACKEND_ABI 1u

/* In leat_node.inputs and .outputs: an optional value that is not there. */
#define LEAT_NO_VALUE UINT32_MAX

/* ------------------------------------------------------------------------------------------------
 * The view of a graph that crosses the ABI: plain arrays, indices instead of pointers
 * --------------------------------------------------------------------------------------------- */

/* The values are those of ONNX's AttributeProto.AttributeType. */
typedef enum leat_attr_type {
    LEAT_ATTR_FLOAT = 1,
    LEAT_ATTR_INT = 2,
    LEAT_ATTR_STRING = 3,
    LEAT_ATTR_TENSOR = 4,
    LEAT_ATTR_GRAPH = 5,
    LEAT_ATTR_FLOATS = 6,
    LEAT_ATTR_INTS = 7,
    LEAT_ATTR_STRINGS = 8,
    LEAT_ATTR_TYPE = 13 /* u.s: a TypeProto, as the file has it */
} leat_attr_type;

typedef struct leat_attr {
    const char *name;
    leat_attr_type type;
    size_t count; /* elements of a list; 1 otherwise */
    union {
        float f;
        int64_t i;
        leat_string s;
        const float *floats;
        const int64_t *ints;
        const leat_string *strings;
        const leat_array *tensor;
        const void *graph; /* host only: opaque to backends */
    } u;
} leat_attr;

typedef struct leat_node {
    const char *op;     /* "Conv" */
    const char *domain; /* "" for ai.onnx; "leat" for nodes made by leat's passes */
    const char *name;   /* may be "" */
    int32_t opset;      /* version of the domain that the model imports; "leat": of ai.onnx */
    uint32_t n_inputs;
    uint32_t n_outputs;
    uint32_t n_attrs;
    const uint32_t *inputs;  /* indices into the segment's values, or LEAT_NO_VALUE */
    const uint32_t *outputs; /* likewise */
    const leat_attr *attrs;
} leat_node;

/* Shapes:   in compile and prepare every dimension is known (>= 0). In describe a dimension may be
 *           negative: symbolic.  rank -1: not even the rank is known.
 * Owns:     data belongs to the host; constants live as long as the model. */
typedef struct leat_value {
    const char *name;
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    const void *data; /* host memory of a constant or known value; NULL otherwise */
    size_t bytes;     /* of data, or of the value once its shape is known; else 0 */
} leat_value;

typedef struct leat_segment {
    size_t n_nodes;
    const leat_node *nodes; /* in an order that respects data flow */
    size_t n_values;
    const leat_value *values;
    size_t n_inputs;
    const uint32_t *inputs; /* values that come from outside, constants not among them */
    size_t n_outputs;
    const uint32_t *outputs; /* values that are needed outside */
} leat_segment;

typedef enum leat_layout {
    LEAT_LAYOUT_ANY = 0,
    LEAT_LAYOUT_CHANNELS_LAST = 1 /* wants N...C data: see "Nodes of the domain leat" below */
} leat_layout;

/* Answer of describe about one node. */
typedef struct leat_node_support {
    int32_t supported;
    leat_layout layout; /* the layout that would suit the node best */
    float cost_ns;      /* estimate for one run; 0 when not known */
    char reason[116];   /* why not supported, or a remark; may be "" */
} leat_node_support;

/* Nodes of the domain "leat", made by passes only where a device says that it supports them:
 *
 *   Conv, ConvTranspose, MaxPool, AveragePool, GlobalAveragePool, Gemm, MatMul, Add, ...: as in
 *   ai.onnx with these further attributes, each optional:
 *     channels_last  (int)    1: data tensors are N, spatial..., C; weights keep ONNX's layout
 *     activation     (string) "Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid",
 *                             "HardSwish", "Gelu", "GeluTanh" (Gelu by tanh), "Swish",
 *                             "ScaledHardSwish" (alpha * HardSwish(x) + beta); applied last
 *     activation_alpha, activation_beta (float)  Clip: lowest and highest value; LeakyRelu: slope;
 *                             HardSigmoid, ScaledHardSwish: alpha and beta; Swish: alpha
 *     residual       (int)    1: one more input, the last, of the output's shape, is added before
 *                             the activation
 *
 *   Conv, Gemm and MatMul take f32, f16 and bf16 mixed: the data (the first input), the second
 *   input, the bias and the residual may each be of another of these types. Sums, bias, residual
 *   and activation are f32, rounded once when stored. Their further attributes:
 *     compute        (int)    a leat_dtype, F16 or BF16: the factors of products may be rounded to
 *                             it first; never needed, for a device may compute better than asked.
 *                             A device that refuses f32 factors with it gets both in this type
 *     storage        (int)    a leat_dtype, F32, F16 or BF16: type of the output; otherwise that of
 *                             the data
 *
 *   ConvDepthwise: a Conv with a filter of one position, then one with a filter a channel. Inputs
 *     x, w, bias (optional), filters, filters' bias (optional), all but x constant, types as for
 *     Conv. channels_last is 1; compute is the first part's; first_activation,
 *     first_activation_alpha and _beta are its activation; all others are the second part's.
 *   Attention: as in ai.onnx (opset 23), in models of any opset. Of its inputs Q, K, V and, where
 *     there is one, a mask that is added; scale is always given; q_num_heads and kv_num_heads where
 *     Q, K and V have three dimensions.
 *   PackedAttention: Attention of one value of [B, S, (q_num_heads + 2 kv_num_heads) * D] in which
 *     Q, K and V lie side by side; the second input, where there is one, is the mask.
 *   MatMulNBits: as in com.microsoft, its constants constant, without g_idx and bias.
 *   LayerNormalization, RMSNormalization: as in ai.onnx (opset 17, 23), in models of any opset,
 *     with axis -1.
 *   QConv, QMatMul: quantized products, of the domain leat alone. Inputs, of which all but x,
 *   x_scale, w and w_scale are optional:
 *     x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias, r_scale, r_zero, z_scale,
 *     z_zero, residual
 *   x and w are u8 or i8, scales are f32. w's scale and zero point are one number or one for each
 *   channel, all others one number; an absent zero point is 0. bias is f32, or i32 in units of
 *   x_scale * w_scale. With real (dequantized) operands:
 *     without residual    p = activation(x * w + bias); quantized by y when there is y_scale
 *     with a residual     p = x * w + bias; quantized by y and dequantized when there is y_scale;
 *                         p = activation(p + residual); quantized by z when there is z_scale
 *   A residual without r_scale is f32. Attributes are those of Conv (channels_last, too), and
 *   Gemm's transB for a w of rank 2; `residual` is 1 when there is one.
 *   An attribute `storage` tells the type of a result without scale that is not f32; a residual
 *   without r_scale may be of that type, too.
 *   x of QConv may be f32, f16 or bf16: then it lies channels-first, whatever channels_last says,
 *   and is quantized by x first, to the type of x_zero (u8 without).
 *   SmoothQuantize: x, factors, again; the last is optional. DynamicQuantizeLinear of x times
 *   factors, f32 [columns] of the last dimension; columns `again`, i64 [n], come again behind all
 *   others in y, whose last dimension is columns + n. factors and again are constants.
 *   QGlobalAveragePool: x, x_scale, x_zero, y_scale, y_zero; the last three are optional. x is u8
 *   or i8; the mean is quantized by y when there is y_scale, else f32.
 */

/* ------------------------------------------------------------------------------------------------
 * Host services
 * --------------------------------------------------------------------------------------------- */

typedef struct leat_pool leat_pool; /* worker threads of a context */
typedef struct leat_plan leat_plan; /* owner of what prepare makes; freed with the executable */

/* Work of one task. `thread` is below leat_host.pool_threads and differs among tasks that run at
 * the same time. */
typedef void (*leat_task_fn)(void *argument, uint32_t task, uint32_t thread);

/* How the session that a plan is for was asked to compute. Only grows at the end. */
typedef struct leat_plan_options {
    uint32_t struct_size;
    leat_precision precision;
    int32_t plain_algorithms; /* 1: no Winograd convolution, no Strassen product, nothing else
                                 that rounds otherwise than the definition summed in some order */
    int32_t measures; /* 1: plan_choose measures, so that ways may be offered whose estimates
                         are no better */
} leat_plan_options;

/* Fills `out` with a rearranged copy of a constant. Called at most once per key and model. */
typedef leat_status (*leat_pack_fn)(void *out, size_t bytes, const leat_value *constant,
                                    const void *argument, leat_error *err);

typedef struct leat_kernel_node leat_kernel_node;
typedef struct leat_kernel leat_kernel;
typedef struct leat_host leat_host;

/* One of several ways to compute a node. */
typedef struct leat_way {
    const char *name; /* static, unique among the node's ways; letters, digits, '_' and '.' */
    double cost_ns;   /* estimate of one run */
    /* As leat_op_row.prepare. The arguments must stay good until plan_choose returns. */
    leat_status (*prepare)(const leat_kernel_node *node, void *device, const leat_host *host,
                           leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                           leat_error *err);
    const void *argument;
} leat_way;

struct leat_host {
    uint32_t abi;
    uint32_t struct_size;
    void *context; /* first argument of the functions that take it */

    /* Memory by the application's allocator. Threads: any. */
    void *(*alloc)(void *context, size_t bytes, size_t alignment);
    void (*free)(void *context, void *block, size_t bytes);

    /* Writes one line to the application's log. Threads: any. */
    void (*log)(void *context, leat_log_level level, const char *line);

    /* The context's worker threads. Threads that may compute, the caller's among them: */
    leat_pool *pool;
    uint32_t (*pool_threads)(const leat_pool *pool);
    /* Runs fn(argument, 0..n_tasks) on the pool and waits. Tasks must not call parallel. When the
     * pool is busy with another caller, or has no workers, the caller runs all tasks itself. */
    void (*parallel)(leat_pool *pool, uint32_t n_tasks, leat_task_fn fn, void *argument);

    /* For prepare only. Memory that lives as long as the executable, 64-byte aligned, zeroed;
     * NULL when there is none. */
    void *(*plan_alloc)(leat_plan *plan, size_t bytes);
    /* For prepare only. A packed form of a constant, shared by all sessions of the model: the
     * first call with (value, key) allocates `bytes` (64-byte aligned) and runs fill, later ones
     * return the same block. On a device without host memory fill writes to host memory, and the
     * block is the device's copy of it. `key` tells packings of one value apart and must depend on
     * everything that fill depends on. */
    leat_status (*plan_pack)(leat_plan *plan, const leat_value *constant, uint64_t key,
                             size_t bytes, leat_pack_fn fill, const void *argument,
                             const void **out_block, leat_error *err);
    /* For prepare only. Never NULL; lives as long as the plan. */
    const leat_plan_options *(*plan_options)(const leat_plan *plan);
    /* For prepare only. Prepares the node in the best of at least one way: with a cache directory
     * (leat_session_desc) the fastest of a measurement, made now or kept by an earlier session;
     * otherwise the one of the least cost_ns. To measure, the host calls the ways' prepare with
     * plans that it drops, and launches their kernels on scratch data: any content of the node's
     * inputs must be valid. A way whose prepare fails then is passed over. */
    leat_status (*plan_choose)(leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                               size_t n_ways, leat_kernel *out_kernel, leat_error *err);
};

/* ------------------------------------------------------------------------------------------------
 * Kernel rows: a backend as a table of operators
 * --------------------------------------------------------------------------------------------- */

/* A node with its values, as a row's functions see it. */
struct leat_kernel_node {
    const leat_node *node;
    const leat_value *values;
};

/* What launch gets. Nothing here may be kept.
 * Shapes:   as in prepare. An omitted optional input or output is NULL. A constant input points
 *           at the constant. */
typedef struct leat_kernel_args {
    const void *const *inputs;
    void *const *outputs;
    void *workspace; /* leat_kernel.workspace_bytes, 64-byte aligned */
    void *stream;    /* the backend's stream; NULL on the CPU */
    leat_pool *pool;
    const leat_host *host;
} leat_kernel_args;

/* Result of prepare, zeroed by the host before: how to run one node at fixed shapes. */
struct leat_kernel {
    const char *name; /* static: "conv_f32_14x32_avx512" */
    /* Enqueues (device) or runs (CPU) the work. Never allocates, never blocks on a device.
     * NULL with view_of set: the output is the same bytes as an input. */
    leat_status (*launch)(const void *state, const leat_kernel_args *args, leat_error *err);
    const void *state; /* from plan_alloc */
    size_t workspace_bytes;
    int32_t view_of;        /* input index + 1 whose bytes output 0 is (Reshape...); 0: none */
    uint32_t inplace_mask;  /* bit i: output 0 may share its memory with input i */
    uint64_t flops;         /* arithmetic operations of one run; 0: not counted */
    uint32_t unread_mask;   /* bit i: launch does not read input i (packed, or read by prepare); a
                               constant is then not copied to the device, its pointer is NULL */
    int32_t not_capturable; /* 1: launch does more than to queue the same work each time (it looks
                               at host memory, or waits): no device graph is made of it */
};

typedef struct leat_op_row {
    const char *op;
    const char *domain;
    int32_t since; /* first opset served */
    int32_t until; /* last opset served; 0: no end */
    /* Bit d set: the first input (or, without inputs, the first output) may have dtype d. */
    uint64_t dtypes;
    leat_layout layout;
    /* Further conditions. Sets a reason in err for UNSUPPORTED. May be NULL: all is supported.
     * Dimensions may be negative (symbolic): answer for any size then. */
    leat_status (*supports)(const leat_kernel_node *node, leat_error *err);
    /* Chooses a kernel, packs weights. All dimensions are known.
     * Errors: UNSUPPORTED; NO_MEMORY; INVALID for a node that makes no sense. */
    leat_status (*prepare)(const leat_kernel_node *node, void *device, const leat_host *host,
                           leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
} leat_op_row;

/* ------------------------------------------------------------------------------------------------
 * The backend
 * --------------------------------------------------------------------------------------------- */

#define LEAT_BACKEND_HOST_MEMORY 1u /* device memory is host memory: no copies are needed */

/* What launch of an executable gets, inputs and outputs in the segment's order. */
typedef struct leat_launch {
    const void *const *inputs;
    void *const *outputs;
    void *workspace;
    void *stream;
    leat_pool *pool;
    uint64_t *node_ns; /* per node of the segment, to be added to; NULL unless profiling */
} leat_launch;

/* What an executable needs for launch. */
typedef struct leat_requirements {
    size_t workspace_bytes;
    size_t alignment;
    int32_t capturable; /* launch may be recorded into a device graph */
} leat_requirements;

typedef enum leat_copy_kind {
    LEAT_COPY_HOST_TO_DEVICE = 1,
    LEAT_COPY_DEVICE_TO_HOST = 2,
    LEAT_COPY_DEVICE_TO_DEVICE = 3
} leat_copy_kind;

/* Every function takes the instance that init made, or the device that device_open made. Unless
 * said otherwise calls on different devices may come from different threads at once. Functions
 * without a status cannot fail. */
typedef struct leat_backend {
    uint32_t abi;         /* LEAT_BACKEND_ABI of the header it was built with */
    uint32_t struct_size; /* sizeof(leat_backend) */
    const char *name;     /* "cpu", "cuda": devices are NAME or NAME:INDEX */
    const char *version;
    uint64_t features;     /* LEAT_BACKEND_* bits */
    const char *sanitizer; /* LEAT_BACKEND_SANITIZER: must equal the host's */

    leat_status (*init)(const leat_host *host, void **out_instance, leat_error *err);
    void (*shutdown)(void *instance);

    size_t (*device_count)(void *instance);
    leat_status (*device_info)(void *instance, size_t index, leat_device_properties *out_info,
                               leat_error *err);
    leat_status (*device_open)(void *instance, size_t index, void **out_device, leat_error *err);
    void (*device_close)(void *device);

    /* Device memory. NULL with LEAT_BACKEND_HOST_MEMORY: the host's allocator serves. */
    leat_status (*alloc)(void *device, size_t bytes, void **out_block, leat_error *err);
    void (*free)(void *device, void *block, size_t bytes);

    /* Queues, copies, events. All NULL with LEAT_BACKEND_HOST_MEMORY, where launch runs the work
     * before it returns. copy is ordered in the stream; stream_wait waits for all of it. */
    leat_status (*stream_create)(void *device, void **out_stream, leat_error *err);
    void (*stream_destroy)(void *device, void *stream);
    leat_status (*stream_wait)(void *device, void *stream, leat_error *err);
    leat_status (*copy)(void *device, void *stream, leat_copy_kind kind, void *target,
                        const void *source, size_t bytes, leat_error *err);
    leat_status (*event_create)(void *device, void **out_event, leat_error *err);
    void (*event_destroy)(void *device, void *event);
    leat_status (*event_record)(void *device, void *stream, void *event, leat_error *err);
    leat_status (*event_wait)(void *device, void *stream, void *event, leat_error *err);

    /* Kernel backends: the table; the five functions below are NULL then. */
    const leat_op_row *rows;
    size_t n_rows;

    /* Whole-graph backends. describe fills one answer per node of the segment. */
    leat_status (*describe)(void *device, const leat_segment *segment, leat_node_support *answers,
                            leat_error *err);
    leat_status (*compile)(void *device, const leat_segment *segment, leat_plan *plan,
                           void **out_executable, leat_error *err);
    leat_status (*executable_require)(void *executable, leat_requirements *out_requirements,
                                      leat_error *err);
    leat_status (*launch)(void *executable, const leat_launch *launch, leat_error *err);
    void (*executable_destroy)(void *executable);

    /* Optional: NULL when the backend cannot. */
    leat_status (*stream_wrap)(void *device, void *native, void **out_stream, leat_error *err);
    /* What a session that asks for `wanted` (BF16, F16, AUTO or TF32) gets from the device: BF16,
     * F16, F32 or, when asked for, TF32 when it computes so; MODEL when it cannot. Pure. NULL: F32
     * for AUTO and TF32, MODEL otherwise. */
    leat_precision (*precision)(void *device, leat_precision wanted);

    /* Device graphs. All four or none.
     *
     * Between capture_begin and capture_end the host queues on `stream` what a part of a run does
     * (copies between host_alloc's memory and the device's, launches), none of which is carried
     * out; capture_end makes a graph of it, which graph_launch queues as a whole as often as
     * wanted. All addresses stay as they were queued, so the host replays a graph only while they
     * hold.
     * Owns:     *out_graph is the caller's until graph_destroy, which is called when no launch of
     *           it is under way and before the stream is destroyed.
     * Threads:  one capture at a time per stream, by one thread, which calls nothing else of this
     *           device meanwhile. Other threads may allocate, free, launch and capture on streams
     *           of their own. A graph is launched on the stream that it was captured on.
     * Errors:   any: the host then goes on with plain launches, and captures that part no more.
     *           Every capture_begin that succeeded is followed by one capture_end, which leaves the
     *           stream as usable as before, with *out_graph NULL when it fails. Work that cannot be
     *           recorded may fail when it is queued, or let capture_end fail. */
    leat_status (*capture_begin)(void *device, void *stream, leat_error *err);
    leat_status (*capture_end)(void *device, void *stream, void **out_graph, leat_error *err);
    leat_status (*graph_launch)(void *device, void *stream, void *graph, leat_error *err);
    void (*graph_destroy)(void *device, void *graph);

    /* Host memory that the device reads and writes without a detour ("pinned"). Both or neither.
     * The host keeps what it copies to and from the device there, planned with the rest.
     * Errors:   NO_MEMORY: ordinary memory is used. */
    leat_status (*host_alloc)(void *device, size_t bytes, void **out_block, leat_error *err);
    void (*host_free)(void *device, void *block, size_t bytes);
    /* 1 when `copy` takes that host memory, the application's own, without a detour. Fast. */
    int32_t (*host_is_pinned)(void *device, const void *address, size_t bytes);

    /* stream_create for a queue whose work the device begins before that of others which waits as
     * well. NULL: all queues are alike. */
    leat_status (*stream_create_urgent)(void *device, void **out_stream, leat_error *err);
} leat_backend;

/* The sanitizer that this translation unit is built with; "" for none. */
#if defined(__SANITIZE_ADDRESS__)
#define LEAT_BACKEND_SANITIZER "address"
#elif defined(__SANITIZE_THREAD__)
#define LEAT_BACKEND_SANITIZER "thread"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAT_BACKEND_SANITIZER "address"
#elif __has_feature(thread_sanitizer)
#define LEAT_BACKEND_SANITIZER "thread"
#else
#define LEAT_BACKEND_SANITIZER ""
#endif
#else
#define LEAT_BACKEND_SANITIZER ""
#endif

/* The one symbol that a plugin exports. Pure. Returns NULL when it cannot serve `host_abi`. */
typedef const leat_backend *(*leat_backend_query_fn)(uint32_t host_abi);

/* ------------------------------------------------------------------------------------------------
 * Small helpers for backends
 * --------------------------------------------------------------------------------------------- */

/* The attribute of that name, or NULL. */
static inline const leat_attr *leat_node_attr(const leat_node *node, const char *name)
{
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        if (strcmp(node->attrs[i].name, name) == 0) {
            return &node->attrs[i];
        }
    }
    return NULL;
}

/* An int attribute, or `otherwise` when it is absent or of another type. */
static inline int64_t leat_node_int(const leat_node *node, const char *name, int64_t otherwise)
{
    const leat_attr *attr = leat_node_attr(node, name);
    return attr && attr->type == LEAT_ATTR_INT ? attr->u.i : otherwise;
}

/* A float attribute, or `otherwise`. */
static inline float leat_node_float(const leat_node *node, const char *name, float otherwise)
{
    const leat_attr *attr = leat_node_attr(node, name);
    return attr && attr->type == LEAT_ATTR_FLOAT ? attr->u.f : otherwise;
}

/* 1 when the node has a string attribute of that name that equals `text`. */
static inline int leat_node_string_is(const leat_node *node, const char *name, const char *text)
{
    const leat_attr *attr = leat_node_attr(node, name);
    return attr && attr->type == LEAT_ATTR_STRING && attr->u.s.bytes == strlen(text) &&
           memcmp(attr->u.s.data, text, attr->u.s.bytes) == 0;
}

/* A list of ints: *out_count elements, or NULL and 0 when absent. */
static inline const int64_t *leat_node_ints(const leat_node *node, const char *name,
                                            size_t *out_count)
{
    const leat_attr *attr = leat_node_attr(node, name);
    if (attr == NULL || attr->type != LEAT_ATTR_INTS) {
        *out_count = 0;
        return NULL;
    }
    *out_count = attr->count;
    return attr->u.ints;
}

/* Input or output i of a node; NULL when there is none. */
static inline const leat_value *leat_kernel_input(const leat_kernel_node *k, uint32_t i)
{
    if (i >= k->node->n_inputs || k->node->inputs[i] == LEAT_NO_VALUE) {
        return NULL;
    }
    return &k->values[k->node->inputs[i]];
}

static inline const leat_value *leat_kernel_output(const leat_kernel_node *k, uint32_t i)
{
    if (i >= k->node->n_outputs || k->node->outputs[i] == LEAT_NO_VALUE) {
        return NULL;
    }
    return &k->values[k->node->outputs[i]];
}

/* Elements of a value whose shape is known. */
static inline int64_t leat_value_count(const leat_value *value)
{
    int64_t count = 1;
    for (int32_t i = 0; i < value->rank; i++) {
        count *= value->shape[i];
    }
    return count;
}

#ifdef __cplusplus
}
#endif

#endif
