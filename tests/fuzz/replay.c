/* SPDX-License-Identifier: Apache-2.0 */
/* Gives a target every file of the folders named, without libFuzzer: replay FOLDER...
 * Ends with "N passed, 0 failed, 0 skipped"; a finding stops the program. */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static void replay(const char *folder, const char *name, int *count)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t bytes = 0;
    if (f != NULL && fseek(f, 0, SEEK_END) == 0) {
        long end = ftell(f);
        rewind(f);
        bytes = end > 0 ? (size_t)end : 0;
        data = malloc(bytes + 1);
        bytes = data ? fread(data, 1, bytes, f) : 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, bytes);
    free(data);
    ++*count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
            if (e->d_type != DT_DIR) {
                replay(argv[i], e->d_name, &count);
            }
        }
        if (folder != NULL) {
            closedir(folder);
        }
    }
    printf("%d passed, 0 failed, 0 skipped\n", count);
    return 0;
}
