/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs for models from bytes: small, odd and sometimes hostile numbers, from a generator that the
 * bytes seed. */
#ifndef TESTS_FUZZ_INPUTS_H
#define TESTS_FUZZ_INPUTS_H

#include "fuzz/fuzz.h"

typedef struct fuzz_numbers {
    uint64_t state;
} fuzz_numbers;

fuzz_numbers fuzz_numbers_of(const uint8_t *data, size_t bytes);
uint64_t fuzz_next(fuzz_numbers *n);

/* Makes one input; dimensions that are not known become `unknown`. out->data is to be freed.
 * False when it is none that can be made: a sequence, an unknown rank, too large. */
int fuzz_make_input(const leat_io *io, int64_t unknown, fuzz_numbers *n, leat_array *out);

/* False for more work than `most` operations, which a small file may well ask for: it is planned
 * only. */
int fuzz_is_bearable(leat_session *session, const leat_array *in, size_t n, uint64_t most);

#endif
