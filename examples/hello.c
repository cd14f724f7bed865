/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to a result: hello MODEL.onnx
 * Feeds zeros to every input and prints the first numbers of every output. */
#include <leat/leat.h>

#include <stdio.h>
#include <stdlib.h>

#define MAX_IO 16

int main(int argc, char **argv)
{
    leat_error err = {LEAT_INVALID, "usage: hello MODEL.onnx"};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_session *session = NULL;
    leat_array in[MAX_IO] = {{LEAT_DTYPE_UNDEFINED, 0, {0}, NULL, 0}};
    leat_array out[MAX_IO] = {{LEAT_DTYPE_UNDEFINED, 0, {0}, NULL, 0}};

    if (argc != 2 || leat_context_create(NULL, &context, &err) ||
        leat_model_load(context, argv[1], NULL, &model, &err) ||
        leat_session_create(model, NULL, &session, &err)) {
        fprintf(stderr, "hello: %s\n", err.message);
        return 1;
    }
    const leat_model_signature *io = leat_model_io(model);
    for (size_t i = 0; i < io->n_inputs && i < MAX_IO; i++) {
        size_t count = 1;
        in[i].dtype = io->inputs[i].dtype;
        in[i].rank = io->inputs[i].rank < 0 ? 0 : io->inputs[i].rank;
        for (int d = 0; d < in[i].rank; d++) {
            in[i].shape[d] = io->inputs[i].shape[d] < 0 ? 1 : io->inputs[i].shape[d];
            count *= (size_t)in[i].shape[d];
        }
        in[i].bytes = leat_dtype_bytes(in[i].dtype, count);
        in[i].data = calloc(1, in[i].bytes + 1);
    }
    if (leat_session_run(session, in, io->n_inputs, out, io->n_outputs, &err)) {
        fprintf(stderr, "hello: %s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < io->n_outputs; i++) {
        const float *numbers = (const float *)out[i].data;
        printf("%s:", io->outputs[i].name);
        for (size_t j = 0; out[i].dtype == LEAT_DTYPE_F32 && j < 5 && j < out[i].bytes / 4; j++) {
            printf(" %g", (double)numbers[j]);
        }
        printf("\n");
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_context_destroy(context);
    for (size_t i = 0; i < MAX_IO; i++) {
        free(in[i].data);
    }
    return 0;
}
