/* SPDX-License-Identifier: Apache-2.0 */
/* Post-training quantization: an f32 ONNX model in, a standard ONNX model with 8-bit products out.
 *
 *     leat_quantizer_create -> leat_quantizer_feed, once a batch -> leat_quantizer_finish
 *
 * or, from files and in one call, leat_quantize_file.
 *
 * Conv, MatMul and Gemm with constant weights are quantized. Weights: i8, symmetric, one scale for
 * each output channel. Activations, by method:
 *   dynamic  DynamicQuantizeLinear, MatMulInteger, ConvInteger: ranges are those of each run, no
 *            data is needed, but it helps: channels of data that differ in size are evened out by
 *            it. Convolutions that use each number too rarely (depthwise) stay as they are.
 *   static   QuantizeLinear and DequantizeLinear (opset 13) around the products and what lies
 *            between them; ranges come from calibration data. Biases take back what the rounded
 *            weights lose on average, where the outputs err less with that.
 *   weights  DequantizeLinear by blocks (opset 21) in front of MatMul, activations in f32; no data
 *            is needed; Conv stays as it is. leat keeps such weights packed while it computes.
 *
 * What is written opens in any ONNX runtime. The conventions of leat.h hold. */
#ifndef LEAT_QUANTIZER_H
#define LEAT_QUANTIZER_H

#include <leat/leat.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct leat_quantizer leat_quantizer;

typedef enum leat_quantize_method {
    LEAT_QUANTIZE_AUTO = 0, /* static when data was fed, else dynamic */
    LEAT_QUANTIZE_DYNAMIC = 1,
    LEAT_QUANTIZE_STATIC = 2,
    LEAT_QUANTIZE_WEIGHTS = 3
} leat_quantize_method;

/* Which grids activations get when they are quantized statically. */
typedef enum leat_quantize_target {
    LEAT_QUANTIZE_FOR_CPU = 0,  /* u8 with a zero point: the finer grid */
    LEAT_QUANTIZE_FOR_CUDA = 1, /* i8 with zero point 0 */
    LEAT_QUANTIZE_FOR_ANY = 2   /* as for CUDA: what every runtime accepts */
} leat_quantize_target;

/* How the range of an activation is read from its histogram. */
typedef enum leat_quantize_range {
    LEAT_RANGE_BEST = 0,       /* that of the four with which the model's outputs err least */
    LEAT_RANGE_MIN_MAX = 1,    /* everything seen */
    LEAT_RANGE_PERCENTILE = 2, /* all but 1 in 10,000 */
    LEAT_RANGE_MSE = 3,        /* least mean square error of the tensor */
    LEAT_RANGE_ENTROPY = 4     /* least Kullback-Leibler divergence: Migacz, GTC 2017 */
} leat_quantize_range;

typedef struct leat_quantizer_desc {
    size_t struct_size;
    leat_quantize_method method;
    int32_t bits; /* 0 or 8; 4: of the weights alone, by the method WEIGHTS unless STATIC is asked
                     for */
    leat_quantize_target target;
    leat_quantize_range range;
    double max_drop;         /* what the model may lose (leat_quantizer_report.drop), such as 0.01:
                                layers go back to f32 until it loses no more; 0: no bound */
    const char *const *keep; /* names of nodes that stay as they are */
    size_t n_keep;
    int32_t sensitivity; /* 1: measure for each layer the error of the outputs when it alone is
                            quantized (the report's sqnr_db); done anyway when max_drop asks */
    int32_t block; /* method WEIGHTS: numbers that share a scale, 16, 32, 64, 128 or 256; 0: 32 */
    int32_t any_speed; /* 1: layers are quantized also where that is not faster; nothing is decided
                          by time. 0: for the CPU, layers that 8 bits make slower on this one stay
                          f32, so that the model is never slower; needs data, or inputs that can be
                          made up (tokens) */
    int32_t equalize;  /* 1: cross-layer equalization: the weights of two products with only Relu,
                          LeakyRelu or pools between them are scaled channel by channel, which keeps
                          the f32 results (Nagel et al., ICCV 2019). Helps where channels differ much
                          in size; takes memory for the weights */
    int32_t smooth;    /* 1, static: channels that differ much in size are evened out before matrix
                          products, by factors that move size from data to weights, for one more
                          multiplication (Xiao et al., "SmoothQuant", ICML 2023). The method dynamic
                          does so anyway */
    int32_t feedback;  /* Weights are rounded so that what one errs the others make up for, on the
                          data that is kept to measure with (Frantar et al., "GPTQ", ICLR 2023),
                          channel by channel where that errs less than the nearest.
                          0: by the method static, among 1,280 weights of a channel at a time, which
                          bounds time (2,600 operations a weight) and memory (as feeding takes);
                          1: by all methods, which needs data, and among 8,192: memory up to 256 MB;
                          -1: never */
    const char *cache; /* path of a calibration cache, or NULL: what leat_quantizer_feed_files,
                          called once then, finds is written to it by leat_quantizer_finish; where
                          it is there already and of this model and data, most of the data is not
                          run again, and with the same settings ranges are not searched again; on
                          the same processor, with as many threads, nothing is decided by time
                          again: the result is the same file */
    leat_progress_fn progress; /* stages "calibrate", "smooth", "feedback", "range", "time",
                                  "sensitivity", "revert" */
    void *progress_user;
} leat_quantizer_desc;

/* Loads a model to be quantized: leat_model_load, but what folding makes of the weights is put into
 * a file, so that it is in memory only while it is read. The file lies beside the path `beside`
 * (that of the result; NULL: none is made), has the size of the model, and no name any more when
 * the call returns. Where there is no room for one the weights stay in memory.
 * Owns, Errors: as leat_model_load. */
LEAT_API leat_status leat_quantizer_load(leat_context *context, const char *path,
                                         const char *beside, leat_model **out_model,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Prepares to quantize a model. The model is not changed; it must have been loaded with
 * optimization, which folds normalizations into convolutions.
 * Owns:     *out_quantizer is the caller's; borrows the model. Strings in desc are copied.
 * Threads:  any; one call at a time per quantizer.
 * Errors:   INVALID for a bad descriptor, a model that is quantized already, or a name in `keep`
 *           that no node has; UNSUPPORTED for other bits or a model without a product that
 *           could be quantized; NO_MEMORY. */
LEAT_API leat_status leat_quantizer_create(leat_model *model, const leat_quantizer_desc *desc,
                                           leat_quantizer **out_quantizer,
                                           leat_error *err) LEAT_MUST_CHECK;

/* Runs the model once and notes the ranges that its activations take. Memory does not grow with
 * the number of batches: histograms have a fixed size, and only the first batches, up to 24 MB and
 * 64 of them, are kept to measure errors with.
 * Shapes:   as leat_session_run.
 * Units:    labels: the right class of each row of the first output, or NULL; n_labels is 0 or the
 *           first dimension of that output. With labels for all batches, the drop is that of
 *           accuracy.
 * Errors:   as leat_session_run; INVALID for NaN or infinity, in an input or behind a node, naming
 *           it, for labels out of range, and after leat_quantizer_finish. The batch then counts as
 *           not fed. */
LEAT_API leat_status leat_quantizer_feed(leat_quantizer *quantizer, const leat_array *inputs,
                                         size_t n_inputs, const int64_t *labels, size_t n_labels,
                                         leat_error *err) LEAT_MUST_CHECK;

/* A file of calibration data: of one input, or, input NULL, of the model's only one or (.npz) of
 * all by their names. */
typedef struct leat_quantizer_file {
    const char *input;
    const char *path; /* .npy; .npz as np.savez writes it; or a directory, whose .npy and .npz files
                         are taken in the order of their names */
} leat_quantizer_file;

/* Feeds what lies in files, batch by batch; they are mapped, not read whole.
 * Shapes:   an array has the input's rank, samples along the first axis: they are fed in batches as
 *           large as the model's first dimension, 1 where that is open. An array of one rank more
 *           holds whole inputs one after the other. All inputs have as many batches.
 * Errors:   NOT_FOUND, IO, CORRUPT, and UNSUPPORTED for a compressed .npz; INVALID for a missing
 *           input, another type or shape than the model's, another number of batches or labels,
 *           an empty file or directory, a cache that is damaged or of another model or other data;
 *           those of leat_quantizer_feed. */
LEAT_API leat_status leat_quantizer_feed_files(leat_quantizer *quantizer,
                                               const leat_quantizer_file *files, size_t n_files,
                                               const char *labels_path,
                                               leat_error *err) LEAT_MUST_CHECK;

/* Quantizes and writes PATH, whole or not at all (leat_model_save). The same data in the same order
 * gives the same file with any_speed, for other targets than the CPU, and with a `cache` that an
 * earlier call wrote; else but for layers whose two times are too close to each other to be sure.
 * May be called once.
 * Errors:   INVALID for the static method without data; LIMIT when max_drop cannot be reached: the
 *           report says what was; CANCELLED; IO; NO_MEMORY. */
LEAT_API leat_status leat_quantizer_finish(leat_quantizer *quantizer, const char *path,
                                           leat_error *err) LEAT_MUST_CHECK;

/* One product of the model.
 * Owns:     strings live as long as the quantizer. */
typedef struct leat_quantized_layer {
    const char *name;
    const char *op;
    int32_t bits;              /* 4 or 8, or 32 when it stays f32 */
    const char *reason;        /* why it stays, or went back; "" when it is quantized */
    leat_quantize_range range; /* of its input; static only */
    float scale;               /* of its input; static only, else 0 */
    int32_t zero_point;
    double weight_sqnr_db; /* signal to quantization noise of the weights, in decibels */
    double sqnr_db;        /* of the outputs with this layer alone quantized; NaN: not measured */
    double own_sqnr_db; /* of the layer's own result, as expected from what was fed, where channels
                           could be evened out (dynamic, and `smooth`); else NaN */
    uint64_t flops;     /* of a run of the first batch; 0 without data */
    uint64_t weight_bytes; /* of the original weights */
    uint64_t ns_before;    /* least of a few runs of the first batch, f32; 0: not known, such as of
                              a layer that is fused into another */
    uint64_t ns_after;     /* the same, in 8 bits, quantizing its data too unless a layer before it
                              does; of the last variant in which it was quantized */
} leat_quantized_layer;

typedef struct leat_quantizer_report {
    size_t struct_size; /* set by the caller */
    leat_quantize_method method;
    size_t n_layers;
    const leat_quantized_layer *layers; /* in the model's order */
    uint64_t n_batches;                 /* fed */
    uint64_t n_measured;                /* batches that errors were measured with */
    uint64_t bytes_before;              /* constants of the model */
    uint64_t bytes_after;
    double sqnr_db;           /* of the outputs of the quantized model; NaN: no data */
    const char *drop_measure; /* "accuracy" (with labels), "class" (rows of the first output whose
                                 largest element is another one), "error" (root of the noise to
                                 signal ratio, for outputs that are not [rows, classes]); "" */
    double drop;              /* as a fraction: 0.01 is one in a hundred; NaN: not measured */
    uint64_t ns_before;       /* shortest of a few runs of the first batch, f32; 0: no data */
    uint64_t ns_after;
    uint64_t ns_predicted; /* ns_before less what the layers' own times say is saved; 0: no data */
} leat_quantizer_report;

/* What was done; valid after leat_quantizer_finish, also when that failed with LIMIT.
 * Owns:     what the report points at lives as long as the quantizer.
 * Errors:   INVALID before. */
LEAT_API leat_status leat_quantizer_report_get(const leat_quantizer *quantizer,
                                               leat_quantizer_report *out_report,
                                               leat_error *err) LEAT_MUST_CHECK;

/* Frees the quantizer and what its report points at.
 * Threads:  no other call on this quantizer may be under way. */
LEAT_API void leat_quantizer_destroy(leat_quantizer *quantizer);

/* From file to file: method "dynamic" or "static", bits and calibration data are all it needs.
 *
 *     leat_quantizer_desc desc = {.struct_size = sizeof(desc), .method = LEAT_QUANTIZE_STATIC};
 *     leat_quantize_file(context, "model.onnx", "model-int8.onnx", &desc, "calib.npy", &err);
 *
 * calibration_data is the path of a leat_quantizer_file without a name; NULL: none.
 * Errors:   as leat_model_load, leat_model_save and the calls above. */
LEAT_API leat_status leat_quantize_file(leat_context *context, const char *model_path,
                                        const char *out_path, const leat_quantizer_desc *desc,
                                        const char *calibration_data,
                                        leat_error *err) LEAT_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
