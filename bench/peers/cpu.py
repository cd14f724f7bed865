#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""leat beside its peers on this processor, in one run, on any models.

  cpu.py MODEL.onnx[@dim=v,dim=v...] ... [--threads 1 2] [--peers ort leat] [--rounds 9] [--seconds 0.4]

A dim is the name of a symbolic dimension; unnamed ones are 1.  Each peer (see peers.py for their names)
runs in a process of its own on cores 0..threads-1, and they take turns: a round is --seconds of
back-to-back calls.  The table gives the least and the median of one call over all rounds, ONNX Runtime's
median divided by the peer's (above 1: faster than ONNX Runtime), load and first result, what the
process's peak memory grew by over its state with the runtime just imported, and the largest difference of
the outputs from ONNX Runtime's over 1 + |its number|.  bench/table.py has the project's own rows.
"""
import argparse
import os
import pickle
import tempfile

from peers import PEERS, difference, make_feeds, quantile, run_peers, time_text


def parse(spec):
    path, _, dims = spec.partition("@")
    return path, {k: int(v) for k, v in (d.split("=") for d in dims.split(",") if d)}


def compare(spec, threads, a, folder):
    path, dims = parse(spec)
    feeds_path = os.path.join(folder, "feeds")
    with open(feeds_path, "wb") as f:
        pickle.dump(make_feeds(path, dims), f)
    running = run_peers(a.peers, path, threads, a.seconds, a.rounds, feeds_path)
    name = os.path.basename(spec)
    reference = next((p for p in running if p.name == "ort" and not p.failed), None)
    for p in running:
        if p.failed:
            print("%-34s %2d %-10s failed: %s" % (name, threads, p.name, p.failed), flush=True)
            continue
        median = quantile(p.times, 0.5)
        ratio = quantile(reference.times, 0.5) / median if reference else float("nan")
        error = difference(p.outputs(), reference.outputs()) if reference else float("nan")
        print("%-34s %2d %-10s %11s %11s %6.2fx %8.0f ms %6.0f MB %6.0f MB  %.1e" % (
            name, threads, p.name, time_text(p.times[0]), time_text(median), ratio,
            (p.info["load"] + p.info["first"]) * 1e3, p.info["first_peak"], p.peak, error), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--peers", nargs="+", default=["ort", "leat"], choices=PEERS)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=float, default=0.4)
    a = p.parse_args()
    print("%-34s %2s %-10s %11s %11s %7s %11s %9s %9s  %s" % (
        "model", "T", "peer", "min", "median", "vs ort", "load+first", "peak 1st", "peak run", "difference"))
    with tempfile.TemporaryDirectory() as folder:
        for spec in a.models:
            for threads in a.threads:
                compare(spec, threads, a, folder)


if __name__ == "__main__":
    main()
