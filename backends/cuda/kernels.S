/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels' fat binary (LT_CUDA_FATBIN: its path; nothing without it) as data of the plugin. */
    .section .rodata
    .balign 64
    .globl lt_cuda_kernels
    .hidden lt_cuda_kernels
    .type lt_cuda_kernels, @object
lt_cuda_kernels:
#ifdef LT_CUDA_FATBIN
    .incbin LT_CUDA_FATBIN
#endif
    .byte 0
    .size lt_cuda_kernels, . - lt_cuda_kernels
    .section .note.GNU-stack, "", @progbits
