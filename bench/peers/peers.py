# SPDX-License-Identifier: Apache-2.0
"""One peer on one model: opening it, running it in a process of its own, asking that process for rounds.

  ort       ONNX Runtime, all optimisations, spinning (its default)       ort-ns     without spinning
  ov-f32    OpenVINO, latency hint, one stream, f32                        ov-bf16    in bf16
  leat      this library, its defaults (f32 as the model says)             leat-ns    workers never poll
  leat-bf16 precision bf16                                                 leat-plain plain algorithms only
  ort-avx2, leat-avx2: held to AVX2 (no_avx512.py; LEAT_CPU_ISA); ort-avxvnni, leat-avxvnni: and AVX-VNNI
"""
import json
import mmap
import os
import pickle
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(HERE, "..", "..", "build", "libleat.so")
HELD = ("avx2", "avxvnni")
PEERS = ("ort", "ort-ns", "ov-f32", "ov-bf16", "leat", "leat-ns", "leat-bf16", "leat-plain") + tuple(
    runtime + "-" + isa for isa in HELD for runtime in ("ort", "leat"))


def memory(key):
    """MB of this process; VmRSS now, VmHWM at most since it started or since reset_peak."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(key + ":"))


def reset_peak():
    with open("/proc/self/clear_refs", "w") as f:  # proc_pid_clear_refs(5): 5 resets VmHWM
        f.write("5")


def wake_memory(size):
    """Touches size bytes and gives them back, so that all peers find free memory alike. The host of a virtual
    machine may have taken free memory away; whoever touches it first then waits for the host, up to 2 ms a MB,
    and load times say who came first instead of who loads faster."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as fresh:
        fresh.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size, mmap.PAGESIZE):
            fresh[at] = 1


def input_shapes(model, dims, shapes=None):
    """{name: (shape, numpy type)}: dims gives symbolic dimensions (others are 1), shapes whole ones."""
    import onnx
    constants = {i.name for i in model.graph.initializer}
    result = {}
    for x in model.graph.input:
        if x.name in constants:
            continue
        t = x.type.tensor_type
        shape = (shapes or {}).get(x.name)
        if shape is None:
            shape = [d.dim_value if d.HasField("dim_value") else dims.get(d.dim_param, 1) for d in t.shape.dim]
        result[x.name] = (list(shape), onnx.helper.tensor_dtype_to_np_dtype(t.elem_type))
    return result


def make_feeds(path, dims, shapes=None, values=None):
    """Seeded inputs of a model, in its order; values fixes some."""
    import onnx
    rng, feeds = np.random.default_rng(0), {}
    for name, (shape, dtype) in input_shapes(onnx.load(path, load_external_data=False), dims, shapes).items():
        if values and name in values:
            feeds[name] = np.full(shape, values[name], dtype)
        elif np.issubdtype(dtype, np.floating):
            feeds[name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in name:
            feeds[name] = np.ones(shape, dtype)
        else:
            feeds[name] = rng.integers(0, 2 if "type" in name else 200, shape).astype(dtype)
    return feeds


# --- one peer: open returns (call, outputs): call runs once, outputs gives the arrays of the last call ---
def open_ort(path, feeds, threads, peer):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = threads, 1, 4
    if peer == "ort-ns":
        o.add_session_config_entry("session.intra_op.allow_spinning", "0")
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    call = lambda: s.run(None, feeds)
    return call, call


def open_ov(path, feeds, threads, peer):
    import openvino as ov
    import openvino.properties.hint as hint
    core = ov.Core()
    m = core.read_model(path)
    m.reshape({n: list(x.shape) for n, x in feeds.items()})
    precision = ov.Type.bf16 if peer == "ov-bf16" else ov.Type.f32
    compiled = core.compile_model(m, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
                                             "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
                                             hint.inference_precision(): precision})
    r = compiled.create_infer_request()
    for n, x in feeds.items():
        r.set_tensor(n, ov.Tensor(x))
    return r.infer, lambda: [r.get_output_tensor(i).data.copy() for i in range(len(compiled.outputs))]


def open_leat(path, feeds, threads, peer):
    import leat
    session = leat.Session(LIBRARY, path, threads, spin_us=-1 if peer == "leat-ns" else 0,
                           precision="bf16" if peer == "leat-bf16" else "model", plain=peer == "leat-plain")
    call = session.prepare([feeds[name] for name, _, _ in session.inputs()])
    return call, call.results


def import_runtime(peer):
    """Loads the runtime's code, whose memory and time are not the model's."""
    runtime, _, isa = peer.partition("-")
    if runtime == "ort" and isa in HELD:
        import no_avx512
        no_avx512.prepare(isa == "avxvnni")
    if runtime == "ort":
        import onnxruntime  # noqa: F401
        return open_ort
    if peer.startswith("ov"):
        import openvino
        openvino.Core()
        return open_ov
    if isa in HELD:
        os.environ["LEAT_CPU_ISA"] = isa
    sys.path.insert(0, HERE)
    import leat
    leat.load(LIBRARY)
    return open_leat


def one_round(call, seconds):
    """Times of back-to-back calls for that long, one at least. Quick models are warmed up first: the
    others' turn has emptied the caches."""
    start = time.perf_counter()
    call()
    first, times = time.perf_counter() - start, []
    if first > seconds:
        return [first]
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def worker(peer, path, threads, feeds_path):
    """Each line on standard input asks for one round of that many seconds; answers are JSON lines."""
    os.sched_setaffinity(0, set(range(threads)))
    with open(feeds_path, "rb") as f:
        feeds = pickle.load(f)
    try:
        opener = import_runtime(peer)
        wake_memory(2 * os.path.getsize(path) + (64 << 20))
        reset_peak()
        base, start = memory("VmRSS"), time.perf_counter()
        call, outputs = opener(path, feeds, threads, peer)
        load = time.perf_counter() - start
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        peak = memory("VmHWM") - base
        result = [np.asarray(x) for x in outputs()]
    except Exception as e:  # the peer refuses the model: the table says so
        print(json.dumps({"failed": str(e).strip().replace("\n", " ")[:300]}), flush=True)
        return
    with open(feeds_path + "." + peer, "wb") as f:
        pickle.dump(result, f)
    print(json.dumps({"load": load, "first": first, "first_peak": peak}), flush=True)
    for line in sys.stdin:
        times = one_round(call, float(line))
        print(json.dumps({"times": times, "peak": memory("VmHWM") - base}), flush=True)


class Peer:
    """A worker process, seen from outside. `failed` is None or why it cannot run the model."""

    def __init__(self, peer, path, threads, seconds, feeds_path):
        self.name, self.seconds, self.outputs_path = peer, seconds, feeds_path + "." + peer
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), peer, path, str(threads), feeds_path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.info, self.times = self._answer(), []
        self.failed = self.info.get("failed")
        self.peak = self.info.get("first_peak", 0.0)

    def _answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": "the process ended (status %s)" % self.process.wait()}

    def round(self):
        if self.failed:
            return
        self.process.stdin.write("%g\n" % self.seconds)
        self.process.stdin.flush()
        answer = self._answer()
        self.failed = answer.get("failed")
        self.times += answer.get("times", [])
        self.peak = max(self.peak, answer.get("peak", 0.0))

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def outputs(self):
        with open(self.outputs_path, "rb") as f:
            return pickle.load(f)


def run_peers(peers, path, threads, seconds, rounds, feeds_path):
    """All peers on one model, taking turns; returns them closed."""
    with open(path, "rb") as f:  # into the page cache: the first peer must not pay for the disk
        while f.read(1 << 24):
            pass
    running = [Peer(p, path, threads, seconds, feeds_path) for p in peers]
    for _ in range(rounds):
        for p in running:
            p.round()
    for p in running:
        p.close()
        p.times.sort()
    return running


def quantile(times, q):
    return float(np.quantile(times, q)) if times else float("nan")


def difference(a, b):
    """Largest |x - y| / (1 + |y|) over all outputs."""
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b)):
        return float("inf")
    return max([float(np.max(np.abs(x.astype(np.float64) - y) / (1 + np.abs(y)), initial=0)) for x, y in zip(a, b)])


def relative(a, b):
    """|a - b| / |b|, Euclidean, over all outputs together."""
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b)):
        return float("inf")
    far = sum(float(np.sum((x.astype(np.float64) - y) ** 2)) for x, y in zip(a, b))
    size = sum(float(np.sum(y.astype(np.float64) ** 2)) for y in b)
    return (far / size) ** 0.5 if size else float(far != 0)


def time_text(seconds):
    return "%.1f us" % (seconds * 1e6) if seconds < 1e-3 else "%.2f ms" % (seconds * 1e3)


if __name__ == "__main__":
    worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
