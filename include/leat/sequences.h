/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences: many conversations (or streams of sound) through one model step by step, together.
 *
 *     leat_sequences_create -> leat_sequences_join, _push -> leat_sequences_step, _result, _push,
 *                              leat_sequences_step ... -> leat_sequences_leave
 *
 * A model that is run step by step takes what came before as states: caches of keys and values, the
 * states of an LSTM. Each sequence has a slot with its rows of these. A step runs one position
 * (token, frame) of every sequence that has one waiting as the rows of one run, so that weights are
 * read once for all (continuous batching, as in Orca; Yu et al., OSDI 2022). Sequences join and
 * leave between any two steps; what others do makes no difference to a sequence but for rounding.
 *
 * Prompts: where several positions of a sequence wait, the one that has waited longest has up to
 * max_piece of them run at once, in one more run of the same step: others wait for no more than
 * that. Prompts that wait in rows beside it share that run, 2, 4, 8, ... of them with as many
 * positions each (the shorter ones padded) and max_piece in all, where that takes less time a
 * position by the times that leat_sequences_warm and the runs since have measured.
 *
 * Which input is what is found by the names that exports have, or told:
 *
 * - tokens: "input_ids", or the only input left; begins with the batch dimension. A symbolic second
 *   dimension is time, unless leat_sequences_desc.frame says how many elements a position has.
 *   An output's symbolic second dimension is then time, too.
 * - lengths: "past_length", a vector of integers: how many positions a row's caches hold.
 * - positions: "position_ids", as tokens: the numbers of the positions.
 * - states: inputs "past..." with an output "present..." of the same end ("past_key_values.0.key",
 *   "present.0.key"). Their batch dimension is the one with tokens' symbol.
 *
 * A state with another symbolic dimension, the same in input and output, is a cache of fixed
 * capacity: it begins with the batch dimension, and the model writes new positions behind the
 * others in place (TensorScatter, or GroupQueryAttention where past and present are of one length).
 * A state without one is copied in and out. Caches that grow are not supported: their rows differ.
 *
 * The conventions of leat.h hold. */
#ifndef LEAT_SEQUENCES_H
#define LEAT_SEQUENCES_H

#include <leat/batcher.h> /* leat_clock_fn, leat_time_histogram */
#include <leat/leat.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct leat_sequences leat_sequences;

/* A state: what `output` gives is `input` of the next step. */
typedef struct leat_state_names {
    const char *input;
    const char *output;
} leat_state_names;

/* An input that is the same in all runs, such as a sampling rate. */
typedef struct leat_fixed_input {
    const char *name;
    leat_array value; /* copied */
} leat_fixed_input;

typedef struct leat_sequences_desc {
    size_t struct_size;
    uint32_t n_slots;   /* sequences at once, 4096 at most; 0: 8 */
    uint32_t capacity;  /* positions that a sequence's caches hold (memory for one more is taken);
                           without caches, that may wait; 0: 2048 */
    uint32_t max_piece; /* positions of prompts run at once, of one sequence or of several: a power
                           of two, or 0: 32. Pieces have 1, 2, 4, ... positions, the last one of a
                           prompt being padded if the model has only caches for states and gives
                           outputs per position */
    const char *tokens; /* names of inputs; NULL: as above */
    const char *lengths;
    const char *positions;
    int64_t frame; /* elements of a position along tokens' second dimension; 0: that one is time */
    const leat_state_names *states; /* NULL: as above */
    size_t n_states;
    const leat_fixed_input *fixed; /* all other inputs */
    size_t n_fixed;
    const leat_session_desc *session; /* of the two sessions, one for steps and one for pieces;
                                         NULL: defaults. max_plans 0: as many as there are shapes */
    leat_clock_fn clock;              /* for tests; NULL: the system's */
    void *clock_user;
} leat_sequences_desc;

/* Creates the slots, with their memory, and runs the model once.
 * Owns:     *out_sequences is the caller's; borrows the model. Strings in desc are copied.
 * Threads:  any.
 * Errors:   UNSUPPORTED for a model without states, with caches that grow or are not written in
 *           place, or outputs without rows; INVALID for an input of no known use, and for numbers
 *           out of range; NOT_FOUND for a name; NO_MEMORY; those of leat_session_create and run. */
LEAT_API leat_status leat_sequences_create(leat_model *model, const leat_sequences_desc *desc,
                                           leat_sequences **out_sequences,
                                           leat_error *err) LEAT_MUST_CHECK;

/* Makes the plans of all shapes, so that no later step waits for one: rows of steps in each number
 * (on devices other than the CPU in 1, 2, 3, 4, 6, 8, 12, ...), and pieces.
 * Threads:  as leat_sequences_step.
 * Errors:   BUSY while a step runs; those of leat_session_run. */
LEAT_API leat_status leat_sequences_warm(leat_sequences *sequences,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Takes a slot for a new sequence, empty. *out_sequence is never 0 and not used again.
 * Threads:  any, also while a step runs.
 * Errors:   BUSY when no slot is free. */
LEAT_API leat_status leat_sequences_join(leat_sequences *sequences, uint64_t *out_sequence,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Appends n positions to what waits to be run: a prompt, the token that was chosen, a frame. items:
 * their elements, of tokens' type; copied.
 * Threads:  any, also while a step runs.
 * Errors:   INVALID for a sequence that is not there or has failed; LIMIT, with nothing appended,
 *           when they are more than its caches hold. */
LEAT_API leat_status leat_sequences_push(leat_sequences *sequences, uint64_t sequence,
                                         const void *items, size_t n,
                                         leat_error *err) LEAT_MUST_CHECK;

/* A sequence of which nothing waits any more. */
typedef struct leat_step_result {
    uint64_t sequence;
    leat_status status; /* LEAT_OK: leat_sequences_result has its outputs; else it has failed, and
                           can only leave */
} leat_step_result;

/* What a step did. */
typedef struct leat_step {
    size_t struct_size;              /* set by the caller */
    const leat_step_result *results; /* until the next step */
    size_t n_results;
    uint64_t positions; /* that were run; 0: nothing waited */
} leat_step;

/* Runs one step. Allocates nothing once its shapes have run (leat_sequences_warm); but a device
 * that records runs as graphs does so for each row that has pieces.
 * Threads:  one call at a time.
 * Errors:   BUSY while another runs; those of leat_session_run that are no sequence's own
 *           (DEVICE_LOST, NO_MEMORY, CANCELLED, LIMIT): what could not be run waits as before, and
 *           the next step tries it again. When a run fails otherwise its rows are run one by one: a
 *           sequence that fails alone has failed (a token that the model refuses), others have
 *           not. */
LEAT_API leat_status leat_sequences_step(leat_sequences *sequences, leat_step *out_step,
                                         leat_error *err) LEAT_MUST_CHECK;

/* Output `output` (a number of the model's, not a state's) for a sequence's last position: one row,
 * and one position where the output has them.
 * Owns:     points into leat's memory, valid until the next step or warm.
 * Threads:  not while a step runs.
 * Errors:   INVALID for a sequence without a result of the last step, or an output that is a state;
 *           that of the sequence when it has failed. */
LEAT_API leat_status leat_sequences_result(leat_sequences *sequences, uint64_t sequence,
                                           size_t output, leat_array *out_array,
                                           leat_error *err) LEAT_MUST_CHECK;

/* Gives a sequence's slot back, whatever waits; one that is in a step under way leaves at its end.
 * Nothing of it can be read by those who get the slot. Does nothing for one that has left.
 * Threads:  any, also while a step runs. */
LEAT_API void leat_sequences_leave(leat_sequences *sequences, uint64_t sequence);

/* Counts since creation. */
typedef struct leat_sequences_stats {
    size_t struct_size; /* set by the caller */
    uint64_t joined;
    uint64_t left;
    uint64_t failed;
    uint64_t live;      /* now */
    uint64_t steps;     /* that ran something */
    uint64_t positions; /* run, pieces among them */
    uint64_t rows;      /* of batched runs: those with a position, */
    uint64_t fill_rows; /* and those without */
    uint64_t pieces;
    uint64_t piece_runs;      /* in so many runs */
    uint64_t moves;           /* of a sequence's caches to another row, so that runs have fewer */
    leat_time_histogram step; /* of steps that ran something */
} leat_sequences_stats;

/* Reads the counts.
 * Threads:  any. */
LEAT_API void leat_sequences_read_stats(leat_sequences *sequences, leat_sequences_stats *out_stats);

/* Frees everything.
 * Threads:  no other call may be under way. */
LEAT_API void leat_sequences_destroy(leat_sequences *sequences);

#ifdef __cplusplus
}
#endif

#endif
