#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `leat quantize` gains and loses on the models of `make bench`, on this CPU, from real data where the model has
some: photos (foolbox's of ImageNet) for images, the Lee background corpus for tokens, the repository's own sources for
magika, seeded numbers for mlp. Silero's products lie in the bodies of its If, which stay f32: it is no row.

  quantize.py [--rows NAME...] [--threads N] [--times 1] [--rounds 5] [--seconds 0.4] [--keep DIR]
              [-- OPTIONS OF leat quantize]

One line a model and method: least medians of f32 and of 8 bits over rounds that take turns, their ratio, how many
products are in 8 bits (layers that are slower so stay f32, unless --any-speed follows `--`), signal to noise of the
outputs, and what is lost by the report's measure. With --times N the model is quantized and measured N times, as what
is decided by time may be decided otherwise: the line is the time in the middle by ratio, with the least and the largest
ratio. Ends with "N rows, N slower than f32"; that counts ratios below 0.98, as two runs of one file differ by 2 %.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import rows as table_rows  # noqa: E402

LEAT = os.path.join(table_rows.ROOT, "build", "leat")
MODELS = table_rows.MODELS


# --- data ----------------------------------------------------------------------------------------------
def photos(count, height, width, crop=1):
    """[count, 3, height, width], (x - 127) / 128; `crop` 4: a quarter of the photo's height, for lines of text."""
    from PIL import Image
    names = sorted(n for n in os.listdir(MODELS) if n.startswith("imagenet_") and n.endswith(".jpg"))
    if not names:
        raise SystemExit("no photos in build/models: scripts/models.sh all")
    out = np.empty((count, 3, height, width), np.float32)
    for i in range(count):
        image = Image.open(os.path.join(MODELS, names[i % len(names)])).convert("RGB")
        w, h = image.size
        top = (i * 37) % max(1, h - h // crop)
        image = image.crop((0, top, w, top + h // crop)).resize((width, height), Image.BILINEAR)
        out[i] = (np.asarray(image, np.float32).transpose(2, 0, 1) - 127) / 128
    return out


def tokens(count, length):
    """Documents that fill `length` tokens, and no padding."""
    out, row = [], []
    pieces = {line.rstrip("\n"): i for i, line in enumerate(open(os.path.join(MODELS, "vocab.txt"), encoding="utf-8"))}
    for line in open(os.path.join(MODELS, "lee_background.cor"), encoding="latin-1"):
        row += [pieces.get(w.strip('.,"').lower(), pieces["[UNK]"]) for w in line.split()]
        if len(row) >= length - 2:
            out.append([pieces["[CLS]"]] + row[:length - 2] + [pieces["[SEP]"]])
            row = []
        if len(out) == count:
            break
    ids = np.array(out, np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def sources(count, length):
    """Beginnings of files of this repository, one number a byte, as magika takes them."""
    found = []
    for folder, _, names in sorted(os.walk(os.path.join(table_rows.ROOT, "lib"))):
        found += [os.path.join(folder, n) for n in sorted(names) if n.endswith(".c")]
    data = [open(name, "rb").read(length) for name in found[:count]]
    return np.array([list(d) + [256] * (length - len(d)) for d in data], np.int32)


def seeded(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


# row of rows.py, methods, data, --shape for leat bench
MATRICES, IMAGES = ["dynamic"], ["static"]
EXTRA = [table_rows.Row("ppocr-cls", "ch_ppocr_mobile_v2.0_cls_infer.onnx", 0)]  # not in `make bench`
PLAN = {
    "resnet50-b1": (IMAGES, lambda: photos(8, 224, 224), []),
    "resnet50-b8": (IMAGES, lambda: photos(16, 224, 224).reshape(2, 8, 3, 224, 224), ["input=8x3x224x224"]),
    "lite0": (IMAGES, lambda: photos(20, 224, 224), []),
    "ppocr-det": (IMAGES + MATRICES, lambda: photos(4, 640, 640), ["x=1x3x640x640"]),
    "ppocr-rec": (IMAGES + MATRICES, lambda: photos(8, 48, 320, 4), ["x=1x3x48x320"]),
    "ppocr-cls": (IMAGES + MATRICES, lambda: photos(8, 48, 192, 4), ["x=1x3x48x192"]),
    "bert-base-128": (MATRICES, lambda: tokens(8, 128), None),
    "bert-base-384": (MATRICES, lambda: tokens(4, 384), None),
    "bert-large-128": (MATRICES, lambda: tokens(4, 128), None),
    "bert-large-384": (MATRICES, lambda: tokens(2, 384), None),
    "minilm-128": (MATRICES, lambda: tokens(16, 128), None),
    "magika": (MATRICES + IMAGES, lambda: sources(16, 2048), None),
    "mlp": (MATRICES + IMAGES, lambda: seeded(64, 256), None),
}


def save(folder, data):
    if isinstance(data, dict):
        np.savez(os.path.join(folder, "data.npz"), **data)
        return os.path.join(folder, "data.npz")
    np.save(os.path.join(folder, "data.npy"), data)
    return os.path.join(folder, "data.npy")


# --- measuring -----------------------------------------------------------------------------------------
def shapes_of(path, data):
    """--shape for what the model leaves open, from the data's first sample."""
    import onnx
    graph = onnx.load(path, load_external_data=False).graph
    constants = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    out = []
    for i in inputs:
        dims = i.type.tensor_type.shape.dim
        array = data[i.name] if isinstance(data, dict) else data
        whole = len(dims) < array.ndim  # whole inputs, one after the other
        shape = array.shape[1:] if whole else (1,) + array.shape[1:]
        if dims and any(d.dim_param or not d.dim_value for d in dims):
            out += ["--shape", "%s=%s" % (i.name, "x".join(map(str, shape)))]
    return out


def median(path, o, shapes):
    out = subprocess.run([LEAT, "bench", path, "--threads", str(o.threads), "--seconds", str(o.seconds), "--json",
                          *shapes], capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(out.stderr)
    return json.loads(out.stdout.splitlines()[0])["median_ms"]


def quantize(row, method, data, o, folder, file, report):
    """Whether it could."""
    out = subprocess.run([LEAT, "quantize", row.path, file, "--data", save(folder, data), "--method", method,
                          "--threads", str(o.threads), "--report", report, *o.options],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if out.returncode:
        print("%-14s %-8s %s" % (row.name, method, out.stderr.strip()))
    return out.returncode == 0


def once(row, method, data, shapes, o, folder):
    """(ratio, line) of the model quantized and both of them measured, or None."""
    file = os.path.join(o.keep or folder, "%s-%s.onnx" % (row.name, method))
    report = file + ".json"
    if not (o.keep and os.path.exists(report)) and not quantize(row, method, data, o, folder, file, report):
        return None
    before, after = [], []
    for _ in range(o.rounds):
        before.append(median(row.path, o, shapes))
        after.append(median(file, o, shapes))
    r = json.load(open(report))
    kept = [layer for layer in r["layers"] if layer["bits"] < 32]
    ratio = min(before) / min(after)
    number = lambda x: x if x is not None else float("nan")
    return ratio, "%-14s %-8s %7d %9.3f %9.3f %6.2f %5d/%-5d %7.1f %8.3f %s" % (
        row.name, method, o.threads, min(before), min(after), ratio, len(kept), len(r["layers"]),
        number(r["sqnr_db"]), 100 * number(r["drop"]), r["drop_measure"])


def measure(row, method, data, given, o, folder):
    """The ratio in the middle of o.times; None: it could not be quantized."""
    shapes = shapes_of(row.path, data) if given is None else [a for s in given for a in ("--shape", s)]
    found = [once(row, method, data, shapes, o, folder) for _ in range(o.times)]
    if None in found:
        return None
    found.sort()
    ratio, line = found[len(found) // 2]
    print(line + (" (%.2f to %.2f)" % (found[0][0], found[-1][0]) if o.times > 1 else ""), flush=True)
    return ratio


def select(names):
    """Rows of `make bench` and of EXTRA."""
    extra = {row.name: row for row in EXTRA}
    chosen = [extra[name] for name in names if name in extra]
    others = [name for name in names if name not in extra]
    rows = (table_rows.select(others) if others or not names else []) + chosen
    unknown = [row.name for row in rows if row.name not in PLAN]
    if unknown:
        raise SystemExit("no data for %s; rows: %s" % (" ".join(unknown), " ".join(PLAN)))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=list(PLAN))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--keep", help="where quantized models stay, and are taken from the next time")
    arguments, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    o = parser.parse_args(arguments.split())
    if o.times < 1 or (o.keep and o.times > 1):
        parser.error("--times takes 1 or more, and 1 with --keep, which quantizes once")
    if o.keep:
        os.makedirs(o.keep, exist_ok=True)
    o.options = rest.split()
    print("%-14s %-8s %7s %9s %9s %6s %11s %7s %8s" % ("model", "method", "threads", "f32 ms", "int8 ms", "ratio",
                                                    "int8 layers", "dB", "lost %"))
    ratios = []
    for row in select(o.rows):
        methods, make, given = PLAN[row.name]
        for method in methods:
            with tempfile.TemporaryDirectory() as folder:
                ratios.append(measure(row, method, make(), given, o, folder))
    slower = sum(r is not None and r < 0.98 for r in ratios)
    print("%d rows, %d slower than f32" % (len(ratios), slower))
    return slower > 0


if __name__ == "__main__":
    sys.exit(main())
