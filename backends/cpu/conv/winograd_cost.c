/* SPDX-License-Identifier: Apache-2.0 */
/* What a 3x3 convolution costs by each way: a model in processor cycles, for choosing among them
 * where nothing was measured.
 *
 *     arithmetic   multiply-adds at the micro-kernel's rate, and its overhead a call
 *     transforms   cycles a channel of a tile, measured on Zen 4 and Zen 5: loads and stores bound
 *                  them, so that units of full width take as long
 *     weights      from memory once a run: a network's other layers have driven them out
 *
 * Arithmetic and the stream of weights overlap for the most part. */
#include "conv/winograd.h"

#define GHZ 3.5                  /* nominal: only ratios matter */
#define CALL_CYCLES 60.0         /* of a micro-kernel, outside of its loop */
#define MEMORY_BYTES_CYCLE 8.0   /* of one core that streams */
#define MEMORY_BYTES_SHARED 12.0 /* of all cores together */
#define CONVERT_CYCLES 4.0       /* of a channel of a tile, to f32 and back */
#define STEP_CYCLES 10e3         /* to start and join all threads */
#define EXPOSED 0.25             /* of the shorter one of arithmetic and the stream of weights */
#define EXPOSED_WIDE 0.75        /* the same beside dot products of bf16 at full width */
#define PASSED_BYTES_CYCLE 4.0   /* of one core, for what one thread writes and another reads */
/* Weights of one layer that are worth their memory: 4 times (F(4x4)) those of the definition, up to
 * 512 x 512 channels. */
#define MOST_WEIGHT_BYTES (36.0 * (1 << 20))

typedef struct machine {
    double macs;      /* a cycle */
    double lanes;     /* of the transforms' vectors, those of 16 counting once a cycle */
    bool beside_dots; /* the other way has dot products of bf16 at full width: a narrow choice */
    uint32_t threads;
} machine;

static double total(const machine *m, double cycles, double weight_bytes)
{
    double own = weight_bytes / MEMORY_BYTES_CYCLE / m->threads;
    double shared = weight_bytes / MEMORY_BYTES_SHARED;
    double memory = own > shared ? own : shared, each = cycles / m->threads;
    double longer = each > memory ? each : memory, shorter = each > memory ? memory : each;
    double exposed = m->beside_dots ? EXPOSED_WIDE : EXPOSED;
    return (longer + exposed * shorter + (m->threads > 1 ? STEP_CYCLES : 0)) / GHZ;
}

/* How many times faster than f32 the other way's products are. */
static double igemm_rate(const lt_conv *conv, const lt_cpu_device *device)
{
    return conv->compute == LEAT_DTYPE_BF16 && device->avx512_bf16 ? 2 : 1;
}

static double padded(double n, double unit)
{
    int64_t whole = (int64_t)(n / unit);
    return ((double)whole * unit < n ? (double)whole + 1 : (double)whole) * unit;
}

static double winograd_ns(const lt_conv *conv, const lt_gemm_kernels *gemm, const machine *m,
                          int64_t tile)
{
    const lt_conv_geometry *g = &conv->g;
    double groups = (double)g->groups, in = (double)g->in_channels / groups;
    double out = (double)g->out_channels / groups, columns = padded(out, gemm->nr / 2.0);
    double positions = (double)((tile + 2) * (tile + 2));
    double tiles = (double)g->batch * (double)((g->out[1] + tile - 1) / tile) *
                   (double)((g->out[2] + tile - 1) / tile);
    double weights = groups * positions * in * columns * sizeof(float);
    if (weights > MOST_WEIGHT_BYTES) {
        return 0;
    }
    double macs = groups * positions * tiles * in * columns;
    double calls = groups * positions * padded(columns, gemm->nr) / gemm->nr *
                   padded(tiles, gemm->mr) / gemm->mr;
    /* Vectors of a whole register's width; a narrow machine takes as many times longer. */
    bool converts = conv->dtype != LEAT_DTYPE_F32 || conv->y_dtype != LEAT_DTYPE_F32;
    double transforms = groups * tiles * (padded(in, 16) + padded(out, 16)) *
                        ((tile == 4 ? 15.0 : 6.0) + (converts ? CONVERT_CYCLES : 0)) * 16 /
                        m->lanes;
    double cycles = macs / m->macs + calls * CALL_CYCLES + transforms;
    const double shared_below = (double)lt_winograd_shared_below(gemm, m->threads);
    if (m->beside_dots && m->threads > 1 && tiles < shared_below) {
        cycles += tiles * positions * (in + out) * sizeof(float) / PASSED_BYTES_CYCLE;
        cycles += 2 * STEP_CYCLES * m->threads;
    }
    return total(m, cycles, weights);
}

lt_conv_costs lt_winograd_costs(const lt_conv *conv, const lt_cpu_device *device, uint32_t threads)
{
    const lt_conv_geometry *g = &conv->g;
    const lt_gemm_kernels *gemm = lt_gemm_kernels_for(device, LEAT_DTYPE_F32);
    const double lanes = device->isa == LT_CPU_PORTABLE ? 4 : 16, rate = igemm_rate(conv, device);
    const machine m = {device->full_width ? 32 : lanes, lanes, device->full_width && rate > 1,
                       threads};
    double groups = (double)g->groups, k = 9.0 * (double)g->in_channels / groups;
    double columns = padded((double)g->out_channels / groups, gemm->nr / 2.0);
    double rows = (double)g->batch * (double)g->out[1] * (double)g->out[2];
    double calls =
        groups * padded(columns, gemm->nr) / gemm->nr * padded(rows, gemm->mr) / gemm->mr;
    double cycles = groups * rows * k * columns / m.macs / rate + calls * CALL_CYCLES;
    double bytes = groups * k * columns * (conv->compute == LEAT_DTYPE_F32 ? 4 : 2);
    return (lt_conv_costs){.igemm_ns = total(&m, cycles, bytes),
                           .winograd_4x4_ns = winograd_ns(conv, gemm, &m, 4),
                           .winograd_2x2_ns = winograd_ns(conv, gemm, &m, 2)};
}
