/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer of examples/chat on a small file of its own: all bytes, and a few pieces. */
#include "support/test.h"

#include "../examples/chat/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/leat_tokenizer_XXXXXX";

static const char *const pieces[] = {"he", "ll", "hell", "hello", "\xC4\xA0h", "\xC4\xA0hello"};
static const char *const merges[] = {"h e",       "l l", "he ll", "hell o", "\xC4\xA0 hello",
                                     "\xC4\xA0 h"};

/* The letter of GPT-2 for a byte. */
static void put_letter(FILE *file, unsigned b)
{
    static unsigned next;
    next = b == 0 ? 256 : next;
    unsigned c = (b >= 33 && b <= 126) || (b >= 161 && b != 173) ? b : next++;
    if (c < 128) {
        fprintf(file, "t %c\n", (int)c);
    } else {
        fprintf(file, "t %c%c\n", (int)(0xC0 | c >> 6), (int)(0x80 | (c & 63)));
    }
}

/* Tokens 0..255 are bytes, then the pieces; the last is special. */
static void write_file(void)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "bpe %d %d 2 1\n", 256 + 6 + 1, 6);
    for (unsigned b = 0; b < 256; b++) {
        put_letter(file, b);
    }
    for (int i = 0; i < 6; i++) {
        fprintf(file, "t %s\n", pieces[i]);
    }
    fprintf(file, "s <|end|>\n");
    for (int i = 0; i < 6; i++) {
        fprintf(file, "%s\n", merges[i]);
    }
    fprintf(file, "41 5a\n61 7a\n30 39\n");
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void check(const tokenizer *t, const char *text, const int64_t *expected, int64_t count)
{
    int64_t ids[64];
    assert_int_equal(tokenizer_encode(t, text, ids, 0, 64), count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(ids[i], expected[i]);
    }
}

static void words_are_merged_by_rank(void **state)
{
    const char *why = NULL;
    char text[256];
    int64_t ids[64];
    (void)state;
    write_file();
    tokenizer *t = tokenizer_open(path, &why);
    assert_non_null(t);
    check(t, "hello", (int64_t[]){259}, 1);
    check(t, "hello hello", (int64_t[]){259, 261}, 2);
    check(t, " hell", (int64_t[]){' ', 258}, 2);
    check(t, "hehe", (int64_t[]){256, 256}, 2);
    /* Digits and runs of spaces are words of their own, the last space goes with what follows. */
    check(t, "hello12 hello", (int64_t[]){259, '1', '2', 261}, 4);
    check(t, "1 hello", (int64_t[]){'1', 261}, 2);
    check(t, "  hello", (int64_t[]){' ', 261}, 2);
    check(t, "he  ", (int64_t[]){256, ' ', ' '}, 3);
    check(t, "he\n", (int64_t[]){256, '\n'}, 2);
    check(t, "h\xFFz", (int64_t[]){'h', 0xFF, 'z'}, 3);
    check(t, "", ids, 0);
    /* No text is a special token; they are asked for by name. */
    check(t, "<|end|>", (int64_t[]){'<', '|', 'e', 'n', 'd', '|', '>'}, 7);
    assert_int_equal(tokenizer_special(t, "<|end|>"), 262);
    assert_int_equal(tokenizer_special(t, "hello"), -1);
    assert_int_equal(tokenizer_decode(t, 262, text), 0);
    assert_int_equal(tokenizer_decode(t, -1, text), 0);
    assert_int_equal(tokenizer_decode(t, 263, text), 0);
    assert_int_equal(tokenizer_decode(t, 261, text), 6);
    assert_memory_equal(text, " hello", 6);
    for (int64_t b = 0; b < 256; b++) {
        assert_int_equal(tokenizer_decode(t, b, text), 1);
        assert_int_equal((uint8_t)text[0], b);
    }
    /* No room, and ids that are there already. */
    assert_int_equal(tokenizer_encode(t, "hehe", ids, 0, 1), -1);
    ids[0] = 7;
    assert_int_equal(tokenizer_encode(t, "he", ids, 1, 2), 2);
    assert_true(ids[0] == 7 && ids[1] == 256);
    tokenizer_close(t);
}

/* Every shorter file, and counts that say too much. */
static void damaged_files_are_refused(void **state)
{
    char bytes[8192];
    const char *why = NULL;
    (void)state;
    write_file();
    FILE *file = fopen(path, "r");
    size_t n = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    for (size_t cut = 0; cut < n; cut += cut < n - 64 ? 13 : 1) {
        assert_int_equal(truncate(path, (off_t)cut), 0);
        assert_null(tokenizer_open(path, &why));
        assert_non_null(why);
        write_file();
    }
    static const char *const heads[] = {"bpe 4000000000 1 1 1\n", "bpe -1 0 0 0\n", "bpe 1\n",
                                        "bpe 1 1 0 0\nt a\nb c\n", "bpe 2 0 0 0\nx a\nt b\n"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        file = fopen(path, "w");
        fputs(heads[i], file);
        fclose(file);
        assert_null(tokenizer_open(path, &why));
    }
    assert_null(tokenizer_open("/nonexistent/file", &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_merged_by_rank),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
