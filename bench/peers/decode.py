#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of a language model with caches, leat beside ONNX Runtime.

  decode.py MODEL.onnx ... [--threads 2] [--peers ort leat leat-bf16 leat-cuda] [--prompt 64] [--tokens 32]
            [--rounds 5]

Models as scripts/models/make_smollm2.py writes them.  Both runtimes handle the caches the same way: of fixed
capacity, one buffer a cache, bound as past and present (ONNX Runtime: one OrtValue by IO binding), so that neither
copies; or growing, each step's present being the next one's past without a copy in between.  leat-cuda: on cuda:0,
where caches of fixed capacity stay (beside f32 models, those that bench/models/make_half.py writes).  Each peer runs in a
process of its own on cores 0..threads-1; they take turns: a round goes back to --prompt tokens and appends --tokens
one by one, always the likeliest.  Printed: median and least ms of a token over all rounds, tokens a second at the
median, ONNX Runtime's median divided by the peer's, and whether the tokens are those of ONNX Runtime.
"""
import argparse
import multiprocessing
import os
import statistics
import time

import numpy as np

from peers import LIBRARY

CAPACITY, KV_HEADS, HEAD = 1024, 3, 64


class Ort:
    def __init__(self, path, threads, peer):
        import onnxruntime as ort
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = threads, 1, 4
        self.ort, self.session = ort, ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        self.pasts = [i.name for i in self.session.get_inputs() if i.name.startswith("past_key_values.")]
        self.presents = [n.replace("past_key_values", "present") for n in self.pasts]
        self.fixed = self.session.get_inputs()[2].shape[2] == "capacity"
        self.dtype = np.float16 if self.session.get_inputs()[2].type == "tensor(float16)" else np.float32
        self.reset()

    def empty(self, length):
        return self.ort.OrtValue.ortvalue_from_numpy(np.zeros((1, KV_HEADS, length, HEAD), self.dtype))

    def reset(self):
        self.caches = [self.empty(CAPACITY if self.fixed else 0) for _ in self.pasts]

    def keep(self):
        self.kept = self.caches

    def back(self):
        self.caches = self.kept

    def step(self, ids, length):
        b = self.session.io_binding()
        b.bind_cpu_input("input_ids", ids)
        b.bind_cpu_input("past_length", np.array([length]))
        for past, present, cache in zip(self.pasts, self.presents, self.caches):
            b.bind_ortvalue_input(past, cache)
            if self.fixed:
                b.bind_ortvalue_output(present, cache)
        b.bind_output("logits")
        for present in () if self.fixed else self.presents:
            b.bind_output(present)
        self.session.run_with_iobinding(b)
        if self.fixed:
            return b.get_outputs()[-1].numpy()
        logits, *self.caches = b.get_outputs()
        return logits.numpy()


class Leat:
    def __init__(self, path, threads, peer):
        import leat
        there = {"device": "cuda:0", "plugins": os.path.dirname(LIBRARY)} if peer == "leat-cuda" else {}
        self.session = leat.Session(LIBRARY, path, threads, precision="bf16" if peer == "leat-bf16" else "model",
                                    **there)
        inputs = self.session.inputs()
        self.fixed, self.n, self.calls = inputs[2][2][2] == "capacity", len(inputs) - 2, {}
        self.bound = self.fixed and bool(there)
        shape, dtype = (1, KV_HEADS, CAPACITY, HEAD), inputs[2][1]
        self.buffers = [[np.zeros(shape, dtype) for _ in range(self.n)] for _ in range(1 if self.fixed else 3)]
        for (name, _, _), x in zip(inputs[2:], self.buffers[0] if self.bound else []):
            cache = self.session.place(x)
            self.session.bind(name, cache)
            self.session.bind(name.replace("past_key_values", "present"), cache)
        self.reset()

    def reset(self):
        self.now = 0

    def keep(self):
        self.kept = self.now

    def back(self):
        self.now = self.kept

    def past(self, which, length):
        if self.fixed:
            return [None] * self.n if self.bound else self.buffers[0]
        shape = (1, KV_HEADS, length, HEAD)
        return [b.ravel()[:KV_HEADS * length * HEAD].reshape(shape) for b in self.buffers[which]]

    def step(self, ids, length):
        count = ids.shape[1]
        kept = getattr(self, "kept", None)
        to = 0 if self.fixed else next(i for i in range(3) if i not in (self.now, kept))
        key = count if self.fixed else None
        if key is None or key not in self.calls:
            feeds = [ids.copy(), np.array([length])] + self.past(self.now, length)
            presents = self.past(to, length + count)
            call = self.session.prepare(feeds, {i + 1: x for i, x in enumerate(presents) if x is not None})
            self.calls[key] = call, feeds
        call, feeds = self.calls[key]
        feeds[0][:], feeds[1][0] = ids, length
        call()
        self.now = to
        return call.view(0)


def work(connection, peer, path, threads, prompt):
    os.sched_setaffinity(0, range(threads))
    try:
        runner = (Ort if peer.startswith("ort") else Leat)(path, threads, peer)
        ids = np.random.default_rng(0).integers(100, 40000, (1, prompt))
        first = int(runner.step(ids, 0)[0, -1].argmax())
        runner.keep()
        connection.send(None)
        while (tokens := connection.recv()) is not None:
            runner.back()
            token, times, said = first, [], []
            for i in range(tokens):
                ids = np.array([[token]])
                start = time.perf_counter()
                logits = runner.step(ids, prompt + i)
                times.append(time.perf_counter() - start)
                token = int(logits[0, -1].argmax())
                said.append(token)
            connection.send((times, said))
    except Exception as e:  # noqa: BLE001: told to whoever waits
        connection.send(e)


def measure(path, threads, a):
    context, running = multiprocessing.get_context("spawn"), []
    for peer in a.peers:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, peer, path, threads, a.prompt), daemon=True)
        process.start()
        running.append({"peer": peer, "pipe": ours, "process": process, "failed": ours.recv(), "times": []})
    for _ in range(a.rounds):
        for r in running:
            if r["failed"]:
                continue
            r["pipe"].send(a.tokens)
            answer = r["pipe"].recv()
            if isinstance(answer, Exception):
                r["failed"] = answer
            else:
                r["times"] += answer[0]
                r["said"] = answer[1]
    for r in running:
        if not r["failed"]:
            r["pipe"].send(None)
        r["process"].join()
    return running


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--peers", nargs="+", default=["ort", "leat", "leat-bf16"])
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    print("%-28s %7s %-10s %9s %9s %9s %7s  %s" % ("model", "threads", "peer", "median ms", "least ms", "tokens/s",
                                                    "ratio", "same tokens"))
    for path in a.models:
        for threads in a.threads:
            running = measure(path, threads, a)
            reference = next((r for r in running if r["peer"] == "ort" and not r["failed"]), None)
            for r in running:
                label = (os.path.basename(path), threads, r["peer"])
                if r["failed"]:
                    print("%-28s %7d %-10s failed: %s" % (*label, r["failed"]))
                    continue
                median = statistics.median(r["times"])
                ratio = statistics.median(reference["times"]) / median if reference else float("nan")
                same = "" if not reference else "%d of %d" % (sum(x == y for x, y in zip(r["said"], reference["said"])),
                                                               a.tokens)
                print("%-28s %7d %-10s %9.2f %9.2f %9.1f %7.2f  %s" % (
                    *label, 1e3 * median, 1e3 * min(r["times"]), 1 / median, ratio, same), flush=True)


if __name__ == "__main__":
    main()
