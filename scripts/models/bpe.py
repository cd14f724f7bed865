# SPDX-License-Identifier: Apache-2.0
"""Byte-level byte-pair encoding from a GGUF file's tables, written for checks: GPT-2's own expression through `re`,
merges by rank (Sennrich et al., arXiv:1508.07909)."""
import re
import sys
import unicodedata

SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


def members(first):
    return "".join(re.escape(chr(c)) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == first)


class Bpe:
    def __init__(self, keys):
        self.names = keys["tokenizer.ggml.tokens"]
        self.ids = {name: i for i, name in enumerate(self.names)}
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(keys["tokenizer.ggml.merges"])}
        letters, numbers = members("L"), members("N")
        self.digit = re.compile("([%s])" % numbers)
        self.words = re.compile("'s|'t|'re|'ve|'m|'ll|'d| ?[{l}]+| ?[{n}]+| ?[^{s}{l}{n}]+|[{s}]+(?![^{s}])|[{s}]+".format(
            l=letters, n=numbers, s=SPACE))
        shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
        hidden = [b for b in range(256) if b not in shown]
        self.letter = {b: chr(b) for b in shown}
        self.letter.update({b: chr(256 + i) for i, b in enumerate(hidden)})
        self.byte = {c: b for b, c in self.letter.items()}

    def word(self, text):
        parts = [c for c in (self.letter[b] for b in text.encode("utf-8")) if c in self.ids]
        while len(parts) > 1:
            rank, at = min((self.ranks.get(pair, 1 << 30), i) for i, pair in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        return [i for fragment in self.digit.split(text) for word in self.words.findall(fragment)
                for i in self.word(word)]

    def decode(self, ids):
        return bytes(self.byte[c] for i in ids for c in self.names[i]).decode("utf-8", "replace")
