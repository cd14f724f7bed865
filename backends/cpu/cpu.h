/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU backend's kernel families share. Includes only leat/backend.h: the backend could be
 * built as a plugin.
 *
 * Each family has a folder with a rows.def: one line per operator,
 *
 *     CPU_ROW(op, domain, since, until, dtypes, layout, supports, prepare)
 *
 * from which the table and the prototypes expand. `supports` is lt_cpu_supports_any where the type
 * mask says all.
 *
 * Kernels come in up to three forms: FILE.c is portable C, FILE_avx2.c (AVX2, FMA, F16C) and
 * FILE_avx512.c (F, BW, DQ, VL) are compiled with those flags by the Makefile and are called only
 * when device->isa allows; FILE_avxvnni.c, FILE_avx512vnni.c and FILE_avx512bf16.c when the flag of
 * that name does. A family's kernel text that serves several forms is a FILE.inc.
 */
#ifndef LT_CPU_CPU_H
#define LT_CPU_CPU_H

#include <leat/backend.h>
#include <stdbool.h>

typedef enum lt_cpu_isa {
    LT_CPU_PORTABLE,
    LT_CPU_AVX2,    /* AVX2, FMA, F16C */
    LT_CPU_AVXVNNI, /* a limit only: isa is AVX2 then, and avx_vnni is left as it is */
    LT_CPU_AVX512   /* AVX2 and AVX-512 F, BW, DQ, VL */
} lt_cpu_isa;

/* The opened device: what prepare gets as `device`. Read only. */
typedef struct lt_cpu_device {
    lt_cpu_isa isa;
    bool avx512_vnni;
    bool avx512_bf16;
    bool full_width; /* two multiply-adds of 512 bits a cycle, where others do one (Zen 4) */
    bool avx_vnni;   /* dot products of bytes in 256 bits, without AVX-512 */
    uint32_t cores;
    size_t l1_bytes; /* data cache of one core */
    size_t l2_bytes; /* of one core */
    size_t l3_bytes;
    char name[49]; /* the processor's own, such as "AMD EPYC 9654 96-Core Processor" */
    const leat_host *host;
} lt_cpu_device;

/* Reads the machine's abilities. `limit` caps isa (tests; the variable LEAT_CPU_ISA=portable,
 * avx2, avxvnni or avx512 does the same for users). */
void lt_cpu_device_detect(lt_cpu_device *device, lt_cpu_isa limit);

/* Writes a printf-formatted message; returns status. err may be NULL. */
leat_status lt_cpu_fail(leat_error *err, leat_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

leat_status lt_cpu_supports_any(const leat_kernel_node *node, leat_error *err);

/* The type that factors of a leat Conv, Gemm or MatMul may be rounded to: its attribute `compute`,
 * otherwise the type of its data. */
leat_dtype lt_cpu_compute_dtype(const leat_kernel_node *node);

/* supports() of such a node's types: `compute` is F16 or BF16 where its floats are of several.
 * Errors:   UNSUPPORTED. */
leat_status lt_cpu_compute_supports(const leat_kernel_node *node, leat_error *err);

/* Bit of a dtype in leat_op_row.dtypes. */
#define CPU_T(d) (1ull << LEAT_DTYPE_##d)
#define CPU_FLOATS (CPU_T(F32) | CPU_T(F64) | CPU_T(F16) | CPU_T(BF16))
#define CPU_SIGNED (CPU_T(I8) | CPU_T(I16) | CPU_T(I32) | CPU_T(I64))
#define CPU_UNSIGNED (CPU_T(U8) | CPU_T(U16) | CPU_T(U32) | CPU_T(U64))
#define CPU_INTS (CPU_SIGNED | CPU_UNSIGNED)
#define CPU_NUMBERS (CPU_FLOATS | CPU_INTS)
#define CPU_FLOAT8 (CPU_T(F8E4M3FN) | CPU_T(F8E4M3FNUZ) | CPU_T(F8E5M2) | CPU_T(F8E5M2FNUZ))
/* Every type whose elements are whole bytes. */
#define CPU_WHOLE                                                                                  \
    (CPU_NUMBERS | CPU_FLOAT8 | CPU_T(F8E8M0) | CPU_T(BOOL) | CPU_T(C64) | CPU_T(C128))
#define CPU_PACKED (CPU_T(U4) | CPU_T(I4) | CPU_T(F4E2M1) | CPU_T(U2) | CPU_T(I2))
#define CPU_ALL (CPU_WHOLE | CPU_PACKED | CPU_T(STRING))
/* Arrays of arrays. */
#define CPU_CONTAINERS (CPU_T(MAP) | CPU_T(SEQUENCE) | CPU_T(OPTIONAL))

/* Bytes of one element of a whole-byte type. */
static inline size_t lt_cpu_element_bytes(leat_dtype dtype)
{
    switch (dtype) {
    case LEAT_DTYPE_F64:
    case LEAT_DTYPE_I64:
    case LEAT_DTYPE_U64:
    case LEAT_DTYPE_C64:
        return 8;
    case LEAT_DTYPE_C128:
    case LEAT_DTYPE_STRING:
        return 16;
    case LEAT_DTYPE_F32:
    case LEAT_DTYPE_I32:
    case LEAT_DTYPE_U32:
        return 4;
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
    case LEAT_DTYPE_I16:
    case LEAT_DTYPE_U16:
        return 2;
    default:
        return 1;
    }
}

/* p + bytes; NULL stays NULL, as in jobs whose room is planned before there is data. */
static inline void *lt_cpu_offset(const void *p, size_t bytes)
{
    return p == NULL ? NULL : (char *)p + bytes;
}

/* Least work, in bytes touched, that is worth a second thread. */
#define LT_CPU_GRAIN_BYTES (64u << 10)

/* Splits `count` items into equal ranges, several a thread: fn(argument, begin, end). One range,
 * run by the caller, when the work (count * bytes_per_item) is small. Boundaries are multiples of
 * `unit` items. */
typedef void (*lt_cpu_range_fn)(void *argument, int64_t begin, int64_t end);
void lt_cpu_parallel_range(const leat_kernel_args *args, int64_t count, int64_t unit,
                           double bytes_per_item, lt_cpu_range_fn fn, void *argument);

/* Conversions of single elements (IEEE round to nearest even). */
static inline float lt_bf16_to_f32(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)h << 16};
    return v.f;
}

static inline uint16_t lt_f32_to_bf16(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {f};
    uint32_t rounded = (v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16;
    return (uint16_t)((v.u & 0x7fffffffu) > 0x7f800000u ? (v.u >> 16) | 0x40u : rounded);
}

float lt_f16_to_f32(uint16_t h);
uint16_t lt_f32_to_f16(float f);

/* The table of all rows (rows.c) and how many there are. */
enum {
    LT_CPU_N_ROWS = 0
#define CPU_ROW(...) +1
#include "rows.inc"
#undef CPU_ROW
};
extern const leat_op_row lt_cpu_rows[];

/* The built-in backend. Pure. */
const leat_backend *lt_cpu_backend_query(uint32_t host_abi);

#endif
