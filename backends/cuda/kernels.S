/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels' fat binaries as data of the plugin; nothing in them without LT_CUDA_FATBIN. */
.macro blob name
    .section .rodata
    .balign 64
    .globl \name
    .hidden \name
    .type \name, @object
\name:
.endm
.macro done name
    .byte 0
    .size \name, . - \name
.endm

    blob lt_cuda_kernels
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_FATBIN
#endif
    done lt_cuda_kernels

    blob lt_cuda_gemm_f16_kernels
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_GEMM_F16_FATBIN
#endif
    done lt_cuda_gemm_f16_kernels

    blob lt_cuda_gemm_bf16_kernels
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_GEMM_BF16_FATBIN
#endif
    done lt_cuda_gemm_bf16_kernels

    blob lt_cuda_gemm_i8_kernels
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_GEMM_I8_FATBIN
#endif
    done lt_cuda_gemm_i8_kernels

    blob lt_cuda_gemm_u8_kernels
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_GEMM_U8_FATBIN
#endif
    done lt_cuda_gemm_u8_kernels

    blob lt_cuda_gemm_tf32_kernels
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_GEMM_TF32_FATBIN
#endif
    done lt_cuda_gemm_tf32_kernels

    .section .note.GNU-stack, "", @progbits
