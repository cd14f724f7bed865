/* SPDX-License-Identifier: Apache-2.0 */
#include "int8/finish.h"

#include <math.h>

int32_t lt_int8_row_sum(const lt_gemm_tile *tile, size_t row)
{
    uint32_t sum = 0;
    for (size_t t = 0; t < tile->taps; t++) {
        const uint8_t *a = tile->rows[t * LT_GEMM_MAX_MR + row];
        for (size_t j = 0; j < tile->k; j++) {
            sum += a[j];
        }
    }
    return (int32_t)sum;
}

static bool bytes_modest(const lt_int8_epilogue *e, double largest, size_t columns)
{
    double bias = 0;
    for (size_t i = 0; e->bias != NULL && i < columns; i++) {
        double own = fabs((double)e->bias[i]);
        bias = own > bias ? own : bias;
        if (!(own < 1e30)) { /* NaN, too */
            return false;
        }
    }
    return largest + bias < 0x1p30;
}

void lt_int8_choose_way(lt_int8_epilogue *e, double largest, size_t columns)
{
    bool plain = e->column_zero == NULL && e->row_zero == NULL;
    bool bare = plain && e->activate == NULL;
    e->way = LT_INT8_WAY_ANY;
    if (e->result == LT_INT8_RESULT_F32) {
        bool simple = e->residual_kind == LT_INT8_RESIDUAL_NONE ||
                      (e->residual_kind == LT_INT8_RESIDUAL_F32 && e->residual_factor == 1.0f &&
                       e->mid_factor == 1.0f && e->residual_offset == 0.0f);
        e->way = bare && simple && !e->mid ? LT_INT8_WAY_FLOATS : LT_INT8_WAY_ANY;
        return;
    }
    if (e->result != LT_INT8_RESULT_BYTE) {
        return;
    }
    e->low_q = (int32_t)nearbyintf(e->low) + e->zero;
    e->high_q = (int32_t)nearbyintf(e->high) + e->zero;
    e->type_bounds = e->low_q == (e->is_signed ? INT8_MIN : 0) &&
                     e->high_q == (e->is_signed ? INT8_MAX : UINT8_MAX);
    if (!bare || !bytes_modest(e, largest, columns)) {
        return;
    }
    if (e->residual_kind == LT_INT8_RESIDUAL_NONE) {
        e->way = e->mid ? LT_INT8_WAY_ANY : LT_INT8_WAY_BYTES;
    } else if (e->residual_kind == LT_INT8_RESIDUAL_BYTE && (e->mid || e->mid_factor == 1.0f)) {
        bool small = fabsf(e->mid_factor) < 0x1p16f && fabsf(e->residual_factor) < 0x1p16f &&
                     fabsf(e->residual_offset) < 0x1p24f;
        e->way = small ? LT_INT8_WAY_BYTES_RESIDUAL : LT_INT8_WAY_ANY;
    }
}

#define FINISH lt_int8_finish_portable
#include "int8/finish.inc"
