#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Token counts of the Lee corpus's background documents (gensim's tests) by MiniLM's vocabulary, as sentence encoders
see them (at most 256 tokens), one a line, in the corpus's order: for `serve --lengths`.

    lengths.py build/models/lee_background.cor build/models/vocab.txt >build/models/lee-lengths.txt
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts"))
from quantizer_check import WordPiece


def main():
    corpus, vocabulary = sys.argv[1:]
    split = WordPiece(vocabulary)
    with open(corpus, encoding="latin-1") as documents:
        for document in documents:
            print(len(split.ids(document, 256)))


if __name__ == "__main__":
    main()
