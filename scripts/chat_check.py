#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SmolLM2 and examples/chat against ONNX Runtime and a tokenizer in Python.

  chat_check.py BUILD

Ends with "N passed, N failed, N skipped"; skipped where the model was not fetched (scripts/models.sh smollm2).
"""
import glob
import os
import subprocess
import sys

import numpy as np
import onnxruntime as ort

from models_check import BUILD, MODELS, compare, narrow

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "models"))
from bpe import Bpe  # noqa: E402
from gguf_file import Reader  # noqa: E402

MODEL, PIECES = (os.path.join(MODELS, name) for name in ("smollm2.onnx", "smollm2-tokenizer.txt"))
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
START, END = 1, 2
CAPACITY = 128
TIE = 2e-3  # of two logits: either may come out

TEXTS = [
    "What is the capital of France?", "a", " ", "  ", "\n", " \n\n x", "tab\there  and   there ", "trailing   ",
    "I'm sure they'll say it's what we've got; he'd know. 'Tis 'quoted' don'T",
    "In 2024, 3.14159 and 1,000,000 (or 10^6)!", "x=1;y[2]+=z**3//4  # ok", "12 34", " 7", "7 ", "a1b2c3",
    "Grüße aus Köln, ça va? naïve façade", "Привет, как дела?", "今天天气很好。東京タワー", "مرحبا بالعالم",
    "हिन्दी में", "\U0001f600 smile \U0001f469‍\U0001f680!", "½ ² Ⅷ ٣ 五", "e\u0301 combining",
    "\u00a0nbsp\u3000wide\u2003em\u2028line\x85next\x1cfs", "<|im_end|>\n<|im_start|>user", "zero\u200bwidth",
    "antidisestablishmentarianism supercalifragilisticexpialidocious", "\x04\x06control\x7f", "a" * 300,
    "        return {\n            'key': [1, 2, 3],\n        }\n",
]


def chat(*options, stdin=None):
    r = subprocess.run([os.path.join(BUILD, "examples", "chat"), MODEL, PIECES, *options], capture_output=True,
                       input=stdin, text=True, errors="replace")
    if r.returncode:
        raise RuntimeError(r.stderr.strip())
    return r.stdout


def numbers(line):
    return [int(i) for i in line.split()]


class Reference:
    """Greedy decoding in ONNX Runtime, the whole past given anew at each step."""

    def __init__(self):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.pasts = [i.name for i in self.session.get_inputs() if i.name.startswith("past_key_values")]
        self.reset()

    def reset(self):
        self.feeds = {name: np.zeros((1, 3, CAPACITY, 64), np.float32) for name in self.pasts}
        self.length = 0

    def step(self, ids):
        self.feeds.update(input_ids=np.array([ids]), past_length=np.array([self.length]))
        before = dict(self.feeds)
        logits, *presents = self.session.run(None, self.feeds)
        self.feeds.update(zip(self.pasts, presents))
        self.length += len(ids)
        return logits[0, -1], before


def prompt(bpe, question):
    turn = lambda role, text: [START] + bpe.encode(role) + bpe.encode("\n") + bpe.encode(text) + [END] + bpe.encode("\n")
    return turn("system", SYSTEM) + turn("user", question) + [START] + bpe.encode("assistant") + bpe.encode("\n")


def report(good, label, what, totals):
    totals[0 if good else 1] += 1
    print("%s %-44s %s" % ("       " if good else "FAILED ", label, what))


def tokenizer(bpe, totals):
    for text in TEXTS:
        got, expected = numbers(chat("--encode", text)), bpe.encode(text)
        report(got == expected, "tokens of %.30r" % text, "%d tokens" % len(expected)
               if got == expected else "%s, not %s" % (got, expected), totals)


def greedy(bpe, reference, question, answer, totals):
    """The same tokens as ONNX Runtime's, up to where its two likeliest are about as likely."""
    asked, said = (numbers(line) for line in chat("--ids", "--capacity", str(CAPACITY), "--tokens", "40", question)
                   .splitlines()[:2])
    report(asked == prompt(bpe, question), "prompt of %r" % question, "%d tokens" % len(asked), totals)
    reference.reset()
    ids, same, tie = prompt(bpe, question), 0, False
    for token in said + [END]:
        row, _ = reference.step(ids)
        top = np.sort(row)[-2:]
        if row[token] < top[1] and not (len(said) == 40 and same == 40):
            tie = top[1] - row[token] < TIE
            break
        same, ids = same + 1, [token]
    text = bpe.decode(said)
    report((same >= len(said) or tie) and answer in text, "answer to %r" % question,
           "%d tokens as ONNX Runtime: %r" % (same, text), totals)


def logits(bpe, reference, totals):
    reference.reset()
    for ids in (prompt(bpe, "Who are you?"), [28], bpe.encode(" one, two")):
        _, feeds = reference.step(ids)
        compare("SmolLM2, %d tokens behind %d" % (len(ids), feeds["past_length"][0]), MODEL, feeds, totals)
    narrow("SmolLM2 in bf16", MODEL, feeds, "bf16", totals)


def conversation(totals):
    """A second question in the same caches: its prompt goes on behind the first answer."""
    lines = chat("--ids", "--tokens", "8", stdin="Say hello.\nAnd again?\n").splitlines()
    good = len(lines) == 4 and numbers(lines[0])[0] == START and numbers(lines[2])[1] == START
    report(good, "two questions", "%d lines" % len(lines), totals)
    try:
        chat("--capacity", "16", "Hello?")
        report(False, "a prompt longer than the caches", "no error", totals)
    except RuntimeError as e:
        report("--capacity" in str(e), "a prompt longer than the caches", str(e), totals)


QUESTIONS = ["What is the capital of France?", "Name three colors.", "Say hello.", "How many legs does a spider have?",
             "Write a sentence about the sea and the ships that sail on it, with the word 'blue' in it."]


def together(bpe, totals):
    """Conversations that join and leave at different steps (leat/sequences.h) say what each says alone."""
    prompts = [prompt(bpe, q) for q in QUESTIONS]
    options = [o for p in prompts for o in ("--ids", " ".join(map(str, p)))]
    r = subprocess.run([os.path.join(BUILD, "bench", "sequences"), MODEL, "--tokens", "24", *options],
                       capture_output=True, text=True)
    lines = r.stdout.splitlines()
    for i, question in enumerate(QUESTIONS):
        n = 24 // (1 + i % 2)
        alone = (numbers(chat("--ids", "--tokens", str(n), question).splitlines()[1]) + [END])[:n]
        said = numbers(lines[i])[:len(alone)] if i < len(lines) else r.stderr.strip()
        report(said == alone, "together: %.32r" % question, "%d tokens" % n if said == alone
               else "%s, alone %s" % (said, alone), totals)


def main():
    totals = [0, 0]
    if not os.path.exists(MODEL):
        print("skipped: %s is not there: scripts/models.sh smollm2 fetches it\n0 passed, 0 failed, 1 skipped" % MODEL)
        return 0
    bpe = Bpe(Reader(glob.glob(os.path.join(MODELS, "SmolLM2-135M-Instruct.*.gguf"))[0]).keys)
    reference = Reference()
    tokenizer(bpe, totals)
    greedy(bpe, reference, "What is the capital of France?", "Paris", totals)
    greedy(bpe, reference, "Name three colors.", "", totals)
    logits(bpe, reference, totals)
    conversation(totals)
    together(bpe, totals)
    print("%d passed, %d failed, 0 skipped" % tuple(totals))
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
