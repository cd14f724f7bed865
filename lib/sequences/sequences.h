/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of sequences, as their files share them: sequences.c their life and what callers do,
 * roles.c which input is what, state.c the memory of states, step.c one step, pieces.c which
 * prompts it runs, rows.c one run.
 *
 * A sequence has a place in the table of slots, and from its first step on a row of the states.
 * Runs take rows [first, first + n), so rows are given from the lowest on, and a sequence is moved
 * down where that makes the runs smaller. Rows in between of which nothing runs take part with a
 * position of zeros, which is written behind what the row holds and counts for nothing: hence the
 * one position more than the capacity. */
#ifndef LT_SEQUENCES_SEQUENCES_H
#define LT_SEQUENCES_SEQUENCES_H

#include "base/memory.h"
#include "runtime/context.h"

#include <leat/sequences.h>
#include <pthread.h>

#define LT_NO_ROW UINT32_MAX
#define LT_NO_INPUT SIZE_MAX
#define LT_MAX_SLOTS 4096u
#define LT_PIECE_STEPS 17u /* 1, 2, 4, ... 2^16 positions of a row, */
#define LT_ROW_STEPS 13u   /* and 1, 2, 4, ... 4096 rows */

/* A state. In place: rows of `groups` runs (heads) of `positions` positions of `inner` bytes, the
 * rows one after the other. Copied: the rows of all slots one after the other, each of `groups`
 * parts of `inner` bytes, between which a run's input has those of its other rows. */
typedef struct lt_state {
    size_t input, output; /* of the model */
    int32_t row_axis, position_axis;
    leat_array array; /* of one row; data NULL */
    bool in_place;
    size_t groups, positions, inner;
    size_t row_bytes;
    leat_tensor *store;             /* in place: all rows */
    leat_tensor *view;              /* what is bound: those of the next run */
    unsigned char *rows, *in, *out; /* copied: of slots, and of a run */
} lt_state;

typedef enum lt_slot_use {
    LT_SLOT_FREE = 0,
    LT_SLOT_LIVE,
    LT_SLOT_FAILED, /* can only leave */
    LT_SLOT_LEAVING /* while a step runs */
} lt_slot_use;

typedef struct lt_sequence {
    lt_slot_use use;
    uint64_t id;
    uint64_t order; /* of its first waiting position */
    uint32_t row;   /* LT_NO_ROW: none yet */
    bool fresh;     /* its row has yet to be cleared */
    int64_t length;
    uint32_t waiting;          /* positions in items */
    unsigned char *items;      /* [capacity] positions */
    uint32_t taken;            /* by the step under way, */
    bool in_piece;             /* in its run of pieces */
    const leat_array *outputs; /* the last step's, of the run it was in; NULL: it has no result */
    uint32_t result_row, result_position;
    leat_error err;
} lt_sequence;

struct leat_sequences {
    lt_memory *memory;
    leat_model *model;
    const leat_model_signature *io;
    lt_arena arena;
    uint32_t n_slots, capacity, max_piece;
    bool any_size; /* runs may have any number of rows */
    bool exact;    /* pieces are never padded */
    bool caches;   /* there are states in place */

    size_t tokens, lengths, positions; /* inputs; LT_NO_INPUT: none */
    bool timed;                        /* tokens' second dimension is time */
    bool *timed_outputs;               /* per output: its second dimension is time, too */
    leat_array item;                   /* tokens of one row and one position */
    lt_state *states;
    size_t n_states;
    leat_session *steps, *pieces;
    leat_array *inputs;                        /* of a run */
    leat_array *step_outputs, *piece_outputs;  /* of the latest ones */
    unsigned char *step_tokens, *piece_tokens; /* positions of the next runs */
    int64_t *length_block, *position_block;    /* of a run; or int32_t */
    leat_clock_fn clock;                       /* NULL: the system's */
    void *clock_user;
    /* Nanoseconds of a run of pieces, by the logarithms of positions and rows; a moving mean, 0
     * where leat_sequences_warm has measured none. */
    float piece_ns[LT_PIECE_STEPS][LT_ROW_STEPS];
    unsigned char *zeros; /* as much as the longest group of a state */
    uint32_t *dirty;      /* per row: positions that may hold something */
    lt_sequence **owners; /* per row; NULL: nobody's */

    pthread_mutex_t lock; /* guards what follows, and slots' use, id, waiting and items */
    bool stepping;        /* rows, lengths and results are then the step's */
    lt_sequence *slots;
    uint64_t next_id, next_order;
    leat_step_result *results; /* [n_slots] */
    size_t n_results;
    leat_sequences_stats stats;
};

/* The caller holds the lock, and no step runs but at its end: a slot is nobody's. */
void lt_sequences_free(leat_sequences *sequences, lt_sequence *sequence);

/* step.c: the least run, for nobody: whether the model does what it is to do. */
leat_status lt_sequences_try(leat_sequences *sequences, leat_error *err) LEAT_MUST_CHECK;

/* roles.c: the place of a name; LT_NO_INPUT when it is not there. What each input is for. */
size_t lt_find_io(const leat_io *ios, size_t count, const char *name);
leat_status lt_roles_find(leat_sequences *sequences, const leat_sequences_desc *desc,
                          leat_error *err) LEAT_MUST_CHECK;

/* state.c: memory of the states, bound to the sessions. */
leat_status lt_states_make(leat_sequences *sequences, const char *device,
                           leat_error *err) LEAT_MUST_CHECK;
void lt_states_free(leat_sequences *sequences);
/* Zeroes what a row may hold. */
leat_status lt_states_clear(leat_sequences *sequences, uint32_t row,
                            leat_error *err) LEAT_MUST_CHECK;
/* Moves the first `length` positions of a row to another, and zeroes what else that may hold. */
leat_status lt_states_move(leat_sequences *sequences, uint32_t from, uint32_t to, uint32_t length,
                           leat_error *err) LEAT_MUST_CHECK;
/* Points a run of rows [first, first + n) at them. */
void lt_states_begin(leat_sequences *sequences, uint32_t first, uint32_t n, leat_array *outputs);
/* Takes the copied states of one of the run's rows over. */
leat_status lt_states_end(leat_sequences *sequences, const leat_array *outputs, uint32_t first,
                          uint32_t n, uint32_t row, leat_error *err) LEAT_MUST_CHECK;
bool lt_is_state_output(const leat_sequences *sequences, size_t output);

/* rows.c: rows that a run of n has. */
uint32_t lt_rows_planned(const leat_sequences *sequences, uint32_t n);
/* What a run has: `count` positions of each of rows [first, first + n). */
typedef struct lt_rows {
    bool piece; /* in the session of pieces */
    uint32_t first, n, count;
    unsigned char *tokens;
} lt_rows;

leat_status lt_rows_run(leat_sequences *sequences, const lt_rows *rows,
                        leat_error *err) LEAT_MUST_CHECK;

/* pieces.c: the run of pieces of a step, for the prompt that has waited longest, with others in
 * rows beside it where that takes less time a position by what was measured; n is 0: there are no
 * prompts. They have `taken`, and are in_piece. The caller holds the lock. */
lt_rows lt_pieces_take(leat_sequences *sequences);

/* Notes what a run took; `measured`: one whose shape has run before. */
void lt_pieces_ran(leat_sequences *sequences, const lt_rows *rows, uint64_t ns, bool measured);

uint64_t lt_sequences_now(const leat_sequences *sequences);

#endif
