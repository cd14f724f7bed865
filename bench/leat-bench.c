/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmarks of servers under one name: leat-bench serve|sched|batcher|sequences|buckets
 * [OPTION...]
 *
 * Each is a program of its own beside this one, which runs in its place: its options, what it
 * prints and its exit code are its own (the heads of bench/serve.c and so on). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"serve", "sched", "batcher", "sequences", "buckets"};

int main(int argc, char **argv)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 16);
    char *name = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && argc > 1; i++) {
        name = strcmp(argv[1], names[i]) == 0 ? argv[1] : name;
    }
    if (name == NULL || n <= 0) {
        fprintf(stderr, "usage: leat-bench serve|sched|batcher|sequences|buckets [OPTION...]\n");
        return 2;
    }
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, name);
    execv(path, argv + 1);
    fprintf(stderr, "leat-bench: '%s': %s: make bench builds it\n", path, strerror(errno));
    return 1;
}
