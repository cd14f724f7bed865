#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""letters.py >lib/base/letters.inc: simple case mappings of all letters, as runs with one distance, from Python's copy of
the Unicode character database."""
import sys
import unicodedata


def lower(c):
    s = c.lower()
    return s if len(s) == 1 else s[0]  # U+0130 alone: i and a dot


def upper(c):
    s = c.upper()
    s = s if len(s) == 1 else c.title()  # letters with an iota below
    return s if len(s) == 1 else c


def runs(change):
    """(first, last, step, distance) of letters that follow each other by `step`."""
    found = []
    for code in range(0x110000):
        to = ord(change(chr(code))) if not 0xD800 <= code < 0xE000 else code
        if to == code:
            continue
        if found:
            first, last, step, distance = found[-1]
            gap = code - last
            if distance == to - code and gap <= 2 and step in (0, gap):
                found[-1] = (first, code, gap, distance)
                continue
        found.append((code, code, 0, to - code))
    return [(first, last, step or 1, distance) for first, last, step, distance in found]


print("/* Made by scripts/letters.py from Unicode %s; not to be edited. */" % unicodedata.unidata_version)
print("/* clang-format off */")
for name, change in (("to_lower", lower), ("to_upper", upper)):
    print("static const lt_letters %s[] = {" % name)
    line = "   "
    for r in runs(change):
        word = " {0x%x, 0x%x, %d, %d}," % r
        if len(line + word) > 100:
            print(line)
            line = "   "
        line += word
    print(line + "\n};")
sys.stdout.flush()
