#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole models through leat and through ONNX Runtime on the same inputs.

  models_check.py BUILD

Prints a line a case, with the largest difference over 1 + |ONNX Runtime's number|, and ends with
"N passed, N failed, N skipped".  The bound is 1e-4.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

BOUND = 1e-4
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MODELS = os.path.join(ROOT, "build", "models")
BUILD = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build")


def run_leat(model, feeds, precision="f32"):
    with tempfile.TemporaryDirectory() as d:
        command = [os.path.join(BUILD, "leat"), "run", model, "--precision", precision,
                   "-o", os.path.join(d, "out")]
        for i, (name, array) in enumerate(feeds.items()):
            path = os.path.join(d, "in%d.npy" % i)
            np.save(path, array)
            command += ["-i", "%s=%s" % (name, path)]
        r = subprocess.run(command, capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(r.stderr.strip())
        return {os.path.basename(p)[:-4]: np.load(p) for p in glob.glob(os.path.join(d, "out", "*.npy"))}


def compare(label, model, feeds, totals):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    expected = dict(zip(names, session.run(names, feeds)))
    try:
        got = run_leat(model, feeds)
    except RuntimeError as e:
        print("FAILED  %-44s %s" % (label, e))
        totals[1] += 1
        return None
    worst = 0.0
    for name in names:
        a, b = got[name.replace("/", "_")].astype(np.float64), expected[name].astype(np.float64)
        worst = max(worst, float(np.max(np.abs(a - b) / (1 + np.abs(b)))) if a.shape == b.shape else np.inf)
    good = worst <= BOUND
    totals[0 if good else 1] += 1
    print("%s %-44s %.2e" % ("        "[:7] if good else "FAILED ", label, worst))
    return got, expected


def tokens(rng, batch, length):
    mask = np.ones((batch, length), np.int64)
    mask[-1, length // 2 + 1:] = 0
    return {"input_ids": rng.integers(1000, 30000, (batch, length)), "attention_mask": mask,
            "token_type_ids": np.zeros((batch, length), np.int64)}


def classes(options):
    """The likeliest class of every photo, and the right one."""
    model = os.path.join(MODELS, "efficientnet-lite0.onnx")
    paths = sorted(glob.glob(os.path.join(MODELS, "imagenet_*.jpg")))
    r = subprocess.run([os.path.join(BUILD, "examples", "classify")] + options
                       + [model, os.path.join(MODELS, "classes.txt")] + paths, capture_output=True, text=True)
    blocks = [block.splitlines() for block in re.split(r"(?m)^(?=\S)", r.stdout)[1:]]
    return ([int(lines[1].split()[2]) for lines in blocks],
            [int(re.search(r"_(\d+)\.jpg", lines[0]).group(1)) for lines in blocks])


def photos(totals):
    """All photos: the classes that are right, and those that bf16 calls the same."""
    top, known = classes([])
    right = sum(a == b for a, b in zip(top, known))
    good = len(top) == 20 and right >= 17
    totals[0 if good else 1] += 1
    print("%s %-44s %d of %d right" % ("       " if good else "FAILED ", "photos, top 1", right, len(top)))
    same = sum(a == b for a, b in zip(top, classes(["--bf16"])[0]))
    good = len(top) == 20 and same == 20
    totals[0 if good else 1] += 1
    print("%s %-44s %d of %d the same" % ("       " if good else "FAILED ", "photos in bf16, top 1", same, len(top)))


def narrow(label, model, feeds, precision, totals):
    """Cosine of all numbers of the first output against f32's."""
    cosine = 0.0
    try:
        a, b = (next(iter(run_leat(model, feeds, p).values())).astype(np.float64).ravel() for p in ("f32", precision))
        cosine = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    except RuntimeError as e:
        print("FAILED  %-44s %s" % (label, e))
    good = cosine > 0.999
    totals[0 if good else 1] += 1
    print("%s %-44s cosine %.6f" % ("       " if good else "FAILED ", label, cosine))


def notes(rng, batch):
    """Two seconds of a few tones, of which each swells and fades, with some noise: n x 43844 x 1."""
    t = np.arange(43844) / 22050
    x = 0.01 * rng.standard_normal((batch, t.size))
    for wave in x:
        for pitch in rng.integers(40, 80, 5):
            wave += 0.2 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * t) * np.sin(np.pi * t / 2 + pitch) ** 2
    return x[:, :, None].astype(np.float32)


def randomize(model, rng):
    """Random weights for those of a light_* network, which are all of one number; None when they are over 100 MB.
    What a sum of n products weighs is about 1; a variance is positive. A Softmax at the end, which would make all
    numbers small, is left out."""
    graph, total = model.graph, 0
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    variances = {n.input[4] for n in graph.node if n.op_type == "BatchNormalization"}
    for n in [n for n in graph.node if n.op_type == "ConstantOfShape"]:
        shape = numbers[n.input[0]]
        total += 4 * int(np.prod(shape))
        if total > 100 << 20:
            return None
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        x = (rng.random(shape) + 0.5 if n.output[0] in variances else rng.standard_normal(shape) * (2 / fan) ** 0.5)
        graph.initializer.append(onnx.numpy_helper.from_array(x.astype(np.float32), n.output[0]))
        graph.node.remove(n)
    last = graph.node[-1]
    if last.op_type == "Softmax":
        graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, None))
        graph.node.remove(last)
    return model


def light(rng, totals):
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    for source in sorted(glob.glob(os.path.join(folder, "light_*.onnx"))):
        model = randomize(onnx.load(source), rng)
        if model is None:
            continue
        with tempfile.TemporaryDirectory() as d:
            onnx.save(model, os.path.join(d, "model.onnx"))
            given = {t.name for t in model.graph.initializer}
            name = [i.name for i in model.graph.input if i.name not in given][0]
            x = rng.standard_normal((1, 3, 224, 224)).astype(np.float32)
            compare("%s, random weights" % os.path.basename(source)[6:-5], os.path.join(d, "model.onnx"), {name: x}, totals)


def main():
    rng, totals = np.random.default_rng(0), [0, 0]
    path = lambda name: os.path.join(MODELS, name)
    for batch in (1, 3):
        x = rng.standard_normal((batch, 3, 224, 224)).astype(np.float32)
        compare("efficientnet-lite0, batch %d" % batch, path("efficientnet-lite0.onnx"), {"image": x}, totals)
    for batch, length in ((1, 1), (1, 7), (2, 33), (4, 128)):
        compare("MiniLM, %d x %d" % (batch, length), path("minilm.onnx"), tokens(rng, batch, length), totals)
    for precision in ("bf16", "f16"):
        narrow("MiniLM in %s, 2 x 33" % precision, path("minilm.onnx"), tokens(rng, 2, 33), precision, totals)
    for batch in (1, 2):
        x = rng.integers(0, 257, (batch, 2048)).astype(np.int32)
        compare("magika, batch %d" % batch, path("magika.onnx"), {"bytes": x}, totals)
    for n in (1, 4, 7):
        x = rng.standard_normal((n, 3, 48, 192)).astype(np.float32)
        compare("PP-OCR classifier, batch %d" % n, path("ch_ppocr_mobile_v2.0_cls_infer.onnx"), {"x": x}, totals)
    for n, width in ((1, 64), (1, 320), (3, 200), (1, 637)):
        x = rng.standard_normal((n, 3, 48, width)).astype(np.float32)
        compare("PP-OCR recogniser, %d of width %d" % (n, width), path("ch_PP-OCRv4_rec_infer.onnx"), {"x": x}, totals)
    for n, height, width in ((1, 64, 96), (1, 160, 192), (2, 96, 32), (1, 352, 608)):
        x = rng.standard_normal((n, 3, height, width)).astype(np.float32)
        compare("PP-OCR detector, %d of %d x %d" % (n, height, width), path("ch_PP-OCRv4_det_infer.onnx"), {"x": x}, totals)
    for n in (1, 2):
        compare("basic-pitch, batch %d" % n, path("basic-pitch.onnx"), {"serving_default_input_2:0": notes(rng, n)}, totals)
    light(rng, totals)
    photos(totals)
    print("%d passed, %d failed, 0 skipped" % tuple(totals))
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
