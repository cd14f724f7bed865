/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void arrivals_read(arrivals *a, const char *path)
{
    enum {
        MOST = 4000000
    };
    double *seconds = malloc(MOST * sizeof(*seconds));
    uint8_t *classes = calloc(MOST, 1);
    FILE *file = fopen(path, "r");
    char line[256];
    if (file == NULL || seconds == NULL || classes == NULL) {
        fail(path, NULL);
    }
    while (a->n < MOST && fgets(line, sizeof(line), file) != NULL) {
        unsigned class_index = 0;
        if (sscanf(line, "%lf,%u", &seconds[a->n], &class_index) < 1) {
            continue; /* a heading */
        }
        if (class_index >= CLASSES || (a->n > 0 && seconds[a->n] < seconds[a->n - 1])) {
            fail("a trace's times must ascend, its classes be 0 or 1", NULL);
        }
        classes[a->n++] = (uint8_t)class_index;
    }
    fclose(file);
    a->seconds = seconds;
    a->classes = classes;
}

double arrivals_next(arrivals *a, uint32_t *class_index)
{
    if (a->seconds != NULL) {
        if (a->next == a->n) {
            return INFINITY;
        }
        *class_index = a->classes[a->next];
        return a->seconds[a->next++];
    }
    if (a->rate <= 0) {
        return INFINITY;
    }
    const double on = a->on_ms / 1e3, whole = on + a->off_ms / 1e3;
    const double within = on > 0 ? a->rate * whole / on : a->rate;
    a->at += -log(uniform(&a->seed)) / within;
    return on > 0 ? floor(a->at / on) * whole + fmod(a->at, on) : a->at;
}
