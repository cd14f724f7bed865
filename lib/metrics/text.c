/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/text.h"

#include "base/letters.h"
#include "base/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LAST_CHARACTER 0x10ffffu /* beyond: a byte that is not UTF-8 */
#define REPLACEMENT 0xfffdu

static void pass_on(lt_text *t)
{
    if (t->status == LEAT_OK && t->used > 0) {
        t->status = t->write(t->user, t->buffer, t->used);
    }
    t->used = 0;
}

static void put_bytes(lt_text *t, const char *bytes, size_t n)
{
    while (n > 0) {
        const size_t room = sizeof(t->buffer) - t->used;
        const size_t part = n < room ? n : room;
        memcpy(t->buffer + t->used, bytes, part);
        t->used += part;
        bytes += part;
        n -= part;
        if (t->used == sizeof(t->buffer)) {
            pass_on(t);
        }
    }
}

void lt_text_put(lt_text *t, const char *string)
{
    put_bytes(t, string, strlen(string));
}

void lt_text_powers(lt_text *t, const char *name, const lt_label labels[2], const uint64_t *counts,
                    size_t n, uint64_t sum, lt_metric_unit unit)
{
    uint64_t bounds[64];
    for (size_t i = 0; i + 1 < n; i++) {
        bounds[i] = (unit == LT_UNIT_NANOSECONDS ? 1000ull : 1ull) << i;
    }
    const lt_histogram_view view = {bounds, counts, n - 1, sum, unit};
    lt_text_histogram(t, name, labels, &view);
}

leat_status lt_text_flush(lt_text *t)
{
    pass_on(t);
    return t->status;
}

void lt_text_family(lt_text *t, const char *name, const char *type, const char *help)
{
    const char *const parts[] = {"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        lt_text_put(t, parts[i]);
    }
}

static void put_escaped(lt_text *t, const char *value)
{
    leat_string left = {value, strlen(value)};
    while (left.bytes > 0) {
        size_t bytes = 0;
        char letter[LT_UTF8_MOST_BYTES];
        uint32_t c = lt_utf8_take(&left, &bytes);
        c = c > LAST_CHARACTER ? REPLACEMENT : c;
        if (c == '\n' || c == '"' || c == '\\') {
            lt_text_put(t, c == '\n' ? "\\n" : c == '"' ? "\\\"" : "\\\\");
        } else {
            put_bytes(t, letter, lt_utf8_put(c, letter));
        }
    }
}

/* NAME SUFFIX {labels,le="..."} and a space. */
static void put_name(lt_text *t, const char *name, const char *suffix, const lt_label labels[2],
                     const char *le)
{
    const lt_label all[3] = {labels[0], labels[1], {le ? "le" : NULL, le}};
    const char *before = "{";
    lt_text_put(t, name);
    lt_text_put(t, suffix);
    for (int i = 0; i < 3; i++) {
        if (all[i].name != NULL) {
            lt_text_put(t, before);
            lt_text_put(t, all[i].name);
            lt_text_put(t, "=\"");
            put_escaped(t, all[i].value);
            lt_text_put(t, "\"");
            before = ",";
        }
    }
    lt_text_put(t, before[0] == ',' ? "} " : " ");
}

/* Nanoseconds as seconds, with all their digits but zeros at the end: 1500000000 -> "1.5". */
static void number_text(char text[LT_NUMBER_TEXT], uint64_t value, lt_metric_unit unit)
{
    if (unit == LT_UNIT_ONE) {
        snprintf(text, LT_NUMBER_TEXT, "%" PRIu64, value);
        return;
    }
    int length = snprintf(text, LT_NUMBER_TEXT, "%" PRIu64 ".%09" PRIu64, value / 1000000000u,
                          value % 1000000000u);
    while (text[length - 1] == '0') {
        text[--length] = '\0';
    }
    if (text[length - 1] == '.') {
        text[length - 1] = '\0';
    }
}

static void put_number(lt_text *t, uint64_t value, lt_metric_unit unit)
{
    char number[LT_NUMBER_TEXT];
    number_text(number, value, unit);
    lt_text_put(t, number);
    lt_text_put(t, "\n");
}

void lt_text_sample(lt_text *t, const char *name, const lt_label labels[2], uint64_t value,
                    lt_metric_unit unit)
{
    put_name(t, name, "", labels, NULL);
    put_number(t, value, unit);
}

void lt_text_sample_real(lt_text *t, const char *name, const lt_label labels[2], double value)
{
    char number[LT_NUMBER_TEXT];
    put_name(t, name, "", labels, NULL);
    put_bytes(t, number, lt_number_text(value, -1, number));
    lt_text_put(t, "\n");
}

void lt_text_histogram(lt_text *t, const char *name, const lt_label labels[2],
                       const lt_histogram_view *h)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= h->n; i++) {
        char le[LT_NUMBER_TEXT] = "+Inf";
        if (i < h->n) {
            number_text(le, h->bounds[i], h->unit);
        }
        count += h->counts[i];
        put_name(t, name, "_bucket", labels, le);
        put_number(t, count, LT_UNIT_ONE);
    }
    put_name(t, name, "_sum", labels, NULL);
    put_number(t, h->sum, h->unit);
    put_name(t, name, "_count", labels, NULL);
    put_number(t, count, LT_UNIT_ONE);
}
