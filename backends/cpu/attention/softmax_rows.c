/* SPDX-License-Identifier: Apache-2.0 */
#define TABLE lt_softmax_rows_portable
#include "attention/softmax_rows.inc"
