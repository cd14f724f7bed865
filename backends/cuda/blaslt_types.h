/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and structures of https://docs.nvidia.com/cuda/cublas/ (using the cuBLASLt API), as far
 * as the plugin needs them; bench/ladder/gemm_lt.cu compares them with NVIDIA's header. */
#ifndef LEAT_CUDA_BLASLT_TYPES_H
#define LEAT_CUDA_BLASLT_TYPES_H

#include <stddef.h>
#include <stdint.h>

enum {
    BLASLT_R_32F = 0, /* cudaDataType */
    BLASLT_R_16F = 2,
    BLASLT_R_16BF = 14,

    BLASLT_COMPUTE_32F = 68, /* cublasComputeType_t */
    BLASLT_COMPUTE_32F_FAST_TF32 = 77,

    BLASLT_OP_N = 0, /* cublasOperation_t */
    BLASLT_OP_T = 1,

    BLASLT_DESC_TRANSA = 3, /* cublasLtMatmulDescAttributes_t */
    BLASLT_DESC_EPILOGUE = 7,
    BLASLT_DESC_BIAS_POINTER = 8,

    BLASLT_LAYOUT_BATCH_COUNT = 5, /* cublasLtMatrixLayoutAttribute_t */
    BLASLT_LAYOUT_STRIDED_BATCH_OFFSET = 6,

    BLASLT_PREF_MAX_WORKSPACE_BYTES = 1, /* cublasLtMatmulPreferenceAttributes_t */
    BLASLT_PREF_REDUCTION_SCHEME_MASK = 3,
    BLASLT_PREF_MIN_ALIGNMENT_A_BYTES = 5, /* and of B, C, D behind it */

    BLASLT_CONFIG_TILE_ID = 1, /* cublasLtMatmulAlgoConfigAttributes_t */
    BLASLT_CONFIG_CLUSTER_SHAPE_ID = 8,

    BLASLT_TILE_256X128 = 24,       /* cublasLtMatmulTile_t, a column is 256 high */
    BLASLT_CLUSTER_SHAPE_1X2X1 = 5, /* cublasLtClusterShape_t */

    BLASLT_REDUCTION_COMPUTE_TYPE = 2, /* cublasLtReductionScheme_t */

    BLASLT_EPILOGUE_DEFAULT = 1, /* cublasLtEpilogue_t */
    BLASLT_EPILOGUE_RELU = 2,
    BLASLT_EPILOGUE_BIAS = 4,
    BLASLT_EPILOGUE_GELU = 32 /* by tanh */
};

typedef struct blaslt_matmul_desc {
    uint64_t words[32];
} blaslt_matmul_desc;
typedef struct blaslt_layout {
    uint64_t words[8];
} blaslt_layout;
typedef struct blaslt_preference {
    uint64_t words[8];
} blaslt_preference;
typedef struct blaslt_algorithm {
    uint64_t words[8];
} blaslt_algorithm;
/* cublasLtMatmulHeuristicResult_t */
typedef struct blaslt_proposal {
    blaslt_algorithm algorithm;
    size_t workspace_bytes;
    int32_t state; /* 0: good */
    float waves;
    int32_t reserved[4];
} blaslt_proposal;

#endif
