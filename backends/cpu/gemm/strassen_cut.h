/* SPDX-License-Identifier: Apache-2.0 */
/* How a product by strassen.h is cut; between its files. */
#ifndef LT_CPU_GEMM_STRASSEN_CUT_H
#define LT_CPU_GEMM_STRASSEN_CUT_H

#include "gemm/strassen.h"

/* How a product is cut. All sizes in floats. */
typedef struct lt_strassen_cutting {
    size_t half_k;
    size_t chunk_k; /* whole lines */
    size_t chunks;
    size_t pairs; /* of rows */
    size_t tiles;
    size_t tile_pairs;   /* of a tile, ... */
    size_t higher_tiles; /* ... but of so many, the first ones, one more */
    size_t blocks;
    size_t block_tiles; /* of a block, at most */
    bool by_blocks;     /* a task is a block; otherwise a share of the units */
    size_t units;
    size_t rest;       /* columns that the plain product takes */
    size_t factors;    /* of the factors of A for a block and a chunk */
    size_t difference; /* of a difference of quadrants of B */
    size_t quadrant;   /* of a quadrant of a unit's C */
    size_t own;        /* of a thread: all of these and a line */
} lt_strassen_cutting;

/* The cut of a product of these sizes to which lt_strassen_applies, for so many threads. */
lt_strassen_cutting lt_strassen_cut(const lt_strassen_kernels *kernels, size_t m, size_t n,
                                    size_t k, size_t threads);

/* Of a row of a factor of A, for a chunk of whole lines. */
static inline size_t lt_strassen_row_floats(size_t chunk_k)
{
    return chunk_k / LT_STRASSEN_LINE * LT_STRASSEN_PITCH;
}

#endif
