/* SPDX-License-Identifier: Apache-2.0 */
/* leat: an embeddable runtime for ONNX models.
 *
 * Four calls lead from a file to a result:
 *
 *     leat_context_create  ->  leat_model_load  ->  leat_session_create  ->  leat_session_run
 *
 * Conventions that hold for every declaration below:
 *   - A call that can fail returns leat_status and takes a leat_error* as its last argument. The
 *     error may be NULL. On failure every out parameter is NULL or zero (a report's struct_size
 *     stays) and nothing is leaked.
 *   - Descriptors start with struct_size = sizeof(the struct); all other fields may be zero, which
 *     asks for the default. Passing NULL for a descriptor asks for all defaults.
 *   - A child (model, session, tensor, stream) borrows its parent, which must outlive it.
 *   - destroy(NULL) does nothing.
 *   - The library never prints, exits or aborts, and has no global mutable state.
 */
#ifndef LEAT_LEAT_H
#define LEAT_LEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_VERSION_MAJOR 0
#define LEAT_VERSION_MINOR 1
#define LEAT_VERSION_PATCH 0

/* Highest tensor rank; a model with more dimensions is refused as UNSUPPORTED. */
#define LEAT_MAX_RANK 8

#if defined(__GNUC__)
#define LEAT_API __attribute__((visibility("default")))
#define LEAT_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LEAT_API
#define LEAT_MUST_CHECK
#endif

/* ------------------------------------------------------------------------------------------------
 * Status, types, arrays
 * --------------------------------------------------------------------------------------------- */

typedef enum leat_status {
    LEAT_OK = 0,
    LEAT_INVALID,     /* an argument, or the order of calls, is wrong */
    LEAT_NO_MEMORY,   /* the allocator returned NULL */
    LEAT_NOT_FOUND,   /* no such file, backend, device or name */
    LEAT_IO,          /* the operating system could not read or write */
    LEAT_CORRUPT,     /* a file is not what it claims to be */
    LEAT_UNSUPPORTED, /* a valid model asks for an operator, type or version that leat lacks */
    LEAT_LIMIT,       /* a memory budget or a built-in bound would be exceeded */
    LEAT_NO_DEVICE,   /* a device that was asked for cannot be opened; the message says why */
    LEAT_DEVICE_LOST, /* a device failed while in use; its sessions are unusable */
    LEAT_BUSY,        /* the object is running something else */
    LEAT_CANCELLED,   /* a progress callback asked to stop */
    LEAT_TIMEOUT,     /* the time allowed has passed; the work goes on */
    LEAT_INTERNAL,    /* a defect in leat: please report it */
    LEAT_EXPIRED      /* a request's deadline passed, or would, before it is complete */
} leat_status;

/* Filled by a call that fails. Owned by the caller; holds no pointers. */
typedef struct leat_error {
    leat_status status;
    char message[252]; /* what went wrong, where, what to do; always terminated */
} leat_error;

/* Element types. The values are those of ONNX's TensorProto.DataType. */
typedef enum leat_dtype {
    LEAT_DTYPE_UNDEFINED = 0,
    LEAT_DTYPE_F32 = 1,
    LEAT_DTYPE_U8 = 2,
    LEAT_DTYPE_I8 = 3,
    LEAT_DTYPE_U16 = 4,
    LEAT_DTYPE_I16 = 5,
    LEAT_DTYPE_I32 = 6,
    LEAT_DTYPE_I64 = 7,
    LEAT_DTYPE_STRING = 8, /* elements are leat_string */
    LEAT_DTYPE_BOOL = 9,   /* one byte, 0 or 1 */
    LEAT_DTYPE_F16 = 10,
    LEAT_DTYPE_F64 = 11,
    LEAT_DTYPE_U32 = 12,
    LEAT_DTYPE_U64 = 13,
    LEAT_DTYPE_C64 = 14,
    LEAT_DTYPE_C128 = 15,
    LEAT_DTYPE_BF16 = 16,
    LEAT_DTYPE_F8E4M3FN = 17,
    LEAT_DTYPE_F8E4M3FNUZ = 18,
    LEAT_DTYPE_F8E5M2 = 19,
    LEAT_DTYPE_F8E5M2FNUZ = 20,
    LEAT_DTYPE_U4 = 21,     /* two elements a byte, the first in the low bits */
    LEAT_DTYPE_I4 = 22,     /* two elements a byte, the first in the low bits */
    LEAT_DTYPE_F4E2M1 = 23, /* two elements a byte, the first in the low bits */
    LEAT_DTYPE_F8E8M0 = 24,
    LEAT_DTYPE_U2 = 25,    /* four elements a byte, the first in the low bits */
    LEAT_DTYPE_I2 = 26,    /* four elements a byte, the first in the low bits */
    LEAT_DTYPE_COUNT = 27, /* element types that a tensor can have lie below */
    /* Not tensors. An array of these has rank 1; its elements are leat_array, each with data of its
     * own: the two of a map, keys (i64 or string, none twice, in any order) and values, vectors of
     * one length; the tensors of a sequence; or the 0 or 1 values (tensors or sequences) of an
     * optional. Outputs that pass an input's elements on point at the caller's data. */
    LEAT_DTYPE_MAP = 29,
    LEAT_DTYPE_SEQUENCE = 30,
    LEAT_DTYPE_OPTIONAL = 31
} leat_dtype;

/* A counted string; not terminated. */
typedef struct leat_string {
    const char *data;
    size_t bytes;
} leat_string;

/* A dense row-major array in host memory, usually on the caller's stack.
 * Shapes:   shape[0..rank) in elements; rank 0 is a scalar of one element.
 * Units:    bytes is the size of the storage at data.
 * Owns:     nothing; data belongs to whoever made the array. */
typedef struct leat_array {
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    void *data;
    size_t bytes;
} leat_array;

/* Version of the library that is running, as major * 10000 + minor * 100 + patch.
 * Threads:  any. */
LEAT_API uint32_t leat_version(void);

/* English name of a status, such as "no device"; never NULL, static storage.
 * Threads:  any. */
LEAT_API const char *leat_status_text(leat_status status);

/* Lower-case name of a type, such as "f32" or "i64"; "undefined" for an unknown value.
 * Threads:  any. */
LEAT_API const char *leat_dtype_name(leat_dtype dtype);

/* Bytes that `count` elements of a type take, rounded up to whole bytes; 0 for an undefined type
 * or when the product overflows. A string counts as one leat_string.
 * Threads:  any. */
LEAT_API size_t leat_dtype_bytes(leat_dtype dtype, size_t count);

/* ------------------------------------------------------------------------------------------------
 * Context
 * --------------------------------------------------------------------------------------------- */

typedef struct leat_context leat_context;
typedef struct leat_model leat_model;
typedef struct leat_session leat_session;
typedef struct leat_tensor leat_tensor;
typedef struct leat_stream leat_stream;

/* Where all of leat's memory comes from.
 * Units:    bytes and alignment in bytes; alignment is a power of two of at most 4096.
 * Owns:     the struct is copied; `user` must outlive the context.
 * Threads:  both functions are called from any thread, possibly at once.
 * Errors:   alloc returns NULL when out of memory. */
typedef struct leat_allocator {
    void *(*alloc)(void *user, size_t bytes, size_t alignment);
    void (*free)(void *user, void *block, size_t bytes); /* bytes as asked for; block non-NULL */
    void *user;
} leat_allocator;

typedef enum leat_log_level {
    LEAT_LOG_ERROR = 1,
    LEAT_LOG_WARNING = 2,
    LEAT_LOG_INFO = 3,
    LEAT_LOG_DEBUG = 4
} leat_log_level;

/* Receives one line without a line end. Called from any thread; must not call leat. */
typedef void (*leat_log_fn)(void *user, leat_log_level level, const char *line);

typedef struct leat_context_desc {
    size_t struct_size;
    const leat_allocator *allocator; /* NULL: the C library's; copied */
    leat_log_fn log;                 /* NULL: nothing is logged */
    void *log_user;
    leat_log_level log_level; /* 0: LEAT_LOG_WARNING */
    int32_t threads;          /* threads that compute, the caller's among them; 1: no worker is
                                 ever made; 0: one per core this process may run on */
    int32_t spin_us;          /* microseconds that a worker without work, or a run that waits for
                                 workers, polls before it sleeps; 0: 200; negative: none */
    const char *plugin_directory; /* where plugins named without a slash are looked for;
                                     NULL: the installed directory */
    uint64_t memory_budget;       /* bytes that may be live at once; 0: no bound */
} leat_context_desc;

/* Creates a context: allocator, log, worker threads, devices. The CPU backend is always there.
 * Owns:     *out_context is the caller's, destroyed last by leat_context_destroy.
 * Threads:  any; contexts are independent. Creating and destroying children is safe from any
 *           thread.
 * Errors:   INVALID for a bad descriptor; NO_MEMORY; IO when a thread cannot be made. */
LEAT_API leat_status leat_context_create(const leat_context_desc *desc, leat_context **out_context,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Ends the workers and frees everything. All children must be destroyed already.
 * Threads:  no other call on this context may be under way. */
LEAT_API void leat_context_destroy(leat_context *context);

/* Loads a backend plugin: a path when it has a slash, else NAME looked for as libleat_NAME.so in
 * the plugin directory. Version, structure size and sanitizer are checked before any of the
 * plugin's code acts. Loading one that is loaded already does nothing.
 * Owns:     the context owns the plugin; it is never unloaded once a device was opened.
 * Threads:  any.
 * Errors:   NOT_FOUND; UNSUPPORTED for another ABI; NO_DEVICE with the plugin's own reason. */
LEAT_API leat_status leat_context_load_backend(leat_context *context, const char *path_or_name,
                                               leat_error *err) LEAT_MUST_CHECK;

/* Returns cached memory (the plans and workspaces of sessions that do not run now) to the system;
 * they are made again when needed. Output buffers that a session gave out stay.
 * Threads:  any; sessions that run go on. */
LEAT_API void leat_context_trim(leat_context *context);

/* Memory that the context and its children hold.
 * Units:    bytes. */
typedef struct leat_memory_info {
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t live_blocks;
    uint64_t allocations; /* calls of the allocator since the context was created */
} leat_memory_info;

/* Reads the counters of the context's allocator.
 * Threads:  any. */
LEAT_API void leat_context_memory(const leat_context *context, leat_memory_info *out_info);

/* ------------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

typedef enum leat_device_kind {
    LEAT_DEVICE_CPU = 1,
    LEAT_DEVICE_GPU = 2,
    LEAT_DEVICE_ACCELERATOR = 3,
    LEAT_DEVICE_REMOTE = 4
} leat_device_kind;

/* Owns:     the strings live as long as the context. */
typedef struct leat_device_properties {
    size_t struct_size; /* set by the caller */
    const char *name;   /* what leat_session_desc takes: "cpu", "cuda:0" */
    const char *description;
    leat_device_kind kind;
    uint64_t memory_bytes; /* total; 0 when not known */
    const char *features;  /* such as "avx512f avx512vnni"; never NULL */
    int32_t available;     /* 1 when it can be opened */
    const char *reason;    /* why it cannot, and what to install; "" when it can */
} leat_device_properties;

/* Number of devices of all loaded backends, those that cannot be opened among them.
 * Threads:  any. */
LEAT_API size_t leat_device_count(const leat_context *context);

/* Describes device `index`.
 * Threads:  any.
 * Errors:   INVALID for an index out of range. */
LEAT_API leat_status leat_device_info(const leat_context *context, size_t index,
                                      leat_device_properties *out_info,
                                      leat_error *err) LEAT_MUST_CHECK;

/* ------------------------------------------------------------------------------------------------
 * Models
 * --------------------------------------------------------------------------------------------- */

/* Supplies external data of a model that is loaded from memory.
 * `location` is the file name that the model gives; offset and bytes say which part. The function
 * writes all of it to `out` and returns LEAT_OK, or fails the load with another status.
 * Threads:  called from within leat_model_load_memory only. */
typedef leat_status (*leat_external_data_fn)(void *user, const char *location, uint64_t offset,
                                             void *out, size_t bytes);

typedef struct leat_model_desc {
    size_t struct_size;
    leat_external_data_fn external_data; /* load_memory only; NULL: external data is refused */
    void *external_data_user;
    int32_t no_optimization; /* 1: keep the graph as it was written (for inspection and tests) */
} leat_model_desc;

/* Loads an ONNX file, opset 7 or newer (older ones as far as their operators still mean the same),
 * IR version 3 or newer. Weights stay in the mapped file until a session packs them; the file must
 * not change while the model lives. External data is read from regular files in the model's own
 * directory or below it, never through links.
 * Owns:     *out_model is the caller's; borrows the context.
 * Threads:  any.
 * Errors:   NOT_FOUND, IO; CORRUPT with the file offset; UNSUPPORTED with the operator or version;
 *           LIMIT; NO_MEMORY. */
LEAT_API leat_status leat_model_load(leat_context *context, const char *path,
                                     const leat_model_desc *desc, leat_model **out_model,
                                     leat_error *err) LEAT_MUST_CHECK;

/* Loads an ONNX model from memory.
 * Owns:     `data` is borrowed and must live, unchanged, as long as the model.
 * Otherwise as leat_model_load. */
LEAT_API leat_status leat_model_load_memory(leat_context *context, const void *data, size_t bytes,
                                            const leat_model_desc *desc, leat_model **out_model,
                                            leat_error *err) LEAT_MUST_CHECK;

/* One input or output of a model.
 * Shapes:   shape[i] is -1 when the dimension is symbolic or unknown; dim_names[i] is then its
 *           symbol, or NULL. rank is -1 when not even the rank is known. */
typedef struct leat_io {
    const char *name;
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    const char *dim_names[LEAT_MAX_RANK];
} leat_io;

/* What goes into a model and comes out of it, in the order that leat_session_run uses.
 * Owns:     everything lives as long as the model. */
typedef struct leat_model_signature {
    size_t n_inputs;
    const leat_io *inputs;
    size_t n_outputs;
    const leat_io *outputs;
} leat_model_signature;

/* The model's inputs (those without a default value) and outputs; never NULL.
 * Threads:  any. */
LEAT_API const leat_model_signature *leat_model_io(const leat_model *model);

typedef struct leat_model_save_desc {
    size_t struct_size;
    uint64_t external_threshold; /* bytes from which a weight goes to a file beside the model;
                                    0: only when the model would pass 2 GB */
} leat_model_save_desc;

/* Writes the model as ONNX, weights above the threshold to PATH.HASH.data beside it, HASH being 16
 * digits that depend on their content. Both files are complete on the disk before the model of that
 * name is replaced: a reader sees the old model or the new one, each with its own data, also after
 * a crash. On failure the old one stays and nothing is left behind. The data file of a model that
 * this function wrote there before is removed; saving the same path from several threads at once is
 * safe but may leave such a file.
 * Threads:  any.
 * Errors:   IO; NO_MEMORY; LIMIT when a model above 2 GB has no external data; UNSUPPORTED for
 *           models with maps, sequences or optionals as inputs or outputs, or with If, Loop or Scan
 *           in a function that imports another version of ai.onnx than the model. */
LEAT_API leat_status leat_model_save(const leat_model *model, const char *path,
                                     const leat_model_save_desc *desc,
                                     leat_error *err) LEAT_MUST_CHECK;

/* Frees the model. Its sessions, batchers, sequences and quantizers must be destroyed already.
 * Threads:  no other call on this model may be under way. */
LEAT_API void leat_model_destroy(leat_model *model);

/* ------------------------------------------------------------------------------------------------
 * Sessions
 * --------------------------------------------------------------------------------------------- */

/* What happens to a node that no listed device can run. */
typedef enum leat_fallback {
    LEAT_FALLBACK_NONE = 0, /* leat_session_create fails and names the node */
    LEAT_FALLBACK_CPU = 1   /* it runs on the CPU; the report says so */
} leat_fallback;

/* Type that an f32 model's matrix products and convolutions may use for their factors and for what
 * they hand on to each other. Sums, normalisations, softmax and other functions are f32 always, as
 * are the model's inputs and outputs; weights are converted once. */
typedef enum leat_precision {
    LEAT_PRECISION_MODEL = 0, /* as the model says */
    LEAT_PRECISION_F32 = 1,
    LEAT_PRECISION_BF16 = 2, /* 8 bits of precision: results differ in the third digit or so */
    LEAT_PRECISION_F16 = 3,  /* 11 bits, but nothing above 65504 */
    LEAT_PRECISION_AUTO = 4, /* BF16 or F16 where the device multiplies it faster, else F32 */
    LEAT_PRECISION_TF32 = 5  /* F32, but products and convolutions may round their factors to TF32:
                                11 bits in the range of f32, each factor off by at most 2^-11 of
                                itself, a product of two by 2^-10. Nothing is stored so. Devices
                                without it compute in F32 */
} leat_precision;

/* Told of long work: `done` of `total` units of `stage`. Returning non-zero cancels it. Runs call
 * it too, ten times a second at most, from Loop and Scan nodes ("loop", in iterations), on the
 * thread that runs. */
typedef int (*leat_progress_fn)(void *user, const char *stage, uint64_t done, uint64_t total);

typedef struct leat_session_desc {
    size_t struct_size;
    const char *const *devices; /* names in order of preference; NULL: the CPU */
    size_t n_devices;
    leat_fallback fallback;
    leat_precision precision;
    uint32_t max_plans; /* plans kept, one per set of input shapes; 0: 16 */
    const char
        *cache_directory; /* of an existing directory: where a node can be computed in
                             several ways (algorithms of a convolution, tiles of a product
                             on a GPU), plans measure them, telling progress of each
                             ("tune", of the ways of one node), and keep the results in its file
                             leat-tuning.txt, for later sessions on the same kind of machine. A
                             damaged file is ignored and replaced; one that cannot be written is a
                             warning in the log. NULL: ways are chosen by estimates, which loads
                             faster and always gives the same choice */
    leat_progress_fn progress;
    void *progress_user;
    int32_t profile;          /* 1: time every node (leat_session_report's last_ns); 2: time copies
                                 and work of devices apart (its h2d_ns ... d2h_ns), which makes runs
                                 slower, for each is waited for */
    int32_t plain_algorithms; /* 1: convolutions and matrix products by their definition only: no
                                 algorithm (Winograd, Strassen) whose rounding error is larger */
    int32_t no_graphs;        /* 1: devices that can record the work of a run and replay it as a
                                    whole ("graphs") do not; it is queued anew in every run */
    int32_t urgent;           /* 1: devices that can begin this session's work before that of other
                                 sessions which waits as well (CUDA: a stream of the highest
                                 priority) */
} leat_session_desc;

/* Prepares a model to run on devices. Sessions of one model share its weights and are cheap.
 * Owns:     *out_session is the caller's; borrows the model. Strings in desc are copied.
 * Threads:  any.
 * Errors:   NO_DEVICE for a device that cannot be opened (never a silent fall to the CPU);
 *           UNSUPPORTED naming the node; UNSUPPORTED for a precision no device has; CANCELLED;
 *           NO_MEMORY; LIMIT. */
LEAT_API leat_status leat_session_create(leat_model *model, const leat_session_desc *desc,
                                         leat_session **out_session,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Runs once and waits.
 * Shapes:   inputs in the model's order, every one given unless bound; the first run with new
 *           shapes makes a plan, later ones reuse it and allocate nothing, except for the elements
 *           of sequences and optionals. The bodies of If, Loop and Scan have plans of their own,
 *           max_plans each.
 * Owns:     inputs are only read. An output whose data is not NULL is written there (bytes must
 *           suffice, and it must not overlap an input but for the next sentence); otherwise, and
 *           also when it still points at what the last run gave out, it points into the session's
 *           memory, valid until its next run; sequences and optionals always do so. An output that
 *           begins where an input does is written over it, if the model's last reader of the input
 *           makes that output and can do so in place: a cache given as both is appended to by
 *           TensorScatter without a copy. dtype, rank, shape and bytes of every output are set.
 * Threads:  one run at a time per session; sessions of one model may run together.
 * Errors:   INVALID for a wrong count, type or shape, for a buffer that is too small or overlaps
 *           an input but may not; UNSUPPORTED; NO_MEMORY; BUSY when the session runs already;
 *           DEVICE_LOST; CANCELLED by the progress callback during a loop; LIMIT after 2^28
 *           iterations of loops in a run without one. */
LEAT_API leat_status leat_session_run(leat_session *session, const leat_array *inputs,
                                      size_t n_inputs, leat_array *outputs, size_t n_outputs,
                                      leat_error *err) LEAT_MUST_CHECK;

/* Binds a tensor to the input or output of that name, or unbinds it (tensor NULL). A bound input
 * need not be passed to leat_session_run: its array may have data NULL, and with all inputs (all
 * outputs) bound their arrays may be left out, n_inputs (n_outputs) being 0.
 * Owns:     the tensor is borrowed until it is unbound or the session destroyed.
 * Threads:  not while the session runs.
 * Errors:   NOT_FOUND for the name; INVALID for another dtype or rank. */
LEAT_API leat_status leat_session_bind(leat_session *session, const char *name, leat_tensor *tensor,
                                       leat_error *err) LEAT_MUST_CHECK;

/* Called once when a submitted run has ended, on a thread of the stream. It may submit again but
 * must not wait on, or destroy, the stream. `error` is NULL when all went well. */
typedef void (*leat_done_fn)(void *user, leat_status status, const leat_error *error);

/* Queues a run on a stream and returns at once. Runs of one stream go in order.
 * Owns:     the input arrays are copied, their data is borrowed until done; `outputs` is written
 *           before done is called and must live until then.
 * Threads:  any; runs of one session must all be on one stream.
 * Errors:   INVALID; NO_MEMORY; everything else arrives at `done`. */
LEAT_API leat_status leat_session_submit(leat_session *session, leat_stream *stream,
                                         const leat_array *inputs, size_t n_inputs,
                                         leat_array *outputs, size_t n_outputs, leat_done_fn done,
                                         void *done_user, leat_error *err) LEAT_MUST_CHECK;

/* Makes (and tunes) the plan for these input shapes before the first run; data is read only where
 * a shape depends on it, and may be NULL otherwise. Where a shape depends on a value that the model
 * computes, the plan ends there and the rest is made by the first run.
 * Threads:  as leat_session_run.
 * Errors:   as leat_session_run; CANCELLED. */
LEAT_API leat_status leat_session_warm(leat_session *session, const leat_array *inputs,
                                       size_t n_inputs, leat_error *err) LEAT_MUST_CHECK;

/* Where one node of the optimised graph runs, and why.
 * Owns:     strings live until the session's next run, warm or destroy. */
typedef struct leat_node_report {
    const char *name; /* the node's own name, or its first output's */
    const char *op;   /* such as "Conv"; fused parts appended: "Conv+Relu" */
    const char *device;
    const char *kernel;    /* such as "conv_f32_14x32_avx512" */
    const char *reason;    /* why this device, or why not the one preferred */
    uint64_t bytes;        /* of inputs, weights and outputs; of a gathered one what is taken */
    uint64_t flops;        /* 0 when not counted */
    uint64_t last_ns;      /* nanoseconds of the last run; 0 without profile */
    const char *shapes;    /* of the inputs with two dimensions or more, and of the first output:
                              "1x64x56x56, 64x64x3x3 -> 1x64x56x56" */
    uint64_t weight_bytes; /* the part of bytes that is constants */
    const char *types;     /* as stored, of the first input and the first output: "bf16 -> f32" */
} leat_node_report;

typedef struct leat_plan_report {
    size_t struct_size; /* set by the caller */
    size_t n_nodes;
    const leat_node_report *nodes;
    uint64_t workspace_bytes; /* planned memory of intermediate values */
    uint64_t output_bytes;    /* the session's own output buffers */
    uint64_t weight_bytes;    /* packed weights, shared by the model's sessions */
    uint64_t n_plans;
    /* Nanoseconds of the last run on devices with memory of their own, with profile 2; else 0. */
    uint64_t h2d_ns;     /* copies to devices */
    uint64_t enqueue_ns; /* the host's part of launching */
    uint64_t compute_ns; /* from the first launch until all is done: enqueue_ns is within */
    uint64_t d2h_ns;     /* copies from devices */
} leat_plan_report;

/* Describes the plan of the last run or warm.
 * Threads:  not while the session runs.
 * Errors:   INVALID before the first run or warm. */
LEAT_API leat_status leat_session_report(leat_session *session, leat_plan_report *out_report,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Frees the session. No run may be under way, none may wait on a stream. */
LEAT_API void leat_session_destroy(leat_session *session);

/* ------------------------------------------------------------------------------------------------
 * Tensors: memory on a device, to be bound to sessions
 * --------------------------------------------------------------------------------------------- */

/* Allocates an uninitialised tensor on a device ("cpu", "cuda:0").
 * Owns:     *out_tensor is the caller's; borrows the context.
 * Threads:  any.
 * Errors:   INVALID shape or type; NO_DEVICE; NO_MEMORY; LIMIT. */
LEAT_API leat_status leat_tensor_create(leat_context *context, const char *device, leat_dtype dtype,
                                        int32_t rank, const int64_t *shape,
                                        leat_tensor **out_tensor, leat_error *err) LEAT_MUST_CHECK;

/* Wraps memory that the caller owns: host memory for "cpu", device memory otherwise.
 * Owns:     array->data is borrowed as long as the tensor lives.
 * Otherwise as leat_tensor_create. */
LEAT_API leat_status leat_tensor_wrap(leat_context *context, const char *device,
                                      const leat_array *array, leat_tensor **out_tensor,
                                      leat_error *err) LEAT_MUST_CHECK;

/* Host view of a tensor in host memory.
 * Owns:     the view is valid as long as the tensor.
 * Threads:  any; what runs and copies do with the data meanwhile is the caller's to order.
 * Errors:   UNSUPPORTED when the device's memory cannot be addressed by the host. */
LEAT_API leat_status leat_tensor_map(leat_tensor *tensor, leat_array *out_array,
                                     leat_error *err) LEAT_MUST_CHECK;

/* Type, shape and bytes; data is the device address, not to be read by the host.
 * Threads:  any. */
LEAT_API void leat_tensor_info(const leat_tensor *tensor, leat_array *out_array);

/* Copies all of `source` to `target` (same dtype and bytes), across devices, and waits.
 * Threads:  any, but not while a run writes either or reads `target`.
 * Errors:   INVALID for a mismatch; DEVICE_LOST. */
LEAT_API leat_status leat_tensor_copy(leat_tensor *target, const leat_tensor *source,
                                      leat_error *err) LEAT_MUST_CHECK;

/* Frees the tensor, and its memory unless that was wrapped. It must be bound to no session.
 * Threads:  no other call on this tensor may be under way. */
LEAT_API void leat_tensor_destroy(leat_tensor *tensor);

/* ------------------------------------------------------------------------------------------------
 * Streams: queues of submitted runs
 * --------------------------------------------------------------------------------------------- */

/* Creates a queue on a device.
 * Owns:     *out_stream is the caller's; borrows the context.
 * Threads:  any.
 * Errors:   NO_DEVICE; NO_MEMORY; IO when a thread cannot be made. */
LEAT_API leat_status leat_stream_create(leat_context *context, const char *device,
                                        leat_stream **out_stream, leat_error *err) LEAT_MUST_CHECK;

/* Wraps a device's native queue (a CUstream, say) so that runs join the caller's own work: what a
 * run does on that device comes behind what was queued there before the stream's thread began it.
 * Such runs are not recorded as graphs, and wait for no later work of the caller's.
 * Owns:     native is borrowed as long as the stream; NULL is the device's default queue.
 * Errors:   UNSUPPORTED on devices that have none, such as the CPU; those of leat_stream_create. */
LEAT_API leat_status leat_stream_wrap(leat_context *context, const char *device, void *native,
                                      leat_stream **out_stream, leat_error *err) LEAT_MUST_CHECK;

/* Waits until everything submitted so far has ended, its done callbacks included.
 * Units:    timeout_ns in nanoseconds, 0 waits for ever.
 * Threads:  any but a done callback.
 * Errors:   TIMEOUT. */
LEAT_API leat_status leat_stream_wait(leat_stream *stream, uint64_t timeout_ns,
                                      leat_error *err) LEAT_MUST_CHECK;

/* Waits for the queued runs, then frees the stream.
 * Threads:  any but a done callback; no other call on this stream may be under way. */
LEAT_API void leat_stream_destroy(leat_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
