/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_METRICS_SEQUENCES_H
#define LT_METRICS_SEQUENCES_H

#include "metrics/text.h"

/* The series of leat_metrics_desc.sequences. */
void lt_write_sequences(lt_text *text, const leat_metrics_desc *desc);

#endif
