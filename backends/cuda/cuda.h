/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the CUDA plugin: devices and what rows need to make kernels. */
#ifndef LEAT_CUDA_CUDA_H
#define LEAT_CUDA_CUDA_H

#include "../gpu/params/common.h"
#include "driver.h"

#include <leat/backend.h>
#include <stdbool.h>

typedef struct lt_cuda_device {
    const leat_host *host;
    const lt_cuda_driver *cu;
    cu_device device;
    uint32_t processors; /* multiprocessors */
    int capability;      /* 90 for sm_90 */
    uint64_t memory_bytes;
    char description[96]; /* the GPU's name */
    char features[64];
    char reason[256];   /* why it cannot be used; "" when it can */
    cu_context context; /* the primary one, from device_open */
    cu_module module;
    cu_function copy_1, copy_4;    /* kernels for small copies by bytes and by words; NULL: none */
    struct lt_cuda_tensor *tensor; /* tensor.c's; NULL where the device has not what they need */
    struct lt_cuda_blaslt *blaslt; /* blaslt.c's */
    _Atomic uint32_t waiting;      /* blocks: lt_cuda_gemm_norm_may_wait's of all streams */
} lt_cuda_device;

struct lt_cuda_graph;

/* A queue, and the word in which its kernels report bad indices. */
typedef struct lt_cuda_stream {
    lt_cuda_device *device;
    cu_stream queue;
    bool wrapped;     /* the application's own queue */
    cu_event done;    /* for a wait that lets the thread sleep */
    uint32_t *faults; /* pinned; kernels write it, the host reads it after it waited */
    cu_address faults_address;
    struct lt_cuda_graph *last; /* launched and not waited for yet; NULL: none */
    uint64_t launched_ns;       /* when that was */
    cu_address counters;        /* counters.c's; 0: none */
    uint32_t n_counters;        /* taken by what is being recorded, or was last */
    bool records;               /* with counters */
    uint32_t waiting;           /* of the device's */
} lt_cuda_stream;

/* How many of a graph's latest times are kept. */
#define LT_CUDA_TIMES 8u

/* What was recorded, and how long after its launch it ended in the latest runs. */
typedef struct lt_cuda_graph {
    cu_graph_exec exec;
    lt_cuda_stream *stream; /* whose `last` it is; NULL: none */
    uint64_t times[LT_CUDA_TIMES];
    uint32_t n_times; /* so far */
} lt_cuda_graph;

/* The kernels' machine code for all devices, in the plugin's data. */
extern const unsigned char lt_cuda_kernels[];
/* Those of gemm/, for sm_90a alone. */
extern const unsigned char lt_cuda_gemm_f16_kernels[], lt_cuda_gemm_bf16_kernels[];
extern const unsigned char lt_cuda_gemm_i8_kernels[], lt_cuda_gemm_u8_kernels[];
extern const unsigned char lt_cuda_gemm_tf32_kernels[];

/* The table of all rows (rows.c) and how many there are. */
enum {
    LT_CUDA_N_ROWS = 0
#define CUDA_ROW(op, domain, since, until, dtypes, layout, supports, prepare) +1
#include "rows.def"
#undef CUDA_ROW
};
extern const leat_op_row lt_cuda_rows[LT_CUDA_N_ROWS];

/* device.c: functions of leat_backend. */
leat_status lt_cuda_device_read(lt_cuda_device *device, int ordinal, leat_error *err);
leat_status lt_cuda_device_start(lt_cuda_device *device, leat_error *err);
void lt_cuda_device_stop(lt_cuda_device *device);

leat_status lt_cuda_alloc(void *device, size_t bytes, void **out_block, leat_error *err);
void lt_cuda_free(void *device, void *block, size_t bytes);

/* stream.c */
leat_status lt_cuda_stream_create(void *device, void **out_stream, leat_error *err);
leat_status lt_cuda_stream_create_urgent(void *device, void **out_stream, leat_error *err);
leat_status lt_cuda_stream_wrap(void *device, void *native, void **out_stream, leat_error *err);
void lt_cuda_stream_destroy(void *device, void *stream);
leat_status lt_cuda_stream_wait(void *device, void *stream, leat_error *err);
leat_status lt_cuda_copy(void *device, void *stream, leat_copy_kind kind, void *target,
                         const void *source, size_t bytes, leat_error *err);
leat_status lt_cuda_event_create(void *device, void **out_event, leat_error *err);
void lt_cuda_event_destroy(void *device, void *event);
leat_status lt_cuda_event_record(void *device, void *stream, void *event, leat_error *err);
leat_status lt_cuda_event_wait(void *device, void *stream, void *event, leat_error *err);

/* wait.c: waits until the queue is empty; of a wrapped one, until what is in it by now has ended.
 */
cu_result lt_cuda_wait(lt_cuda_stream *stream);
/* For the wait that follows: this graph is being launched in the stream, or is about to go. */
void lt_cuda_wait_expect(lt_cuda_stream *stream, lt_cuda_graph *graph);
void lt_cuda_wait_forget(lt_cuda_graph *graph);

/* counters.c: counters of products that are recorded, each zero when its product begins. Without
 * memory for them there are none. */
void lt_cuda_counters_make(lt_cuda_stream *stream);
void lt_cuda_counters_free(lt_cuda_stream *stream);
void lt_cuda_counters_begin(lt_cuda_stream *stream);
/* Memory for a product's workspace of so many bytes that the library sets to zero itself; NULL
 * where nothing is recorded, or it needs more than a counter. */
void *lt_cuda_counters_take(lt_cuda_stream *stream, size_t bytes);
/* Ends it: what sets counters to zero in the graph becomes one node at its beginning. On an error
 * the graph is not to be used. */
cu_result lt_cuda_counters_end(lt_cuda_stream *stream, cu_graph graph);

/* graph.c */
leat_status lt_cuda_capture_begin(void *device, void *stream, leat_error *err);
leat_status lt_cuda_capture_end(void *device, void *stream, void **out_graph, leat_error *err);
leat_status lt_cuda_graph_launch(void *device, void *stream, void *graph, leat_error *err);
void lt_cuda_graph_destroy(void *device, void *graph);
leat_status lt_cuda_host_alloc(void *device, size_t bytes, void **out_block, leat_error *err);
void lt_cuda_host_free(void *device, void *block, size_t bytes);
int32_t lt_cuda_host_is_pinned(void *device, const void *address, size_t bytes);

/* ------------------------------------------------------------------------------------------------
 * Launches (launch.c): a node is a list of kernels, each with a parameter struct whose pointers are
 * filled in at every run
 * --------------------------------------------------------------------------------------------- */

typedef enum lt_cuda_source {
    LT_CUDA_INPUT = 0,
    LT_CUDA_OUTPUT,
    LT_CUDA_WORKSPACE,
    LT_CUDA_FAULTS /* the stream's word for bad indices */
} lt_cuda_source;

/* A pointer in the parameters: at `offset` of the struct, input or output `index` plus `bytes`. */
typedef struct lt_cuda_pointer {
    uint32_t offset;
    lt_cuda_source source;
    uint32_t index;
    int64_t bytes;
} lt_cuda_pointer;

#define LT_CUDA_MAX_POINTERS 16
#define LT_CUDA_MAX_PARAMETERS 2048

typedef struct lt_cuda_launch {
    const char *kernel; /* name in the module */
    uint32_t grid[3];
    uint32_t block; /* threads; 0: LT_GPU_THREADS */
    const void *parameters;
    size_t parameter_bytes;
    uint32_t n_pointers;
    lt_cuda_pointer pointers[LT_CUDA_MAX_POINTERS];
} lt_cuda_launch;

/* What a row's prepare is building. */
typedef struct lt_cuda_builder {
    const leat_kernel_node *node;
    const lt_cuda_device *device;
    const leat_host *host;
    leat_plan *plan;
    leat_kernel *kernel;
    leat_error *err;
    struct lt_cuda_steps *steps;
} lt_cuda_builder;

/* Begins a node of at most `capacity` launches.
 * Errors:   NO_MEMORY. */
leat_status lt_cuda_begin(lt_cuda_builder *b, const leat_kernel_node *node, void *device,
                          const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                          uint32_t capacity, leat_error *err);

/* Writes "lt_gpu_FAMILY_SUFFIX". `out` has 64 bytes and may go after lt_cuda_add. */
void lt_cuda_kernel_name(char *out, const char *family, const char *suffix);

/* Blocks for threads that take 16 bytes of such elements at a time. */
uint32_t lt_cuda_blocks(const lt_cuda_builder *b, int64_t count, leat_dtype dtype);
/* Blocks that take an item each, as many as are worth having. */
uint32_t lt_cuda_item_blocks(const lt_cuda_builder *b, int64_t items);

/* Adds a launch; copies what it points to.
 * Errors:   NO_MEMORY; UNSUPPORTED when the module has no such kernel. */
leat_status lt_cuda_add(lt_cuda_builder *b, const lt_cuda_launch *launch);

/* Adds a launch that transposes `batch` matrices of rows x columns (movement.c). The offsets of
 * `from` and `to` are set here. */
leat_status lt_cuda_add_transpose(lt_cuda_builder *b, int64_t batch, int64_t rows, int64_t columns,
                                  leat_dtype dtype, lt_cuda_pointer from, lt_cuda_pointer to);

/* Adds a launch that normalizes the rows of output 0 in place, by inputs `scale` and `bias`
 * (norm.c). */
leat_status lt_cuda_add_norm(lt_cuda_builder *b, float epsilon, uint32_t scale, uint32_t bias);

/* ------------------------------------------------------------------------------------------------
 * What rows share (shape.c)
 * --------------------------------------------------------------------------------------------- */

#define LT_CUDA_T(name) (1ull << LEAT_DTYPE_##name)
#define LT_CUDA_HALVES (LT_CUDA_T(F16) | LT_CUDA_T(BF16))
#define LT_CUDA_BYTES (LT_CUDA_T(U8) | LT_CUDA_T(I8))
#define LT_CUDA_FLOATS (LT_CUDA_T(F32) | LT_CUDA_HALVES)
/* Types that the kernels compute in, and those that Cast knows. */
#define LT_CUDA_ARITHMETIC (LT_CUDA_FLOATS | LT_CUDA_T(I32) | LT_CUDA_T(I64) | LT_CUDA_T(U8))
#define LT_CUDA_CASTABLE (LT_CUDA_ARITHMETIC | LT_CUDA_T(I8) | LT_CUDA_T(BOOL))
/* Every type of whole bytes that only has to be moved. */
#define LT_CUDA_MOVABLE                                                                            \
    (LT_CUDA_FLOATS | LT_CUDA_T(F64) | LT_CUDA_T(U8) | LT_CUDA_T(I8) | LT_CUDA_T(U16) |            \
     LT_CUDA_T(I16) | LT_CUDA_T(I32) | LT_CUDA_T(I64) | LT_CUDA_T(BOOL) | LT_CUDA_T(U32) |         \
     LT_CUDA_T(U64))

/* Bytes of an element of a type in LT_CUDA_MOVABLE. */
uint32_t lt_cuda_element_bytes(leat_dtype dtype);

/* The end of the name of a kernel that moves elements of this size: "1", "2", "4", "8". */
const char *lt_cuda_by_bytes(leat_dtype dtype);

/* "f32", "f16", "bf16", "i32", "i64", "u8" (bool, too); NULL for others. */
const char *lt_cuda_type_name(leat_dtype dtype);

/* Errors:   UNSUPPORTED for a value of more than 8 dimensions or 2^31 - 1 elements (unknown
 *           dimensions count as 1). */
leat_status lt_cuda_fits(const leat_kernel_node *node, leat_error *err);

/* Dimensions of `n` arrays that are walked together, strides in elements: size-1 dimensions go,
 * neighbours that are dense with each other in all arrays are merged. */
typedef struct lt_cuda_walk {
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    int64_t strides[4][LEAT_MAX_RANK];
} lt_cuda_walk;

/* Strides of `value` as a contiguous tensor broadcast to `shape`; false when it cannot be. */
bool lt_cuda_broadcast(const leat_value *value, int32_t rank, const int64_t *shape,
                       int64_t *out_strides);
void lt_cuda_walk_merge(lt_cuda_walk *walk, int n);
/* False when more than LT_GPU_MAX_RANK dimensions are left. */
bool lt_cuda_walk_index(const lt_cuda_walk *walk, lt_gpu_index *out_index);

/* The `activation` attribute of a node of the domain leat; identity when there is none. False for
 * one that is not known. */
bool lt_cuda_activation(const leat_node *node, lt_gpu_activation *out);

/* The input that is added before the activation; -1 when the node has no `residual`. */
int32_t lt_cuda_residual_input(const leat_node *node);
/* Input 2 as the bias: -1 when it is absent or the residual. */
int32_t lt_cuda_bias_input(const leat_kernel_node *node);

/* Whether a product's factors (inputs 0 and 1) are of one type, that of a `compute` attribute where
 * there is one, and bias, residual and output of that type, too, or with a half type of f32. */
bool lt_cuda_product_types(const leat_kernel_node *node);

/* Elements of a constant i32 or i64 input, at most LEAT_MAX_RANK; -1 when it is absent, -2 when it
 * is not known or of another type. */
int64_t lt_cuda_ints(const leat_kernel_node *node, uint32_t input, int64_t *out);

#endif
