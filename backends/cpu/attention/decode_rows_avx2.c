/* SPDX-License-Identifier: Apache-2.0 */
#define TABLE lt_decode_avx2
#include "attention/decode_rows.inc"
