/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one node through the CPU backend's rows, without graph or runtime, on a chosen instruction
 * set. */
#ifndef TESTS_SUPPORT_KERNEL_H
#define TESTS_SUPPORT_KERNEL_H

#include "cpu.h"
#include "support/attrs.h"

#define TEST_KERNEL_MAX 64

/* The instruction sets that kernels of most families are written for. */
extern const lt_cpu_isa test_isas[3];

typedef struct test_kernel {
    const char *op;
    const char *domain; /* NULL: "" */
    int32_t opset;      /* 0: 22 */
    const leat_attr *attrs;
    uint32_t n_attrs;
    const leat_array *inputs; /* data NULL and dtype UNDEFINED: an omitted input */
    uint32_t n_inputs;
    uint64_t constants;  /* bit i: input i is a constant, so that prepare may pack it */
    leat_array *outputs; /* dtype, shape and data given; data NULL and UNDEFINED: omitted */
    uint32_t n_outputs;
    lt_cpu_isa isa;  /* cap; what the machine lacks is not used */
    int32_t threads; /* 0: one */
    int32_t order; /* of tasks: 0 falling, by all threads in turn; by the first thread 1 falling, 2
                      all others behind those of even numbers */
    const char *way; /* of those that prepare offers plan_choose; NULL: the one of least cost */
    leat_plan_options options;
} test_kernel;

/* Finds the row, calls supports, prepare and launch, twice: on copies of the arrays that begin at a
 * guard page, and on such that end at one (support/guarded.h). A view (view_of) is copied to output
 * 0. Workspace is filled with 0xff first. out_name (may be NULL) receives the kernel's name.
 * Errors:   UNSUPPORTED without a row; NOT_FOUND when the way is not offered; CORRUPT when it wrote
 *           outside of its arrays; those of the row. */
leat_status test_kernel_run(const test_kernel *kernel, const char **out_name, leat_error *err);

/* The same; fails the test on an error. */
void test_kernel_must_run(const test_kernel *kernel);

#endif
