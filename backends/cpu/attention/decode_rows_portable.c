/* SPDX-License-Identifier: Apache-2.0 */
#define TABLE lt_decode_portable
#include "attention/decode_rows.inc"
