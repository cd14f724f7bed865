/* SPDX-License-Identifier: Apache-2.0 */
/* Archives as np.savez writes them (numpy 1.x and 2.x: a zip64 extra field for every entry). */
#include "support/test.h"

#include "quantizer/npz.h"

#include <stdlib.h>
#include <string.h>

typedef struct archive {
    uint8_t bytes[1024];
    size_t used;
} archive;

static void put(archive *a, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        a->bytes[a->used++] = (uint8_t)(value >> (8 * i));
    }
}

static void put_text(archive *a, const char *text)
{
    memcpy(a->bytes + a->used, text, strlen(text));
    a->used += strlen(text);
}

/* What the two headers of an entry share: from the flags to the bytes of the extra field. */
static void put_entry(archive *a, unsigned method, bool zip64, const char *name, const char *text)
{
    put(a, 0, 2);
    put(a, method, 2);
    put(a, 0, 8);
    put(a, zip64 ? 0xffffffff : strlen(text), 4);
    put(a, zip64 ? 0xffffffff : strlen(text), 4);
    put(a, strlen(name), 2);
    put(a, zip64 ? 20 : 0, 2);
}

/* The name and the extra field. */
static void put_name(archive *a, bool zip64, const char *name, const char *text)
{
    put_text(a, name);
    if (zip64) {
        put(a, 1, 2);
        put(a, 16, 2);
        put(a, strlen(text), 8);
        put(a, strlen(text), 8);
    }
}

/* Two entries with the texts as their content. */
static archive make(unsigned method, bool zip64, const char *comment)
{
    static const char *const names[2] = {"x.npy", "ids.npy"}, *const texts[2] = {"first",
                                                                                 "second!"};
    archive a = {.used = 0};
    size_t at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = a.used;
        put(&a, 0x04034b50, 4);
        put(&a, 20, 2);
        put_entry(&a, method, zip64, names[i], texts[i]);
        put_name(&a, zip64, names[i], texts[i]);
        put_text(&a, texts[i]);
    }
    size_t directory = a.used;
    for (int i = 0; i < 2; i++) {
        put(&a, 0x02014b50, 4);
        put(&a, 20, 2);
        put(&a, 20, 2);
        put_entry(&a, method, zip64, names[i], texts[i]);
        put(&a, 0, 2);
        put(&a, 0, 8);
        put(&a, at[i], 4);
        put_name(&a, zip64, names[i], texts[i]);
    }
    size_t end = a.used;
    put(&a, 0x06054b50, 4);
    put(&a, 0, 4);
    put(&a, 2, 2);
    put(&a, 2, 2);
    put(&a, end - directory, 4);
    put(&a, directory, 4);
    put(&a, strlen(comment), 2);
    put_text(&a, comment);
    return a;
}

static void entry_is_found_by_name(void **state)
{
    const void *data;
    size_t bytes;
    leat_error err;
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        archive a = make(0, zip64, zip64 ? "made by a test" : "");
        assert_ok(lt_npz_entry(a.bytes, a.used, "ids", &data, &bytes, &err), &err);
        assert_int_equal(bytes, 7);
        assert_memory_equal(data, "second!", 7);
        assert_ok(lt_npz_entry(a.bytes, a.used, "x", &data, &bytes, &err), &err);
        assert_memory_equal(data, "first", 5);
        assert_int_equal(lt_npz_entry(a.bytes, a.used, "y", &data, &bytes, &err), LEAT_NOT_FOUND);
        assert_int_equal(lt_npz_entry(a.bytes, a.used, NULL, &data, &bytes, &err), LEAT_NOT_FOUND);
    }
}

static void compressed_entry_is_refused(void **state)
{
    const void *data;
    size_t bytes;
    leat_error err;
    (void)state;
    archive a = make(8, true, "");
    assert_int_equal(lt_npz_entry(a.bytes, a.used, "x", &data, &bytes, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "np.savez"));
}

/* Whatever is cut off or changed: an error, or bytes within the archive. */
static void damage_stays_inside(void **state)
{
    const void *data;
    size_t bytes;
    leat_error err;
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        archive a = make(0, zip64, "");
        for (size_t cut = 0; cut < a.used; cut++) {
            uint8_t *copy = malloc(cut + 1); /* so that tools see a read behind it */
            memcpy(copy, a.bytes, cut);
            assert_int_not_equal(lt_npz_entry(copy, cut, "x", &data, &bytes, &err), LEAT_OK);
            free(copy);
        }
        for (size_t i = 0; i < a.used * 8; i++) {
            uint8_t *copy = malloc(a.used);
            memcpy(copy, a.bytes, a.used);
            copy[i / 8] ^= (uint8_t)(1u << i % 8);
            if (lt_npz_entry(copy, a.used, "x", &data, &bytes, &err) == LEAT_OK) {
                assert_true((const uint8_t *)data >= copy);
                assert_true((const uint8_t *)data + bytes <= copy + a.used);
            }
            free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_is_found_by_name),
        cmocka_unit_test(compressed_entry_is_refused),
        cmocka_unit_test(damage_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
