/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one node through the CPU backend's rows, without graph or runtime, on a chosen instruction
 * set. */
#ifndef TESTS_SUPPORT_KERNEL_H
#define TESTS_SUPPORT_KERNEL_H

#include "cpu.h"

#define TEST_KERNEL_MAX 64

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
    const char *way; /* of those that prepare offers plan_choose; NULL: the one of least cost */
    leat_plan_options options;
} test_kernel;

/* Finds the row, calls supports, prepare and launch.  A view (view_of) is copied to output 0.
 * Workspace is filled with 0xff first. out_name (may be NULL) receives the kernel's name.
 * Errors:   UNSUPPORTED without a row; NOT_FOUND when the way is not offered; those of the row. */
leat_status test_kernel_run(const test_kernel *kernel, const char **out_name, leat_error *err);

/* Attributes for test_kernel.attrs. */
static inline leat_attr test_attr_int(const char *name, int64_t i)
{
    leat_attr attr = {name, LEAT_ATTR_INT, 1, {.i = i}};
    return attr;
}

static inline leat_attr test_attr_float(const char *name, float f)
{
    leat_attr attr = {name, LEAT_ATTR_FLOAT, 1, {.f = f}};
    return attr;
}

static inline leat_attr test_attr_ints(const char *name, const int64_t *ints, size_t count)
{
    leat_attr attr = {name, LEAT_ATTR_INTS, count, {.ints = ints}};
    return attr;
}

static inline leat_attr test_attr_string(const char *name, const char *text)
{
    leat_attr attr = {name, LEAT_ATTR_STRING, 1, {.s = {text, strlen(text)}}};
    return attr;
}

#endif
