/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c and file.c. */
#include "support/test.h"

#include "base/file.h"
#include "base/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    lt_memory memory;
    lt_arena arena;
    char folder[64];
    char path[128];
} fixture;

static int setup(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof(f));
    lt_memory_init(&f.memory, NULL, 0);
    lt_arena_init(&f.arena, &f.memory, 0);
    strcpy(f.folder, "/tmp/leat-test-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    snprintf(f.path, sizeof(f.path), "%s/a.npy", f.folder);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0); /* fails when a temporary file was left behind */
    lt_arena_destroy(&f->arena);
    assert_int_equal(f->memory.live_blocks, 0);
    return 0;
}

static void write_then_read_gives_the_same(void **state)
{
    fixture *f = *state;
    float data[6] = {1, -2, 3.5f, 0, 1e30f, -0.0f};
    leat_array a = {LEAT_DTYPE_F32, 2, {2, 3}, data, sizeof(data)}, b;
    leat_error err = {0};
    lt_file_map map;
    assert_ok(lt_npy_write(&f->memory, f->path, &a, &err), &err);
    assert_ok(lt_file_map_open(f->path, &map, &err), &err);
    assert_int_equal(map.bytes % 8, 0);
    assert_ok(lt_npy_read(&f->arena, map.data, map.bytes, &b, &err), &err);
    assert_int_equal(b.dtype, LEAT_DTYPE_F32);
    assert_int_equal(b.rank, 2);
    assert_int_equal(b.shape[1], 3);
    assert_memory_equal(b.data, data, sizeof(data));
    lt_file_map_close(&map);
}

/* Header of a 2x3 array, and 6 elements behind. */
static size_t make(char *out, const char *descr, const char *order, const void *data, size_t bytes)
{
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    int n = sprintf(out + 10, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3), }\n", descr,
                    order);
    out[8] = (char)n;
    out[9] = 0;
    memcpy(out + 10 + n, data, bytes);
    return 10 + (size_t)n + bytes;
}

static void read_big_endian_and_fortran_order(void **state)
{
    fixture *f = *state;
    char file[256];
    uint8_t big[12] = {0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6}; /* columns of [[1,2,3],[4,5,6]] */
    leat_array a;
    leat_error err = {0};
    size_t n = make(file, ">u2", "True", big, sizeof(big));
    assert_ok(lt_npy_read(&f->arena, file, n, &a, &err), &err);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(((uint16_t *)a.data)[i], i + 1);
    }
}

static void read_bad_files_is_refused(void **state)
{
    fixture *f = *state;
    char file[256];
    uint8_t data[6] = {0};
    leat_array a;
    leat_error err = {0};
    size_t n = make(file, "|u1", "False", data, sizeof(data));
    assert_ok(lt_npy_read(&f->arena, file, n, &a, &err), &err);
    for (size_t cut = 0; cut < n; cut++) { /* every truncation */
        assert_int_not_equal(lt_npy_read(&f->arena, file, cut, &a, &err), LEAT_OK);
    }
    n = make(file, "|O", "False", data, sizeof(data));
    assert_int_equal(lt_npy_read(&f->arena, file, n, &a, &err), LEAT_UNSUPPORTED);
    file[1] = 'X';
    assert_int_equal(lt_npy_read(&f->arena, file, n, &a, &err), LEAT_CORRUPT);
}

static void map_refuses_what_is_no_file(void **state)
{
    fixture *f = *state;
    lt_file_map map;
    leat_error err = {0};
    assert_int_equal(lt_file_map_open(f->path, &map, &err), LEAT_NOT_FOUND);
    assert_int_equal(lt_file_map_open(f->folder, &map, &err), LEAT_INVALID);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(lt_file_map_open(f->path, &map, &err), LEAT_INVALID);
}

static void writer_that_is_closed_leaves_nothing(void **state)
{
    fixture *f = *state;
    lt_file_writer w;
    leat_error err = {0};
    static char block[300000];
    assert_ok(lt_file_writer_open(&f->memory, f->path, &w, &err), &err);
    assert_ok(lt_file_writer_write(&w, block, sizeof(block), &err), &err);
    assert_ok(lt_file_writer_write(&w, block, 10, &err), &err);
    lt_file_writer_close(&w);
    assert_int_not_equal(access(f->path, F_OK), 0);
    assert_int_equal(lt_file_writer_open(&f->memory, "/nowhere/at/all", &w, &err), LEAT_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(write_then_read_gives_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(read_big_endian_and_fortran_order, setup, teardown),
        cmocka_unit_test_setup_teardown(read_bad_files_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(map_refuses_what_is_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(writer_that_is_closed_leaves_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
