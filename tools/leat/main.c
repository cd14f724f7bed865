/* SPDX-License-Identifier: Apache-2.0 */
/* leat: runs, measures, inspects, quantizes and tests ONNX models. */
#include "leat/tool.h"

#include <errno.h>
#include <string.h>

/* What was printed must have arrived: on a full disk it has not. */
static int finish(int code)
{
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && code == EXIT_FINE) {
        fprintf(stderr, "leat: what was printed could not be written: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return code;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const options *o);
    } commands[] = {{"run", cmd_run},         {"bench", cmd_bench}, {"inspect", cmd_inspect},
                    {"devices", cmd_devices}, {"test", cmd_test},   {"quantize", cmd_quantize}};
    options o;
    if (argc < 2) {
        print_usage(stderr, NULL);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout, NULL);
        return finish(EXIT_FINE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        uint32_t v = leat_version();
        printf("leat %u.%u.%u\n", v / 10000, v / 100 % 100, v % 100);
        return EXIT_FINE;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            int code = options_parse(argc, argv, &o);
            if (code == EXIT_FINE && o.help) {
                print_usage(stdout, o.command);
                return finish(EXIT_FINE);
            }
            return finish(code != EXIT_FINE ? code : commands[i].run(&o));
        }
    }
    fprintf(stderr, "leat: '%s' is not a command; see leat --help\n", argv[1]);
    return EXIT_USAGE;
}
