/* SPDX-License-Identifier: Apache-2.0 */
/* What decoders of language models hold: rotary embedding and grouped queries, as ai.onnx 23's
 * RotaryEmbedding and Attention. */
#include "passes/contrib/contrib.h"

/* first, first + 1, ... for every sequence: i64[B][S], of x with dimensions B and S at 0 and
 * `axis`. `first` has one element, or one for each sequence. */
static uint32_t positions_from(lt_contrib *c, uint32_t first, uint32_t x, int64_t axis)
{
    static const int64_t column[2] = {-1, 1}, zero = 0, one = 1;
    uint32_t start = lt_emit_reshape(c, lt_emit_ints(c, &zero, 1), NULL, 0);
    uint32_t step = lt_emit_reshape(c, lt_emit_ints(c, &one, 1), NULL, 0);
    uint32_t length = lt_emit_reshape(c, lt_emit_dim(c, x, axis), NULL, 0);
    uint32_t range = lt_emit3(c, "Range", start, length, step);
    uint32_t at = lt_emit2(c, "Add", lt_emit_reshape(c, first, column, 2), range);
    const uint32_t shape[2] = {lt_emit_dim(c, x, 0), lt_emit_ints(c, &one, 1)};
    uint32_t to = lt_emit(c, "Concat", shape, 2);
    lt_with_int(c, "axis", 0);
    return lt_emit2(c, "Expand", at, to);
}

static uint32_t rotated(lt_contrib *c, uint32_t x, const uint32_t tables[2], uint32_t positions,
                        int64_t heads)
{
    const uint32_t inputs[4] = {x, tables[0], tables[1], positions};
    uint32_t y = lt_emit(c, "RotaryEmbedding", inputs, 4);
    lt_with_int(c, "num_heads", heads);
    return y;
}

/* input, position_ids, cos, sin: position_ids is B x S, or one number that S counts on from. */
static void rotary_embedding(lt_contrib *c)
{
    uint32_t x = lt_contrib_in(c, 0), positions = lt_contrib_in(c, 1);
    const uint32_t tables[2] = {lt_contrib_in(c, 2), lt_contrib_in(c, 3)};
    const leat_value v = *lt_contrib_value(c, x), table = *lt_contrib_value(c, tables[0]);
    int64_t heads = leat_node_int(c->node, "num_heads", 0);
    int64_t part = leat_node_int(c->node, "rotary_embedding_dim", 0);
    if (leat_node_float(c->node, "scale", 1) != 1 ||
        leat_node_int(c->node, "is_packed_batching", 0) != 0 || (v.rank != 3 && v.rank != 4)) {
        lt_contrib_refuse(c, "a scale, packed batches and this rank are not served");
        return;
    }
    if (v.rank == 3 && heads == 0) { /* the tables have half of a head's columns */
        int64_t size = table.rank == 2 && table.shape[1] > 0 ? 2 * table.shape[1] : 0;
        heads = size != 0 && part == 0 && v.shape[2] > 0 ? v.shape[2] / size : 0;
        if (heads < 1) {
            lt_contrib_refuse(c, "num_heads is needed");
            return;
        }
    }
    if (lt_contrib_value(c, positions)->rank == 1) {
        positions = positions_from(c, positions, x, v.rank == 3 ? 1 : 2);
    }
    lt_contrib_to(c, 0);
    rotated(c, x, tables, positions, heads);
    lt_with_int(c, "interleaved", leat_node_int(c->node, "interleaved", 0));
    lt_with_int(c, "rotary_embedding_dim", part);
}

/* Q, K and V side by side in one input: split by heads. */
static bool unpack(lt_contrib *c, uint32_t qkv[3], int64_t heads, int64_t kv_heads)
{
    const leat_value v = *lt_contrib_value(c, qkv[0]);
    int64_t width = v.rank == 3 ? v.shape[2] : -1;
    if (heads < 1 || kv_heads < 1 || heads > width || kv_heads > width) {
        lt_contrib_refuse(c, "the width of packed Q, K and V must be known, and hold all heads");
        return false;
    }
    int64_t all = heads + 2 * kv_heads;
    if (width % all != 0 || width > INT32_MAX) {
        lt_contrib_refuse(c, "the width of packed Q, K and V must be a multiple of all heads");
        return false;
    }
    const int64_t sizes[3] = {width / all * heads, width / all * kv_heads, width / all * kv_heads};
    const uint32_t inputs[2] = {qkv[0], lt_emit_ints(c, sizes, 3)};
    lt_emit_outputs(c, "Split", inputs, 2, qkv, 3);
    lt_with_int(c, "axis", -1);
    return true;
}

/* Where the new tokens of a sequence stand: behind seqlens_k + 1 - S earlier ones (a padded prompt
 * begins at 0). */
static uint32_t token_positions(lt_contrib *c, uint32_t q, uint32_t seqlens)
{
    static const int64_t one = 1, zero = 0;
    uint32_t given = lt_contrib_in(c, 9);
    if (given != LEAT_NO_VALUE) {
        return given;
    }
    uint32_t total =
        lt_emit2(c, "Add", lt_emit_cast(c, seqlens, LEAT_DTYPE_I64), lt_emit_ints(c, &one, 1));
    uint32_t first = lt_emit2(c, "Sub", total, lt_emit_dim(c, q, 1));
    first = lt_emit2(c, "Max", first, lt_emit_ints(c, &zero, 1));
    return positions_from(c, first, q, 1);
}

/* Whether present is as long as past: a buffer of fixed capacity, often the same memory. So it is
 * when the model gives both the same number or symbol. */
static bool caches_are_shared(lt_contrib *c)
{
    const leat_value past = *lt_contrib_value(c, lt_contrib_in(c, 3));
    uint32_t output = lt_output_of(c->node, 1);
    if (output == LEAT_NO_VALUE || past.rank != 4) {
        return false;
    }
    const leat_value present = *lt_contrib_value(c, output);
    return present.rank == 4 && present.shape[2] == past.shape[2];
}

/* The new keys or values behind the earlier ones of each sequence. Where present is longer than
 * past, room for them comes from appending them: what is not written over lies behind a sequence's
 * end. Result: output `output` of the node. */
static uint32_t after_past(lt_contrib *c, uint32_t past, uint32_t x, uint32_t starts,
                           uint32_t output, bool shared)
{
    if (!shared) {
        const uint32_t parts[2] = {past, x};
        past = lt_emit(c, "Concat", parts, 2);
        lt_with_int(c, "axis", 2);
    }
    if (lt_contrib_wants(c, output)) {
        lt_contrib_to(c, output);
    }
    uint32_t y = lt_emit3(c, "TensorScatter", past, x, starts);
    lt_with_int(c, "axis", 2);
    return y;
}

static void attention_attributes(lt_contrib *c)
{
    lt_with_int(c, "is_causal", 1);
    if (leat_node_float(c->node, "scale", 0) != 0) {
        lt_with_attr(c, "scale", NULL);
    }
    lt_with_attr(c, "softcap", NULL);
}

/* With caches, sequences of lengths of their own: seqlens_k + 1 tokens each, the new ones last. Of
 * a prompt that is padded behind its end, a row sees what is before it. */
static void attend_behind_past(lt_contrib *c, uint32_t qkv[3], int64_t heads, int64_t kv_heads)
{
    static const int64_t perm[4] = {0, 2, 1, 3}, merged[3] = {0, 0, -1}, one = 1, zero = 0;
    static const int64_t flat[1] = {-1};
    bool shared = caches_are_shared(c);
    uint32_t count = lt_emit_dim(c, qkv[0], 1);
    uint32_t total = lt_emit2(c, "Add", lt_emit_cast(c, lt_contrib_in(c, 5), LEAT_DTYPE_I64),
                              lt_emit_ints(c, &one, 1));
    total = lt_emit_reshape(c, lt_emit2(c, "Max", total, count), flat, 1);
    uint32_t starts = lt_emit2(c, "Sub", total, count);
    starts = lt_emit2(c, "Max", starts, lt_emit_ints(c, &zero, 1));
    uint32_t q = lt_emit_split_heads(c, qkv[0], heads);
    uint32_t k = lt_emit_split_heads(c, qkv[1], kv_heads),
             v = lt_emit_split_heads(c, qkv[2], kv_heads);
    k = after_past(c, lt_contrib_in(c, 3), k, starts, 1, shared);
    v = after_past(c, lt_contrib_in(c, 4), v, starts, 2, shared);
    const uint32_t inputs[7] = {q, k, v, lt_contrib_in(c, 10), LEAT_NO_VALUE, LEAT_NO_VALUE, total};
    uint32_t y = lt_emit(c, "Attention", inputs, 7);
    attention_attributes(c);
    y = lt_emit_transpose(c, y, perm, 4);
    lt_contrib_to(c, 0);
    lt_emit_reshape(c, y, merged, 3);
}

static void attend(lt_contrib *c, const uint32_t qkv[3], int64_t heads, int64_t kv_heads)
{
    uint32_t outputs[3];
    const uint32_t inputs[4] = {qkv[0], qkv[1], qkv[2], lt_contrib_in(c, 10)};
    lt_contrib_to(c, 0);
    lt_emit_outputs(c, "Attention", inputs, 4, outputs, 3);
    lt_with_int(c, "q_num_heads", heads);
    lt_with_int(c, "kv_num_heads", kv_heads);
    attention_attributes(c);
    for (uint32_t i = 1; i < 3; i++) {
        if (lt_contrib_wants(c, i)) {
            lt_contrib_give(c, i, outputs[i]);
        }
    }
}

/* query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos?, sin?,
 * position_ids?, attention_bias? */
static void group_query_attention(lt_contrib *c)
{
    int64_t heads = leat_node_int(c->node, "num_heads", 0);
    int64_t kv_heads = leat_node_int(c->node, "kv_num_heads", 0);
    uint32_t qkv[3] = {lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 2)};
    if (heads < 1 || kv_heads < 1 || leat_node_int(c->node, "local_window_size", -1) > 0 ||
        leat_node_int(c->node, "smooth_softmax", 0) != 0 || lt_contrib_in(c, 11) != LEAT_NO_VALUE) {
        lt_contrib_refuse(c, "a local window, a smooth softmax and sinks are not served");
        return;
    }
    if (qkv[1] == LEAT_NO_VALUE && !unpack(c, qkv, heads, kv_heads)) {
        return;
    }
    if (leat_node_int(c->node, "do_rotary", 0) != 0) {
        const uint32_t tables[2] = {lt_contrib_in(c, 7), lt_contrib_in(c, 8)};
        uint32_t positions = token_positions(c, qkv[0], lt_contrib_in(c, 5));
        int64_t interleaved = leat_node_int(c->node, "rotary_interleaved", 0);
        for (int i = 0; i < 2; i++) {
            qkv[i] = rotated(c, qkv[i], tables, positions, i == 0 ? heads : kv_heads);
            lt_with_int(c, "interleaved", interleaved);
        }
    }
    if (lt_contrib_in(c, 3) != LEAT_NO_VALUE) {
        attend_behind_past(c, qkv, heads, kv_heads);
    } else {
        attend(c, qkv, heads, kv_heads);
    }
}

const lt_contrib_op lt_contrib_decoder[] = {
    {"RotaryEmbedding", rotary_embedding},
    {"GroupQueryAttention", group_query_attention},
    {NULL, NULL},
};
