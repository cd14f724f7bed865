/* SPDX-License-Identifier: Apache-2.0 */
/* A server's /metrics: metrics MODEL.onnx REQUESTS PORT
 * Build:  cc metrics.c $(pkg-config --cflags --libs leat) -o metrics
 *
 * Sends so many requests of one row through a batcher, then says "ready" and answers every HTTP
 * request on 127.0.0.1:PORT with what leat_metrics_write writes, until its standard input ends. */
#include <leat/metrics.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_INPUTS 16

static int send_requests(leat_batcher *batcher, const leat_model_signature *io, int n,
                         leat_error *err)
{
    leat_array in[MAX_INPUTS] = {{LEAT_DTYPE_UNDEFINED, 0, {0}, NULL, 0}};
    leat_array out[MAX_INPUTS];
    for (size_t i = 0; i < io->n_inputs && i < MAX_INPUTS; i++) {
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
    for (size_t o = 0; o < io->n_outputs && o < MAX_INPUTS; o++) {
        out[o].bytes = 1 << 20;
        out[o].data = malloc(out[o].bytes);
    }
    leat_status status = LEAT_OK;
    for (int r = 0; r < n && status == LEAT_OK; r++) {
        leat_array result[MAX_INPUTS];
        memcpy(result, out, sizeof(result));
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = in,
                                        .n_inputs = io->n_inputs,
                                        .outputs = result,
                                        .n_outputs = io->n_outputs};
        status = leat_batcher_run(batcher, &desc, err);
    }
    for (size_t i = 0; i < MAX_INPUTS; i++) {
        free(i < io->n_inputs ? in[i].data : NULL);
        free(i < io->n_outputs ? out[i].data : NULL);
    }
    return status == LEAT_OK;
}

static leat_status send_all(void *user, const char *text, size_t bytes)
{
    const int fd = *(const int *)user;
    while (bytes > 0) {
        const ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);
        if (n <= 0) {
            return LEAT_IO;
        }
        text += n;
        bytes -= (size_t)n;
    }
    return LEAT_OK;
}

/* One request a connection; what it asks for is not looked at. */
static void answer(int fd, const leat_metrics_desc *metrics)
{
    static const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; "
                               "charset=utf-8\r\n\r\n";
    char request[4096];
    leat_error err = {LEAT_OK, ""};
    if (recv(fd, request, sizeof(request), 0) > 0 &&
        (send_all(&fd, head, sizeof(head) - 1) != LEAT_OK ||
         leat_metrics_write(metrics, send_all, &fd, &err) != LEAT_OK)) {
        fprintf(stderr, "metrics: %s\n", err.message);
    }
    close(fd);
}

static int serve(int port, const leat_metrics_desc *metrics)
{
    struct sockaddr_in at;
    const int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&at, 0, sizeof(at));
    at.sin_family = AF_INET;
    at.sin_port = htons((uint16_t)port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 16) != 0) {
        perror("metrics");
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        char byte;
        struct pollfd fds[2] = {{listener, POLLIN, 0}, {0, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 || (fds[1].revents != 0 && read(0, &byte, 1) <= 0)) {
            break;
        }
        if (fds[0].revents != 0) {
            answer(accept(listener, NULL, NULL), metrics);
        }
    }
    close(listener);
    return 0;
}

int main(int argc, char **argv)
{
    leat_error err = {LEAT_INVALID, "usage: metrics MODEL.onnx REQUESTS PORT"};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_batcher *batcher = NULL;
    leat_gpu_monitor *gpus = NULL;
    if (argc != 4 || leat_context_create(NULL, &context, &err) ||
        leat_model_load(context, argv[1], NULL, &model, &err) ||
        leat_batcher_create(model, NULL, &batcher, &err) ||
        !send_requests(batcher, leat_model_io(model), atoi(argv[2]), &err)) {
        fprintf(stderr, "metrics: %s\n", err.message);
        return 1;
    }
    if (leat_gpu_monitor_create(context, &gpus, &err) != LEAT_OK) {
        fprintf(stderr, "metrics: no series of GPUs: %s\n", err.message);
    }
    const leat_metrics_batcher named = {argv[1], batcher};
    leat_metrics_desc metrics = {.struct_size = sizeof(metrics),
                                 .context = context,
                                 .batchers = &named,
                                 .n_batchers = 1,
                                 .gpus = gpus};
    const int result = serve(atoi(argv[3]), &metrics);
    leat_gpu_monitor_destroy(gpus);
    leat_batcher_destroy(batcher);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return result;
}
