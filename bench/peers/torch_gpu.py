#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""leat beside torch on one NVIDIA GPU, in one process, taking turns.

  torch_gpu.py [--rows ROW ...] [--peers eager graph compile] [--mode reduce-overhead|max-autotune]
               [--rounds 3] [--seconds 0.2] [--budget 140] [--compile-limit 60] [--models DIR] [--json FILE]

Rows: resnet50-b1 -b32 -b256, bert-large-b1 -b32 -b64 (384 tokens), mlp, gemm-4096, gemm-8192, smollm2, and in TF32
resnet50-b32-tf32, bert-large-b1-tf32 -b32-tf32, gemm-4096-tf32; a beginning with a star picks several. All others are
f16 but the MLP. torch's modules (torch_models.py) have the weights of leat's file;
convolutions are channels_last. Models that DIR (build/models) lacks are made there, the f16 ones from those of f32.

Two tables. "host": from pinned host memory to pinned host memory, the same numbers for all. "device": data on the
device, one call, then waiting for it. Medians over all rounds; ratio: the best of torch / leat (above 1: leat is
faster); difference: Euclidean distance of leat's result from eager torch's, relative. smollm2 counts tokens behind 64:
from a token in host memory to the next one there, the likeliest, chosen on the device.
A row is left out when --budget seconds are over, torch.compile when it takes longer than --compile-limit.
"""
import argparse
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np

from peers import HERE, LIBRARY, one_round, quantile, relative, time_text

BUILD = os.path.dirname(LIBRARY)
MAKERS = os.path.join(HERE, "..", "models")
CAPACITY, PROMPT = 1024, 64
GEMMS = {"gemm-4096": 4096, "gemm-8192": 8192, "gemm-4096-tf32": 4096}
# Row -> (f32 model, batch)
ROWS = {**{"resnet50-b%d" % b: ("resnet50-folded.onnx", b) for b in (1, 32, 256)},
        **{"bert-large-b%d" % b: ("bert-large.onnx", b) for b in (1, 32, 64)},
        "resnet50-b32-tf32": ("resnet50-folded.onnx", 32), "bert-large-b1-tf32": ("bert-large.onnx", 1),
        "bert-large-b32-tf32": ("bert-large.onnx", 32),
        "mlp": ("mlp.onnx", 1), **{name: (name + ".onnx", n) for name, n in GEMMS.items()},
        "smollm2": ("smollm2.onnx", 1)}
COMMANDS = {"resnet50-folded.onnx": ["make_resnet50.py", "--fold-bn"], "bert-large.onnx": ["make_bert.py", "--size", "large"],
            "mlp.onnx": ["make_small.py", "mlp"], "smollm2.onnx": ["../../scripts/models/make_smollm2.py", "random"]}


# --- models ------------------------------------------------------------------------------------------------
def is_tf32(row):
    return row.endswith("-tf32")


def write_gemm(path, n, dtype):
    """x * w, n x n."""
    from onnx import TensorProto as T, helper as h, numpy_helper as nh, save
    w = (np.random.default_rng(0).standard_normal((n, n), np.float32) / np.sqrt(n)).astype(dtype)
    info = lambda name: h.make_tensor_value_info(name, T.FLOAT16 if dtype == np.float16 else T.FLOAT, [n, n])
    graph = h.make_graph([h.make_node("MatMul", ["x", "w"], ["y"])], "gemm", [info("x")], [info("y")],
                         [nh.from_array(w, "w")])
    save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), path)


def choose_token(path, out):
    """The model gives out the likeliest tokens, not their logits."""
    from onnx import TensorProto as T, helper as h, load, save
    model = load(path)
    logits = model.graph.output[0].name
    model.graph.node.append(h.make_node("ArgMax", [logits], ["next"], axis=-1, keepdims=0))
    model.graph.output[0].CopyFrom(h.make_tensor_value_info("next", T.INT64, ["batch", "sequence"]))
    save(model, out)


def model_of(row, folder):
    """The path of the row's model, which is made if it is not there."""
    file, n = ROWS[row]
    path = os.path.join(folder, file)
    half = path if row == "mlp" or row in GEMMS or is_tf32(row) else path.replace(".onnx", "-f16.onnx")
    run = lambda script, *arguments: subprocess.run([sys.executable, os.path.join(MAKERS, script), *arguments],
                                                    check=True, stdout=subprocess.DEVNULL)
    if os.path.exists(half):
        return half
    if row in GEMMS:
        write_gemm(path, n, type_of(row))
    elif not os.path.exists(path):
        run(*COMMANDS[file], path)
    if half != path:
        run("make_half.py", path, half)
    if row == "smollm2":
        choose_token(half, half)
    return half


def type_of(row):
    return np.float32 if is_tf32(row) else np.float16


def inputs_of(row):
    """The row's inputs in the model's order."""
    batch, rng = ROWS[row][1], np.random.default_rng(1)
    if row.startswith("resnet50"):
        return [rng.standard_normal((batch, 3, 224, 224), np.float32).astype(type_of(row))]
    if row.startswith("bert"):
        ids = rng.integers(0, 30000, (batch, 384))
        return [ids, np.ones_like(ids), np.zeros_like(ids)]
    if row == "mlp":
        return [rng.standard_normal((1, 256), np.float32)]
    return [rng.standard_normal((batch, batch), np.float32).astype(type_of(row))]


# --- torch: each peer is a pair of calls, (host, device), and what gives the result -------------------------
class Torch:
    def __init__(self, row, path, a):
        import torch
        import torch_models
        self.torch, self.row, self.a = torch, row, a
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = is_tf32(row)
        w = torch_models.weights_of(path)
        x = torch.from_numpy(inputs_of(row)[0])
        if row in GEMMS:
            right = torch.from_numpy(w["w"]).cuda()
            self.module = lambda left: left @ right
        else:
            make = {"resnet50": torch_models.ResNet50, "bert": torch_models.Bert, "mlp": torch_models.mlp}
            self.module = make[row.split("-")[0]](w).eval().cuda()
        if row.startswith("resnet50"):
            self.module = self.module.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
        self.x, self.there = x.pin_memory(), x.cuda()
        y = self.module(self.there)
        self.y = torch.empty(y.shape, dtype=y.dtype, pin_memory=True)

    def calls(self, forward):
        """forward reads self.there."""
        wait = self.torch.cuda.synchronize

        def device():
            forward()
            wait()

        def host():
            self.there.copy_(self.x, non_blocking=True)
            self.y.copy_(forward(), non_blocking=True)
            wait()
        return host, device, lambda: self.y.numpy().copy()

    def eager(self):
        return self.calls(lambda: self.module(self.there))

    def graph(self):
        torch, side = self.torch, self.torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.module(self.there)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = self.module(self.there)

        def forward():
            graph.replay()
            return y
        return self.calls(forward)

    def compile(self):
        import torch._inductor.config as config
        torch = self.torch
        config.freezing = True
        torch._dynamo.reset()
        module = torch.compile(self.module, mode=self.a.mode, dynamic=False)
        forward = lambda: module(self.there)
        with limit(min(self.a.compile_limit, self.a.end - time.time())):
            for _ in range(4):
                forward()
            torch.cuda.synchronize()
        return self.calls(forward)


class limit:
    """Raises after that many seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    def raised(self, *_):
        raise TimeoutError("longer than %g s" % self.seconds)

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.raised)
        signal.setitimer(signal.ITIMER_REAL, max(self.seconds, 0.1))

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


# --- leat ----------------------------------------------------------------------------------------------------
def open_leat(row, path, a):
    import leat
    import torch
    pinned = lambda x: torch.from_numpy(np.ascontiguousarray(x)).pin_memory().numpy()
    feeds = [pinned(x) for x in inputs_of(row)]
    open_one = lambda: leat.Session(LIBRARY, path, 1, device=a.device, plugins=BUILD,
                                    precision="tf32" if is_tf32(row) else "model")
    session, bound = open_one(), open_one()
    first = session.prepare(feeds)
    first()
    y = pinned(first.view(0))
    host = session.prepare(feeds, {0: y})
    for (name, _, _), x in zip(bound.inputs(), feeds):
        bound.bind(name, bound.place(x))
    bound.bind(bound.io.outputs[0].name.decode(), bound.place(y))
    host.sessions = session, bound
    return host, bound.run_bound, lambda: y.copy()


# --- decoding -------------------------------------------------------------------------------------------------
class TorchDecoder:
    def __init__(self, path):
        import torch
        import torch_models
        self.torch, self.model = torch, torch_models.Llama(torch_models.weights_of(path), CAPACITY).eval().cuda()
        self.caches = torch.zeros(self.model.cache_shape, dtype=self.model.words.dtype, device="cuda")
        self.pairs = [tuple(pair) for pair in self.caches]

    def step(self, ids, length):
        logits = self.model(self.torch.from_numpy(ids).cuda(), self.pairs, length)
        return int(logits[0].argmax())


class LeatDecoder:
    def __init__(self, path, a):
        import leat
        self.session, self.calls = leat.Session(LIBRARY, path, 1, device=a.device, plugins=BUILD), {}
        for name, dtype, dims in self.session.inputs()[2:]:
            cache = self.session.place(np.zeros((1, dims[1], CAPACITY, dims[3]), dtype))
            self.session.bind(name, cache)
            self.session.bind(name.replace("past_key_values", "present"), cache)

    def step(self, ids, length):
        if ids.shape not in self.calls:
            feeds = [ids.copy(), np.array([length])] + [None] * (self.session.io.n_inputs - 2)
            self.calls[ids.shape] = self.session.prepare(feeds), feeds
        call, feeds = self.calls[ids.shape]
        feeds[0][:], feeds[1][0] = ids, length
        call()
        return int(call.view(0)[0, -1])


def decode(decoder, tokens):
    """(seconds of each token, tokens), behind a prompt that is in the caches."""
    times, said, token = [], [], decoder.first
    for i in range(tokens):
        start = time.perf_counter()
        token = decoder.step(np.array([[token]]), PROMPT + i)
        times.append(time.perf_counter() - start)
        said.append(token)
    return times, said


def run_decoders(path, a):
    decoders, times, said = {"eager": TorchDecoder(path), "leat": LeatDecoder(path, a)}, {}, {}
    ids = np.random.default_rng(0).integers(100, 40000, (1, PROMPT))
    for name, d in decoders.items():
        d.first = d.step(ids, 0)
        decode(d, 8)
    for _ in range(a.rounds):
        for name, d in decoders.items():
            more, said[name] = decode(d, 64)
            times.setdefault(name, []).extend(more)
    same = sum(x == y for x, y in zip(*said.values())) / 64
    return {"host": {name: sorted(t) for name, t in times.items()}, "device": {}, "failed": {}, "difference": 1 - same}


# --- a row ----------------------------------------------------------------------------------------------------
def run_row(row, path, a):
    """{"host" or "device": {peer: sorted seconds}, "failed": {peer: why}, "difference": number}"""
    if row == "smollm2":
        return run_decoders(path, a)
    torch_peer, calls, failed = Torch(row, path, a), {}, {}
    openers = {p: getattr(torch_peer, p) for p in a.peers}
    openers["leat"] = lambda: open_leat(row, path, a)
    for peer, opener in openers.items():
        try:
            if peer == "compile" and a.end - time.time() < 5:
                raise TimeoutError("no time left")
            calls[peer] = opener()
            for call in calls[peer][:2]:
                call()
        except Exception as e:  # noqa: BLE001: the peer cannot; the table says why
            calls.pop(peer, None)
            failed[peer] = "%s: %s" % (type(e).__name__, str(e).strip().replace("\n", " ")[:200])
    times = {"host": {p: [] for p in calls}, "device": {p: [] for p in calls}}
    for _ in range(a.rounds):
        for peer, (host, device, _) in calls.items():
            times["host"][peer] += one_round(host, a.seconds)
            times["device"][peer] += one_round(device, a.seconds)
    difference = float("nan")
    if "leat" in calls and "eager" in calls:
        for peer in ("eager", "leat"):
            calls[peer][0]()
        difference = relative([calls["leat"][2]()], [calls["eager"][2]()])
    return {**{kind: {p: sorted(t) for p, t in of.items()} for kind, of in times.items()}, "failed": failed,
            "difference": difference}


def report(row, result, a):
    """Prints the row's lines; its JSON objects."""
    objects = []
    for kind in ("host", "device"):
        medians = {p: quantile(t, 0.5) for p, t in result[kind].items() if t}
        best = min((m for p, m in medians.items() if p != "leat"), default=float("nan"))
        ratio = best / medians["leat"] if "leat" in medians else float("nan")
        if medians:
            print("%-15s %-6s" % (row, kind), *("%s %s " % (p, time_text(m)) for p, m in medians.items()),
                  " ratio %.2f  difference %.2g" % (ratio, result["difference"]), flush=True)
            objects.append({"row": row, "kind": kind, "ms": {p: 1e3 * m for p, m in medians.items()}, "ratio": ratio,
                            "per_s": {p: ROWS[row][1] / m if row not in GEMMS else 1 / m for p, m in medians.items()},
                            "difference": result["difference"]})
    for peer, why in result["failed"].items():
        print("%-15s %s failed: %s" % (row, peer, why), flush=True)
        objects.append({"row": row, "peer": peer, "failed": why})
    return objects


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["*"])
    parser.add_argument("--peers", nargs="+", choices=("eager", "graph", "compile"),
                        default=["eager", "graph", "compile"])
    parser.add_argument("--mode", default="reduce-overhead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--budget", type=float, default=140)
    parser.add_argument("--compile-limit", type=float, default=60)
    parser.add_argument("--models", default=os.path.join(BUILD, "models"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--json")
    a = parser.parse_args()
    a.picked = [r for r in ROWS if any(fnmatch.fnmatchcase(r, p) for p in a.rows)]
    unknown = [p for p in a.rows if not fnmatch.filter(ROWS, p)]
    if unknown:
        parser.error("no row %s; rows: %s" % (" ".join(unknown), " ".join(ROWS)))
    a.end = time.time() + a.budget
    return a


def main():
    a = arguments()
    try:
        import torch
    except ImportError:
        sys.exit("torch_gpu.py: torch is not installed (pip install torch)")
    if not torch.cuda.is_available():
        sys.exit("torch_gpu.py: no CUDA device")
    torch.backends.cudnn.benchmark = True
    print("torch %s, %s" % (torch.__version__, torch.cuda.get_device_name()), flush=True)
    with torch.inference_mode() if "compile" not in a.peers else torch.no_grad():
        for row in a.picked:
            if time.time() > a.end:
                print("%-15s left out: no time left" % row, flush=True)
                continue
            objects = report(row, run_row(row, model_of(row, a.models), a), a)
            torch.cuda.empty_cache()
            if a.json:
                with open(a.json, "a") as f:
                    f.writelines(json.dumps(o) + "\n" for o in objects)


if __name__ == "__main__":
    main()
