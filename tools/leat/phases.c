/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/phases.h"

#include <stdlib.h>
#include <string.h>

#define WARM_RUNS 3
#define LEAST_RUNS 10
#define MOST_RUNS 500
#define MOST_MS 300
/* A device whose launches take this share of its time waits for the host. */
#define ENQUEUE_SHARE 0.8

enum {
    H2D,
    ENQUEUE,
    COMPUTE,
    D2H,
    N_PHASES
};

bool phases_apply(const options *o)
{
    return strncmp(o->device, "cpu", 3) != 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_ms(uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof(*ns), by_value);
    return count ? (double)ns[count / 2] / 1e6 : 0;
}

/* Times of each phase, MOST_RUNS apart. */
static leat_status run_all(leat_session *session, const inputs *in, size_t n_out, uint64_t *ns,
                           size_t *out_count, leat_error *err)
{
    leat_array out[MAX_LIST];
    leat_plan_report report = {.struct_size = sizeof(report)};
    leat_status status = LEAT_OK;
    double begin = now_ms();
    size_t count = 0;
    for (int i = 0; status == LEAT_OK && count < MOST_RUNS; i++) {
        if (count >= LEAST_RUNS && now_ms() - begin > MOST_MS) {
            break;
        }
        memset(out, 0, sizeof(out));
        status = leat_session_run(session, in->arrays, in->count, out, n_out, err);
        status = status ? status : leat_session_report(session, &report, err);
        if (i >= WARM_RUNS) {
            ns[H2D * MOST_RUNS + count] = report.h2d_ns;
            ns[ENQUEUE * MOST_RUNS + count] = report.enqueue_ns;
            ns[COMPUTE * MOST_RUNS + count] = report.compute_ns;
            ns[D2H * MOST_RUNS + count] = report.d2h_ns;
            count++;
        }
    }
    *out_count = count;
    return status;
}

leat_status phases_measure(const options *o, const opened *all, const inputs *in, phases *out,
                           leat_error *err)
{
    leat_session_desc desc = describe_session(o, 2);
    leat_session *session = NULL;
    size_t count = 0;
    uint64_t *ns = malloc(N_PHASES * MOST_RUNS * sizeof(*ns));
    if (ns == NULL) {
        snprintf(err->message, sizeof(err->message), "no memory to time the device");
        return LEAT_NO_MEMORY;
    }
    leat_status status = leat_session_create(all->model, &desc, &session, err);
    if (status == LEAT_OK) {
        status = run_all(session, in, leat_model_io(all->model)->n_outputs, ns, &count, err);
    }
    out->h2d_ms = median_ms(ns + H2D * MOST_RUNS, count);
    out->enqueue_ms = median_ms(ns + ENQUEUE * MOST_RUNS, count);
    out->compute_ms = median_ms(ns + COMPUTE * MOST_RUNS, count);
    out->d2h_ms = median_ms(ns + D2H * MOST_RUNS, count);
    out->bound = out->h2d_ms + out->d2h_ms > out->compute_ms         ? "transfer"
                 : out->enqueue_ms > ENQUEUE_SHARE * out->compute_ms ? "enqueue"
                                                                     : "compute";
    leat_session_destroy(session);
    free(ns);
    return status;
}

void phases_print(const options *o, const phases *p)
{
    printf(o->json
               ? ", \"h2d_ms\": %.6f, \"enqueue_ms\": %.6f, \"compute_ms\": %.6f, "
                 "\"d2h_ms\": %.6f, \"bound_by\": \"%s\""
               : "apart, in ms: to the device %.4f, enqueue %.4f, compute %.4f, from the device "
                 "%.4f; bound by %s\n",
           p->h2d_ms, p->enqueue_ms, p->compute_ms, p->d2h_ms, p->bound);
}
