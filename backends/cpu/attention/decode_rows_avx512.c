/* SPDX-License-Identifier: Apache-2.0 */
#define TABLE lt_decode_avx512
#include "attention/decode_rows.inc"
