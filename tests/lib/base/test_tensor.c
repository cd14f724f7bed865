/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "base/tensor.h"

#include <string.h>

/* In rooms of all sizes: all names, or whole names and dots, within the room. */
static void io_names_are_whole_or_dots(void **state)
{
    static const leat_io ios[] = {{.name = "ids"}, {.name = "mask"}, {.name = "a long name"}};
    static const char *const expected[] = {"'ids', 'mask', 'a long name'", "'ids', 'mask', ...",
                                           "'ids', ...", "..."};
    char text[64];
    (void)state;
    for (size_t capacity = 8; capacity <= sizeof(text); capacity++) {
        size_t fits = 0;
        while (strlen(expected[fits]) >= capacity) {
            fits++;
        }
        memset(text, '#', sizeof(text));
        assert_ptr_equal(lt_io_names(ios, 3, text, capacity), text);
        assert_string_equal(text, expected[fits]);
        for (size_t i = capacity; i < sizeof(text); i++) {
            assert_int_equal(text[i], '#');
        }
    }
    assert_string_equal(lt_io_names(ios, 0, text, sizeof(text)), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(io_names_are_whole_or_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
