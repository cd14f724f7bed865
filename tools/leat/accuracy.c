/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/accuracy.h"

#include <math.h>
#include <string.h>

/* Element i of a float array. */
static double element(const leat_array *a, size_t i)
{
    return a->dtype == LEAT_DTYPE_F64 ? ((const double *)a->data)[i]
                                      : (double)((const float *)a->data)[i];
}

static void compare(const leat_array *y, const leat_array *exact, accuracy *worst)
{
    size_t bytes = y->dtype == LEAT_DTYPE_F64 ? 8 : 4, n = y->bytes / bytes;
    double most = 0, sum = 0, largest_error = 0, error_sum = 0;
    if ((y->dtype != LEAT_DTYPE_F32 && y->dtype != LEAT_DTYPE_F64) || y->bytes != exact->bytes) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double e = element(exact, i), error = fabs(element(y, i) - e);
        if (element(y, i) == e) { /* infinities */
            error = 0;
        }
        most = fabs(e) > most ? fabs(e) : most;
        sum += fabs(e);
        largest_error = error > largest_error || isnan(error) ? error : largest_error;
        error_sum += error;
    }
    double max_error = most > 0 ? largest_error / most : largest_error;
    double mean_error = sum > 0 ? error_sum / sum : error_sum;
    worst->max_error =
        max_error > worst->max_error || isnan(max_error) ? max_error : worst->max_error;
    worst->mean_error =
        mean_error > worst->mean_error || isnan(mean_error) ? mean_error : worst->mean_error;
}

leat_status accuracy_measure(const options *o, const opened *all, const inputs *in, accuracy *out,
                             leat_error *err)
{
    leat_array y[MAX_LIST] = {{0}}, exact[MAX_LIST] = {{0}};
    size_t n_out = leat_model_io(all->model)->n_outputs;
    leat_session *session = NULL;
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = &o->device,
                              .n_devices = 1,
                              .precision = LEAT_PRECISION_F32};
    memset(out, 0, sizeof(*out));
    leat_status status = leat_session_create(all->model, &desc, &session, err);
    if (status == LEAT_OK) {
        status = leat_session_run(session, in->arrays, in->count, exact, n_out, err);
    }
    if (status == LEAT_OK) {
        status = leat_session_run(all->session, in->arrays, in->count, y, n_out, err);
    }
    for (size_t i = 0; i < n_out && status == LEAT_OK; i++) {
        compare(&y[i], &exact[i], out);
    }
    leat_session_destroy(session);
    return status;
}
