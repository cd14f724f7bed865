#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""leat beside its peers on this processor, in one run.

  cpu.py MODEL.onnx[@dim=v,dim=v...] ... [--threads 1 2] [--peers ort leat] [--rounds 9] [--seconds 0.4]

A dim is the name of a symbolic dimension; unnamed ones are 1.  Each peer runs in a process of its own on
cores 0..threads-1, and they take turns: a round is --seconds of back-to-back calls after two warm-up
calls.  The table gives the least and the median of one call over all rounds, ONNX Runtime's median
divided by the peer's (above 1: faster than ONNX Runtime), load and first result, what the process's peak
memory grew by over its state with the runtime just imported, and the largest difference of the outputs
from ONNX Runtime's over 1 + |its number|.
  ort       ONNX Runtime, all optimisations, spinning (its default)
  ort-ns    the same without spinning
  ov-f32    OpenVINO, latency hint, f32 (needs the package openvino)
  leat      this library (workers poll for 200 us, its default)
  leat-ns   the same without polling
"""
import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(HERE, "..", "..", "build", "libleat.so")


def parse(spec):
    path, _, dims = spec.partition("@")
    return path, {k: int(v) for k, v in (d.split("=") for d in dims.split(",") if d)}


def memory(key):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(key + ":"))


def make_feeds(path, dims):
    """Seeded inputs of a model, in its order."""
    import onnx
    model = onnx.load(path, load_external_data=False)
    constants = {i.name for i in model.graph.initializer}
    rng, feeds = np.random.default_rng(0), {}
    for x in model.graph.input:
        if x.name in constants:
            continue
        t = x.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else dims.get(d.dim_param, 1) for d in t.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(t.elem_type)
        if np.issubdtype(dtype, np.floating):
            feeds[x.name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in x.name:
            feeds[x.name] = np.ones(shape, dtype)
        else:
            feeds[x.name] = rng.integers(0, 2 if "type" in x.name else 200, shape).astype(dtype)
    return feeds


# --- one peer, in its own process -------------------------------------------------------------------
def open_ort(path, feeds, threads, spin):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = threads, 1, 3
    if not spin:
        o.add_session_config_entry("session.intra_op.allow_spinning", "0")
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    call = lambda: s.run(None, feeds)
    return call, call


def open_ov(path, feeds, threads):
    import openvino as ov
    import openvino.properties.hint as hint
    core = ov.Core()
    m = core.read_model(path)
    m.reshape({n: list(x.shape) for n, x in feeds.items()})
    compiled = core.compile_model(m, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
                                             "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
                                             hint.inference_precision(): ov.Type.f32})
    r = compiled.create_infer_request()
    for n, x in feeds.items():
        r.set_tensor(n, ov.Tensor(x))
    return r.infer, lambda: (r.infer(), [r.get_output_tensor(i).data.copy() for i in range(len(compiled.outputs))])[1]


def open_leat(path, feeds, threads, spin_us):
    sys.path.insert(0, HERE)
    import leat
    call = leat.Session(LIBRARY, path, threads, spin_us).prepare(list(feeds.values()))
    return call, lambda: (call(), call.results())[1]


def worker(peer, path, threads, seconds, feeds_path):
    """Each line on standard input asks for one round; answers are JSON lines."""
    os.sched_setaffinity(0, set(range(threads)))
    with open(feeds_path, "rb") as f:
        feeds = pickle.load(f)
    if peer.startswith("ort"):
        import onnxruntime  # noqa: F401
    elif peer.startswith("ov"):
        import openvino
        openvino.Core()
    base, start = memory("VmRSS"), time.perf_counter()
    if peer.startswith("ort"):
        call, outputs = open_ort(path, feeds, threads, peer == "ort")
    elif peer.startswith("ov"):
        call, outputs = open_ov(path, feeds, threads)
    else:
        call, outputs = open_leat(path, feeds, threads, -1 if peer == "leat-ns" else 0)
    load = time.perf_counter() - start
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    peak = memory("VmHWM") - base
    result = [np.asarray(x) for x in outputs()]
    with open(feeds_path + "." + peer, "wb") as f:
        pickle.dump(result, f)
    print(json.dumps({"load": load, "first": first, "peak": peak}), flush=True)
    for _ in sys.stdin:
        times = []
        call(), call()
        end = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        print(json.dumps({"times": times, "peak": memory("VmHWM") - base}), flush=True)


# --- the table ---------------------------------------------------------------------------------------
def text(seconds):
    return "%8.1f us" % (seconds * 1e6) if seconds < 1e-3 else "%8.2f ms" % (seconds * 1e3)


def difference(a, b):
    return max(float(np.max(np.abs(x.astype(np.float64) - y) / (1 + np.abs(y)))) if x.shape == y.shape else np.inf
               for x, y in zip(a, b)) if len(a) == len(b) else np.inf


def compare(spec, threads, a, folder):
    path, dims = parse(spec)
    feeds_path = os.path.join(folder, "feeds")
    with open(feeds_path, "wb") as f:
        pickle.dump(make_feeds(path, dims), f)
    running = []
    for peer in a.peers:
        p = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--worker", peer, path, str(threads),
                              str(a.seconds), feeds_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = p.stdout.readline()
        if line:
            running.append((peer, p, json.loads(line), []))
        else:
            print("%-34s %2d %-9s failed" % (os.path.basename(spec), threads, peer))
    for _ in range(a.rounds):
        for _, p, info, times in running:
            p.stdin.write("go\n")
            p.stdin.flush()
            answer = json.loads(p.stdout.readline())
            times += answer["times"]
            info["run_peak"] = answer["peak"]
    outputs, reference = {}, None
    for peer, p, info, times in running:
        p.stdin.close()
        p.wait()
        with open(feeds_path + "." + peer, "rb") as f:
            outputs[peer] = pickle.load(f)
        times.sort()
        median = times[len(times) // 2]
        reference = median if peer == "ort" else reference
        error = difference(outputs[peer], outputs["ort"]) if "ort" in outputs else float("nan")
        print("%-34s %2d %-9s %s %s %6.2fx %8.0f ms %6.0f MB %6.0f MB  %.1e" % (
            os.path.basename(spec), threads, peer, text(times[0]), text(median), (reference or median) / median,
            (info["load"] + info["first"]) * 1e3, info["peak"], info.get("run_peak", 0), error), flush=True)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        peer, path, threads, seconds, feeds = sys.argv[2:7]
        return worker(peer, path, int(threads), float(seconds), feeds)
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--peers", nargs="+", default=["ort", "leat"])
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=float, default=0.4)
    a = p.parse_args()
    print("%-34s %2s %-9s %11s %11s %7s %11s %9s %9s  %s" % (
        "model", "T", "peer", "min", "median", "vs ort", "load+first", "peak 1st", "peak run", "difference"))
    with tempfile.TemporaryDirectory() as folder:
        for spec in a.models:
            for threads in a.threads:
                compare(spec, threads, a, folder)


if __name__ == "__main__":
    main()
