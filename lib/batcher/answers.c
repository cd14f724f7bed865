/* SPDX-License-Identifier: Apache-2.0 */
#include "batcher/answers.h"

#include <stdatomic.h>
#include <string.h>

enum {
    MOST_SPARED = 64 /* answers passed over for one that comes: a bound on what that takes */
};

/* ---- what a request is ----------------------------------------------------------------------- */

#define PRIME_1 0x9e3779b185ebca87u
#define PRIME_2 0xc2b2ae3d27d4eb4fu

static uint64_t turn(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t mix(uint64_t lane, uint64_t word)
{
    return turn(lane + word * PRIME_2, 31) * PRIME_1;
}

static uint64_t word_at(const unsigned char *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

/* Four lanes of multiplications and turns, 32 bytes a step, as XXH64's (Collet, 2012): some 15
 * GB/s. What it cannot tell apart is compared anyway. */
static uint64_t hash_bytes(uint64_t seed, const unsigned char *data, size_t bytes)
{
    uint64_t lanes[4] = {seed + PRIME_1, seed ^ PRIME_2, seed, seed - PRIME_1};
    const size_t total = bytes;
    for (; bytes >= 32; bytes -= 32, data += 32) {
        for (int i = 0; i < 4; i++) {
            lanes[i] = mix(lanes[i], word_at(data + 8 * i));
        }
    }
    unsigned char rest[32] = {0};
    if (bytes > 0) {
        memcpy(rest, data, bytes);
    }
    uint64_t hash = seed ^ total * PRIME_1;
    for (int i = 0; i < 4; i++) {
        hash = mix(hash ^ mix(lanes[i], word_at(rest + 8 * i)), (uint64_t)i);
    }
    hash = (hash ^ hash >> 33) * PRIME_2;
    return hash ^ hash >> 29;
}

uint64_t lt_answers_hash(const leat_model_signature *io, uint64_t group, const leat_array *inputs)
{
    uint64_t hash = group;
    for (size_t i = 0; i < io->n_inputs; i++) {
        const leat_array *x = &inputs[i];
        hash = hash_bytes(hash, (const unsigned char *)x->shape,
                          (size_t)x->rank * sizeof(x->shape[0]));
        hash = hash_bytes(hash, x->data, x->bytes);
    }
    return hash ? hash : 1;
}

bool lt_answers_same(const leat_model_signature *io, const leat_array *a, const leat_array *b)
{
    for (size_t i = 0; i < io->n_inputs; i++) {
        const size_t shape = (size_t)a[i].rank * sizeof(a[i].shape[0]);
        if (a[i].dtype != b[i].dtype || a[i].rank != b[i].rank || a[i].bytes != b[i].bytes ||
            memcmp(a[i].shape, b[i].shape, shape) != 0 ||
            (a[i].bytes > 0 && memcmp(a[i].data, b[i].data, a[i].bytes) != 0)) {
            return false;
        }
    }
    return true;
}

/* ---- the block ------------------------------------------------------------------------------- */

static lt_answer *piece_at(unsigned char *at)
{
    return (lt_answer *)(void *)at;
}

static unsigned char *end_of(lt_answer *piece)
{
    return (unsigned char *)piece + piece->bytes;
}

bool lt_answers_make(lt_answers *a, lt_memory *memory, const leat_model_signature *io,
                     uint64_t bytes)
{
    a->memory = memory;
    a->io = io;
    a->bytes = (size_t)(bytes < SIZE_MAX / 2 ? bytes : SIZE_MAX / 2) / LT_ALIGNMENT * LT_ALIGNMENT;
    a->block = lt_alloc(memory, a->bytes, LT_ALIGNMENT);
    if (a->block == NULL) {
        return false;
    }
    a->n_buckets = LT_ALIGNMENT / sizeof(lt_answer *);
    while (a->n_buckets < a->bytes / 1024 && a->n_buckets < 1u << 20) {
        a->n_buckets *= 2;
    }
    a->buckets = (lt_answer **)(void *)a->block;
    memset(a->buckets, 0, a->n_buckets * sizeof(lt_answer *));
    a->first = a->block + a->n_buckets * sizeof(lt_answer *);
    a->end = a->block + a->bytes;
    a->hand = piece_at(a->first);
    *a->hand = (lt_answer){.bytes = (size_t)(a->end - a->first)};
    return true;
}

void lt_answers_free(lt_answers *a)
{
    lt_free(a->memory, a->block, a->bytes);
}

static lt_answer **bucket_of(const lt_answers *a, uint64_t hash)
{
    return &a->buckets[hash & (a->n_buckets - 1)];
}

lt_answer *lt_answers_find(const lt_answers *a, uint64_t hash)
{
    lt_answer *answer = *bucket_of(a, hash);
    while (answer != NULL && answer->hash != hash) {
        answer = answer->chain;
    }
    return answer;
}

/* Frees a piece that has no readers. */
static void evict(lt_answers *a, lt_answer *answer)
{
    if (answer->listed) {
        lt_answer **at = bucket_of(a, answer->hash);
        while (*at != answer) {
            at = &(*at)->chain;
        }
        *at = answer->chain;
        a->n_listed--;
        a->listed_bytes -= answer->bytes;
        a->n_evicted++;
    }
    answer->used = answer->listed = false;
}

static size_t whole(size_t bytes)
{
    return (bytes + LT_ALIGNMENT - 1) / LT_ALIGNMENT * LT_ALIGNMENT;
}

/* Data begin at multiples of LT_ALIGNMENT. */
static size_t sum_of(const leat_array *arrays, size_t n, size_t total)
{
    for (size_t i = 0; i < n; i++) {
        size_t most;
        if (!lt_add(total, arrays[i].bytes, &most) || most > SIZE_MAX / 2) {
            return SIZE_MAX / 2;
        }
        total = whole(most);
    }
    return total;
}

static size_t head_bytes(const leat_model_signature *io)
{
    return whole(sizeof(lt_answer) + (io->n_inputs + io->n_outputs) * sizeof(leat_array));
}

/* Makes the pieces from `piece` up to `end` one, of which `bytes` are an answer's and the rest is
 * free. */
static lt_answer *take(lt_answers *a, lt_answer *piece, unsigned char *end, size_t bytes)
{
    const size_t room = (size_t)(end - (unsigned char *)piece), left = room - bytes;
    const size_t own = left < whole(sizeof(lt_answer)) ? room : bytes;
    for (unsigned char *at = (unsigned char *)piece; at < end; at = end_of(piece_at(at))) {
        evict(a, piece_at(at));
    }
    *piece = (lt_answer){.bytes = own, .used = true, .readers = 1};
    unsigned char *behind = end_of(piece);
    if (own < room) {
        *piece_at(behind) = (lt_answer){.bytes = room - own};
    }
    a->hand = piece_at(behind < a->end ? behind : a->first);
    return piece;
}

/* Whether a piece has to stay. What stays for having been asked for does so once. */
static bool stays(lt_answer *piece, uint32_t *spared)
{
    if (!piece->used) {
        return false;
    }
    if (atomic_load_explicit(&piece->readers, memory_order_acquire) > 0) {
        return true;
    }
    const bool recent = piece->recent && *spared < MOST_SPARED;
    *spared += recent;
    piece->recent = false;
    return recent;
}

lt_answer *lt_answers_place(lt_answers *a, const leat_array *inputs, const leat_array *outputs)
{
    const size_t own = sum_of(inputs, a->io->n_inputs, head_bytes(a->io));
    const size_t bytes = sum_of(outputs, a->io->n_outputs, own);
    unsigned char *start = (unsigned char *)a->hand, *at = start;
    uint32_t spared = 0;
    if (bytes > (size_t)(a->end - a->first)) {
        return NULL;
    }
    for (int ends = 0; ends < 3;) { /* from `start` to `at` nothing has to stay */
        if (at == a->end) {
            start = at = a->first;
            ends++;
            continue;
        }
        lt_answer *next = piece_at(at);
        const bool passed = stays(next, &spared);
        at = end_of(next);
        start = passed ? at : start;
        if ((size_t)(at - start) >= bytes) {
            return take(a, piece_at(start), at, bytes);
        }
    }
    return NULL;
}

static unsigned char *copy_all(leat_array *to, const leat_array *from, size_t n, unsigned char *at)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].data = at;
        if (from[i].bytes > 0) {
            memcpy(at, from[i].data, from[i].bytes);
        }
        at += whole(from[i].bytes);
    }
    return at;
}

void lt_answers_fill(const leat_model_signature *io, lt_answer *answer, const leat_array *inputs,
                     const leat_array *outputs)
{
    answer->inputs = (leat_array *)(void *)(answer + 1);
    answer->outputs = answer->inputs + io->n_inputs;
    unsigned char *data = (unsigned char *)answer + head_bytes(io);
    data = copy_all(answer->inputs, inputs, io->n_inputs, data);
    copy_all(answer->outputs, outputs, io->n_outputs, data);
}

void lt_answers_publish(lt_answers *a, lt_answer *answer, uint64_t hash, uint64_t group)
{
    lt_answer **bucket = bucket_of(a, hash);
    atomic_fetch_sub_explicit(&answer->readers, 1, memory_order_release);
    if (lt_answers_find(a, hash) != NULL) {
        answer->used = false;
        return;
    }
    answer->hash = hash;
    answer->group = group;
    answer->chain = *bucket;
    answer->listed = true;
    *bucket = answer;
    a->n_listed++;
    a->listed_bytes += answer->bytes;
}
