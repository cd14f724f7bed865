/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the quantizer share. A model's products are its layers; the activations that
 * get a grid are its tensors. The source graph, after the passes that hold for every device, is
 * never changed: each variant (one layer quantized, all, all but some) is a clone with nodes put
 * in. */
#ifndef LT_QUANTIZER_QUANTIZER_H
#define LT_QUANTIZER_QUANTIZER_H

#include "graph/graph.h"
#include "quantizer/histogram.h"
#include "runtime/model.h"

#define LT_QUANT_NONE UINT32_MAX

/* Why a layer went back to f32. */
typedef enum lt_quant_back {
    LT_QUANT_STAYS,
    LT_QUANT_SLOWER,    /* in 8 bits, by its own times and the model's */
    LT_QUANT_NO_FASTER, /* the model with it */
    LT_QUANT_BUDGET,
    LT_QUANT_BACKS
} lt_quant_back;

typedef struct lt_quant_layer {
    const leat_node *node;
    uint32_t position; /* of the node in the source graph */
    uint32_t x;        /* value of its data */
    int32_t axis;      /* of the weights: output channels lie along it */
    size_t channels;
    bool able;       /* can be quantized by the method */
    bool on;         /* is to be quantized */
    uint64_t f32_ns; /* of the first batch; 0: not known */
    uint64_t own_ns; /* in 8 bits, of the last variant timed in which it was; 0: not known */
    lt_quant_back back;
    struct { /* from the cache */
        uint64_t f32_ns, own_ns;
        lt_quant_back back;
    } chosen;
    int8_t *weights; /* as the original lies; NULL until they are asked for */
    float *scales;   /* one a channel */
    double *lost;    /* lt_quant_lost_mean; NULL until it is asked for, or not known */
    struct {         /* the weights method's, as [k][channels]; NULL until they are asked for */
        uint8_t *levels, *zeros;
        float *scales;
        int32_t bits;
    } blocks;
    leat_quantized_layer report;
} lt_quant_layer;

typedef struct lt_quant_tensor {
    uint32_t value;
    uint32_t group; /* the first of the tensors that share its grid */
    lt_histogram *histogram;
    leat_quantize_range range;
    lt_grid grid;
    int32_t axis;    /* of the channels that products sum over: 1, or -1 for the last */
    size_t channels; /* 0: not known, or no product reads it */
    double *sums;    /* one a channel, over all that was fed */
    /* Of the last axis, where products of matrices sum over it: one a channel each. */
    float *least, *most;
    double *squares; /* sums of squares */
    /* What data is divided by before it is quantized, one a channel, and channels that come again
     * (smooth.c); NULL: nothing is evened out. */
    float *factors;
    int64_t *again;
    size_t n_again;
} lt_quant_tensor;

/* A batch that is kept to measure errors with. */
typedef struct lt_quant_batch {
    leat_array *inputs;
    leat_array *outputs; /* of the f32 model */
    int64_t *labels;     /* NULL: none */
    size_t n_labels;
} lt_quant_batch;

struct leat_quantizer {
    leat_context *context;
    leat_model *model;        /* the caller's, or `equalized` */
    leat_model *equalized;    /* NULL: none */
    leat_quantizer_desc desc; /* without pointers to the caller's strings */
    leat_quantize_method method;
    int32_t bits;
    int64_t block;
    lt_arena arena;

    lt_quant_layer *layers;
    uint32_t n_layers;
    lt_quant_tensor *tensors;
    uint32_t n_tensors;
    uint32_t *tensor_of; /* per value of the source graph; LT_QUANT_NONE: no grid */

    leat_model *tapped; /* the model with the tensors as further outputs; NULL until data comes */
    leat_session *session;
    leat_array *first; /* inputs to measure times with; NULL: none */
    lt_quant_batch *batches;
    uint32_t n_batches;
    uint64_t batch_bytes;
    uint64_t n_fed;
    const char *cache; /* path; NULL: none */
    uint64_t model_hash, data_hash, cache_settings, cache_choice;
    bool cache_keyed; /* the hashes are known */
    bool counted;     /* what data would count came from the cache: it is run only to be kept */
    bool grids_known; /* the tensors' grids too */
    bool full;        /* no further batch is kept */
    bool all_labelled;
    bool correct_bias; /* static: biases take back what the weights' rounding adds on average */
    bool by_time;      /* layers that do not pay stay f32 */
    bool synthetic;    /* what is fed is made up: no batch of it is kept */
    bool finished;

    double sqnr_db, drop;
    const char *drop_measure;
    uint64_t bytes_before, bytes_after;
    uint64_t ns_before, ns_after;
    leat_quantized_layer *reports; /* of the layers, once finished */
};

/* --- select.c -----------------------------------------------------------------------------------
 */

/* Finds layers and tensors of the model.
 * Errors:   INVALID for a model that is quantized already or an unknown name in `keep`; UNSUPPORTED
 *           without a layer; NO_MEMORY. */
leat_status lt_quant_select(leat_quantizer *q, const leat_quantizer_desc *desc,
                            leat_error *err) LEAT_MUST_CHECK;

/* What lies on a grid with the layers that are on. */
typedef struct lt_quant_flow {
    bool *used;      /* per value of the source graph */
    bool *reads;     /* per node: it reads its data from the grid (layers, and what lies between) */
    uint32_t *group; /* per value: a value of the same grid; chains end at themselves */
} lt_quant_flow;
leat_status lt_quant_flow_of(const leat_quantizer *q, lt_arena *arena, lt_quant_flow *out,
                             leat_error *err) LEAT_MUST_CHECK;
/* How many of a node's first inputs are data that may lie on a grid. */
uint32_t lt_quant_data_inputs(const leat_node *node);

/* --- weights.c ----------------------------------------------------------------------------------
 */

/* Quantizes the weights of a layer, once.
 * Errors:   INVALID for NaN or infinity among them; NO_MEMORY. */
leat_status lt_quant_weights(leat_quantizer *q, lt_quant_layer *layer,
                             leat_error *err) LEAT_MUST_CHECK;

/* The same in blocks (blocks.c). */
leat_status lt_quant_blocks(leat_quantizer *q, lt_quant_layer *layer,
                            leat_error *err) LEAT_MUST_CHECK;
/* The one of both that the method asks for. */
leat_status lt_quant_levels(leat_quantizer *q, lt_quant_layer *layer,
                            leat_error *err) LEAT_MUST_CHECK;
/* INVALID: the layer's weights hold NaN or infinity. */
leat_status lt_quant_not_finite(const leat_quantizer *q, const lt_quant_layer *layer,
                                leat_error *err);

/* Row k (of what is summed over), channel c of a matrix. */
double lt_quant_weight(const leat_quantizer *q, const lt_quant_layer *layer, size_t k, size_t c);

/* Quantizes the weights of the layers that are on, with error feedback (feedback.c); some are left
 * out where they are too large.
 * Errors:   INVALID without data; CANCELLED; NO_MEMORY. */
leat_status lt_quant_feedback(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;

/* What the layer's results lose on average, one number a channel, since its weights are rounded:
 *     out[c] = sum over k of (w[c][k] - scale[c] q[c][k]) E[x_k]
 * with E[x] over what was fed; padding counts like the rest. Nagel et al., "Data-Free Quantization
 * through Weight Equalization and Bias Correction", ICCV 2019, 4.2. False when E[x] is not known.
 */
bool lt_quant_lost_mean(const leat_quantizer *q, const lt_quant_layer *layer, double *out);

/* --- equalize.c, smooth.c, synthesize.c ---------------------------------------------------------
 */

/* Puts a model whose layers were evened out in the place of q->model, before data comes.
 * Errors:   NO_MEMORY. */
leat_status lt_quant_equalize(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;

/* Evens out the channels of what matrix products read, from what was fed, and fills in
 * own_sqnr_db. */
leat_status lt_quant_smooth(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;
/* Feeds made-up data where the model says what it may be; nothing else changes. */
leat_status lt_quant_synthesize(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;

/* --- build.c, build_dynamic.c, build_static.c ---------------------------------------------------
 */

/* Clones the source graph and puts in what makes the layers that are on quantized.
 * Owns:     *out_graph is the caller's, and points at data of the source and of q's arena.
 * Errors:   NO_MEMORY. */
leat_status lt_quant_build(leat_quantizer *q, lt_graph **out_graph,
                           leat_error *err) LEAT_MUST_CHECK;
leat_status lt_quant_build_dynamic(leat_quantizer *q, lt_graph *graph,
                                   leat_error *err) LEAT_MUST_CHECK;
leat_status lt_quant_build_static(leat_quantizer *q, lt_graph *graph,
                                  leat_error *err) LEAT_MUST_CHECK;
leat_status lt_quant_build_blocks(leat_quantizer *q, lt_graph *graph,
                                  leat_error *err) LEAT_MUST_CHECK;

/* Raises the version of ONNX's domain, and of the nodes that mean the same in it: attributes may
 * become inputs; others are written as functions of their own version (onnx/write_opsets.c).
 * Errors:   NO_MEMORY. */
leat_status lt_quant_raise_opset(lt_graph *graph, int to, leat_error *err) LEAT_MUST_CHECK;

/* A constant named STEM SUFFIX, its data copied or, in q's arena already, borrowed. */
typedef struct lt_quant_constant {
    const char *stem, *suffix;
    leat_dtype dtype;
    int32_t rank;
    const int64_t *shape;
    const void *data;
    bool copy;
} lt_quant_constant;
leat_status lt_quant_add_constant(lt_graph *graph, const lt_quant_constant *constant,
                                  uint32_t *out_value, leat_error *err) LEAT_MUST_CHECK;
/* A value named STEM SUFFIX. */
leat_status lt_quant_add_value(lt_graph *graph, const char *stem, const char *suffix,
                               uint32_t *out_value, leat_error *err) LEAT_MUST_CHECK;
/* A node, named after its first output; outputs are made, named STEM SUFFIX (and STEM SUFFIX_2,
 * ...). axis is an attribute unless negative. It comes at position `at` of the order, 0: at the
 * end. */
typedef struct lt_quant_node {
    const char *op, *stem, *suffix;
    const uint32_t *inputs;
    uint32_t n_inputs, n_outputs;
    int32_t axis;
    uint32_t at;
} lt_quant_node;
leat_status lt_quant_add_node(lt_graph *graph, const lt_quant_node *node, uint32_t *out_values,
                              leat_error *err) LEAT_MUST_CHECK;

/* Data divided by its factors and by how often each channel comes; *x becomes the result. */
leat_status lt_quant_divide(lt_graph *graph, const lt_quant_tensor *t, const char *stem,
                            uint32_t at, uint32_t *x, leat_error *err) LEAT_MUST_CHECK;

/* --- calibrate.c --------------------------------------------------------------------------------
 */

leat_status lt_quant_feed(leat_quantizer *q, const leat_array *inputs, size_t n_inputs,
                          const int64_t *labels, size_t n_labels, leat_error *err) LEAT_MUST_CHECK;
void lt_quant_stop_feeding(leat_quantizer *q);
/* Makes q->tapped and q->session; `wanted`, one a tensor: of these alone, and what they hang on. */
leat_status lt_quant_open_tapped(leat_quantizer *q, const bool *wanted,
                                 leat_error *err) LEAT_MUST_CHECK;
/* The array that holds a tensor's elements in a run of those. */
const leat_array *lt_quant_tapped(const leat_quantizer *q, uint32_t value, const leat_array *inputs,
                                  const leat_array *outputs);

/* --- cache.c ------------------------------------------------------------------------------------
 */

/* Before the first batch of the data with that hash: reads the cache when there is one.
 * Errors:   INVALID for a foreign one, as leat_quantizer_feed_files. */
leat_status lt_quant_cache_open(leat_quantizer *q, uint64_t data_hash,
                                leat_error *err) LEAT_MUST_CHECK;
/* Whether the grids hold for the settings, which are known now. */
void lt_quant_cache_settle(leat_quantizer *q);
/* Whether the layers that went back to f32 by time are known, for the same settings, processor and
 * number of threads: they go back then. */
bool lt_quant_cache_choose(leat_quantizer *q);
/* Writes it where something is new; `chosen`: the layers' choice too. */
leat_status lt_quant_cache_save(const leat_quantizer *q, bool chosen,
                                leat_error *err) LEAT_MUST_CHECK;

/* --- measure.c ----------------------------------------------------------------------------------
 */

/* Of a variant, over the kept batches. */
typedef struct lt_quant_score {
    double sqnr_db; /* of all outputs of floats */
    double drop;    /* by q->drop_measure */
} lt_quant_score;
/* Runs the variant that the layers' `on` and the tensors' grids make on the first kept batches; NaN
 * when there are none. */
leat_status lt_quant_measure(leat_quantizer *q, uint32_t most_batches, lt_quant_score *out,
                             leat_error *err) LEAT_MUST_CHECK;

/* --- time.c -------------------------------------------------------------------------------------
 */

/* The shortest of a few runs of the f32 model on the first batch; fills in ns_before and the
 * layers' f32_ns. */
leat_status lt_quant_time_source(leat_quantizer *q, const leat_array *inputs, size_t n_inputs,
                                 leat_error *err) LEAT_MUST_CHECK;
/* The same for a quantized variant, *out_ns and the layers' own_ns; *out_ns 0 without inputs. */
leat_status lt_quant_time(leat_quantizer *q, leat_model *variant, uint64_t *out_ns,
                          leat_error *err) LEAT_MUST_CHECK;
/* Takes back layers that 8 bits make slower. */
leat_status lt_quant_pay(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;
/* Takes more back, all at last, while the whole is no faster than f32. */
leat_status lt_quant_never_slower(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;

/* --- ranges.c, revert.c -------------------------------------------------------------------------
 */

/* Gives every tensor its grid. */
leat_status lt_quant_choose_ranges(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;
/* Measures every layer alone. */
leat_status lt_quant_sensitivity(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;
/* Takes layers back to f32 until the drop is allowed. LIMIT when it cannot be. */
leat_status lt_quant_revert(leat_quantizer *q, leat_error *err) LEAT_MUST_CHECK;
/* Takes one layer back. */
void lt_quant_take_back(lt_quant_layer *layer, lt_quant_back why);

/* Tells the caller's progress function; CANCELLED when it says so. */
leat_status lt_quant_progress(const leat_quantizer *q, const char *stage, uint64_t done,
                              uint64_t total, leat_error *err) LEAT_MUST_CHECK;

#endif
