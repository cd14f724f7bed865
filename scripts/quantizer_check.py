# SPDX-License-Identifier: Apache-2.0
"""quantizer_check.py BUILD DATA: a small convolutional network, trained here on Fashion-MNIST with a fixed seed (60,000
images, two passes, plain numpy), is quantized by `leat quantize` and by ONNX Runtime; the 10,000 test images decide.

MiniLM (all-MiniLM-L6-v2, where build/models has it) is quantized dynamically, without data and with documents of the Lee
background corpus; the documents of the Lee corpus (both in gensim's tests) decide, by the cosine of their embeddings to f32.

EfficientNet-Lite0 (the same) is quantized statically with default options on the twenty photos of foolbox, and on ten of
them; the cosine of the logits to f32 decides, of the twenty, or of the other ten.

Checked: the files open in onnx's checker and give the same in ONNX Runtime and in leat; both methods keep 99.5 % of the
f32 accuracy; leat's better one has at least as many right as the best of ONNX Runtime's methods.
Ends with "N passed, N failed, N skipped"."""
import glob
import gzip
import os
import subprocess
import sys
import tempfile
import unicodedata

# The same network on every machine: sums of products in the order of one kernel, on one thread.
os.environ.update(OPENBLAS_CORETYPE="Haswell", OPENBLAS_NUM_THREADS="1")
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnxruntime import quantization as oq
from PIL import Image

BUILD, DATA = sys.argv[1:3]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MODEL = os.path.join(ROOT, "build", "models", "fashion-cnn.onnx")
SAMPLES = 512  # that ranges come from


def read(name, offset):
    with gzip.open(os.path.join(DATA, name)) as f:
        return np.frombuffer(f.read(), np.uint8, offset=offset)


def load(part):
    images = read("%s-images-idx3-ubyte.gz" % part, 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    return images, read("%s-labels-idx1-ubyte.gz" % part, 8).astype(np.int64)


# --- training: two convolutions of stride 2 and one product, by im2col --------------------------------------
def patches(x, k):
    """[n, c, h, w] to [n, h', w', c * k * k], stride 2."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::2, ::2]
    return np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(*windows.shape[0:1], *windows.shape[2:4], -1)


def scatter(g, shape, k):
    """The gradient of patches."""
    x = np.zeros(shape, np.float32)
    g = g.reshape(*g.shape[:3], shape[1], k, k)
    for i in range(k):
        for j in range(k):
            x[:, :, i:i + 2 * g.shape[1]:2, j:j + 2 * g.shape[2]:2] += g[:, :, :, :, i, j].transpose(0, 3, 1, 2)
    return x


def step(p, x, labels):
    """Gradients of the mean cross entropy."""
    a1 = patches(x, 5)
    h1 = np.maximum(a1 @ p["w1"].T + p["b1"], 0)
    x2 = np.ascontiguousarray(h1.transpose(0, 3, 1, 2))
    a2 = patches(x2, 3)
    h2 = np.maximum(a2 @ p["w2"].T + p["b2"], 0)
    f = h2.transpose(0, 3, 1, 2).reshape(len(x), -1)
    z = f @ p["w3"].T + p["b3"]
    z -= z.max(1, keepdims=True)
    g = np.exp(z.astype(np.float64)).astype(np.float32)
    g /= g.sum(1, keepdims=True)
    g[np.arange(len(x)), labels] -= 1
    g /= len(x)
    gf = (g @ p["w3"]).reshape(len(x), h2.shape[3], *h2.shape[1:3]).transpose(0, 2, 3, 1) * (h2 > 0)
    rows = lambda a: a.reshape(-1, a.shape[-1])
    g1 = scatter(gf @ p["w2"], x2.shape, 3).transpose(0, 2, 3, 1) * (h1 > 0)
    return {"w3": g.T @ f, "b3": g.sum(0), "w2": rows(gf).T @ rows(a2), "b2": rows(gf).sum(0),
            "w1": rows(g1).T @ rows(a1), "b1": rows(g1).sum(0)}


def train(images, labels):
    rng = np.random.default_rng(1)
    make = lambda n, k: (rng.standard_normal((n, k)) * np.sqrt(2 / k)).astype(np.float32)
    p = {"w1": make(16, 25), "b1": np.zeros(16, np.float32), "w2": make(32, 144), "b2": np.zeros(32, np.float32),
         "w3": make(10, 800), "b3": np.zeros(10, np.float32)}
    speed = {name: np.zeros_like(v) for name, v in p.items()}
    for rate in (0.08, 0.02):
        order = rng.permutation(len(images))
        for at in range(0, len(order), 100):
            batch = order[at:at + 100]
            for name, g in step(p, images[batch], labels[batch]).items():
                speed[name] = 0.9 * speed[name] - rate * g
                p[name] += speed[name]
    return p


def write_model(p, path):
    weights = {"w1": p["w1"].reshape(16, 1, 5, 5), "b1": p["b1"], "w2": p["w2"].reshape(32, 16, 3, 3), "b2": p["b2"],
               "w3": p["w3"], "b3": p["b3"]}
    nodes = [h.make_node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", strides=[2, 2]), h.make_node("Relu", ["c1"], ["r1"]),
             h.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", strides=[2, 2]), h.make_node("Relu", ["c2"], ["r2"]),
             h.make_node("Flatten", ["r2"], ["f"]), h.make_node("Gemm", ["f", "w3", "b3"], ["y"], "classes", transB=1)]
    graph = h.make_graph(nodes, "fashion", [h.make_tensor_value_info("x", T.FLOAT, ["N", 1, 28, 28])],
                         [h.make_tensor_value_info("y", T.FLOAT, ["N", 10])],
                         [nh.from_array(np.ascontiguousarray(w), n) for n, w in weights.items()])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), path + ".part")
    os.replace(path + ".part", path)


# --- running -------------------------------------------------------------------------------------------------
def in_ort(path, x):
    """All images at once: ranges of the dynamic method are those of a run."""
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def leat(*arguments):
    more = ["--any-speed"] if arguments[0] == "quantize" else []  # numbers that no clock decides
    subprocess.run([os.path.join(BUILD, "leat"), *arguments, *more], check=True, stdout=subprocess.DEVNULL)


def in_leat(path, x, folder):
    np.save(os.path.join(folder, "x.npy"), x)
    leat("run", path, "-i", "x=" + os.path.join(folder, "x.npy"), "-o", os.path.join(folder, "out"))
    return np.load(os.path.join(folder, "out", "y.npy"))


class Samples(oq.CalibrationDataReader):
    def __init__(self, x):
        self.rest = iter(np.array_split(x, 8))

    def get_next(self):
        part = next(self.rest, None)
        return None if part is None else {"x": part}


def by_ort(x, folder):
    """Models quantized by ONNX Runtime, all its methods."""
    for method in (oq.CalibrationMethod.MinMax, oq.CalibrationMethod.Entropy, oq.CalibrationMethod.Percentile):
        path = os.path.join(folder, "ort-%s.onnx" % method.name)
        oq.quantize_static(MODEL, path, Samples(x), quant_format=oq.QuantFormat.QDQ, per_channel=True,
                           activation_type=oq.QuantType.QUInt8, weight_type=oq.QuantType.QInt8, calibrate_method=method)
        yield path
    path = os.path.join(folder, "ort-dynamic.onnx")
    oq.quantize_dynamic(MODEL, path, weight_type=oq.QuantType.QInt8, per_channel=True)
    yield path


# --- MiniLM ----------------------------------------------------------------------------------------------------
class WordPiece:
    """BERT's tokenizer: words and signs, then the longest pieces of the vocabulary (Wu et al., arXiv:1609.08144)."""
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.pieces = {line.rstrip("\n"): i for i, line in enumerate(f)}

    def words(self, text):
        out, word = [], ""
        for c in unicodedata.normalize("NFD", text.lower()):
            if unicodedata.category(c) == "Mn":
                continue
            if c.isalnum():
                word += c
            else:
                out += [word, "" if c.isspace() else c]
                word = ""
        return [w for w in out + [word] if w]

    def ids(self, text, most):
        out = [self.pieces["[CLS]"]]
        for w in self.words(text):
            at, found = 0, []
            while at < len(w):
                end = len(w)
                while end > at and ("##" if at else "") + w[at:end] not in self.pieces:
                    end -= 1
                if end == at:
                    found = [self.pieces["[UNK]"]]
                    break
                found.append(self.pieces[("##" if at else "") + w[at:end]])
                at = end
            out += found
        return out[:most - 1] + [self.pieces["[SEP]"]]


def tokens(rows):
    """Rows of ids as the model's inputs, filled up and masked."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = row
        mask[i, :len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def normal(e):
    e = np.array(e)
    return e / np.linalg.norm(e, axis=1, keepdims=True)


def embeddings(path, documents, as_written=False):
    """as_written: without what ONNX Runtime makes of weights in blocks, products that round activations to 8 bits."""
    options = ort.SessionOptions()
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return normal([session.run(None, tokens([d]))[0][0].mean(0) for d in documents])


def embeddings_in_leat(path, documents, folder):
    """One by one: ranges of the dynamic method are those of a run."""
    out = []
    for d in documents:
        arguments = []
        for key, value in tokens([d]).items():
            np.save(os.path.join(folder, key + ".npy"), value)
            arguments += ["-i", "%s=%s.npy" % (key, os.path.join(folder, key))]
        leat("run", path, *arguments, "-o", os.path.join(folder, "out"))
        out.append(np.load(os.path.join(folder, "out", "last_hidden_state.npy"))[0].mean(0))
    return normal(out)


def check_minilm(check, folder):
    models = os.path.join(ROOT, "build", "models")
    path = lambda name: os.path.join(models, name)
    if not all(os.path.exists(path(name)) for name in ("minilm.onnx", "vocab.txt", "lee.cor", "lee_background.cor")):
        print("        skipped: MiniLM or the Lee documents are not in build/models")
        return 1
    split = WordPiece(path("vocab.txt"))
    lines = lambda name: open(path(name), encoding="latin-1")
    documents = [split.ids(line, 128) for line in lines("lee.cor")]
    long = [row for row in (split.ids(line, 96) for line in lines("lee_background.cor")) if len(row) == 96][:48]
    np.savez(os.path.join(folder, "lee.npz"), **tokens(long))
    wanted = embeddings(path("minilm.onnx"), documents)
    oq.quantize_dynamic(path("minilm.onnx"), os.path.join(folder, "theirs.onnx"), weight_type=oq.QuantType.QInt8,
                        per_channel=True)
    theirs = (embeddings(os.path.join(folder, "theirs.onnx"), documents) * wanted).sum(1).mean()
    file = os.path.join(folder, "minilm.onnx")
    for name, data in (("no data", []), ("data", ["--data", os.path.join(folder, "lee.npz")])):
        leat("quantize", path("minilm.onnx"), file, "--method", "dynamic", *data)
        onnx.checker.check_model(file, full_check=True)
        ours = embeddings_in_leat(file, documents, folder)
        c = (ours * wanted).sum(1)
        check(c.mean() >= 0.999, "MiniLM, dynamic, %s: cosine %.5f, least %.5f of %d documents (ONNX Runtime's: %.5f)" %
              (name, c.mean(), c.min(), len(c), theirs))
        same = (embeddings(file, documents) * ours).sum(1)
        check(same.mean() >= 0.999, "in ONNX Runtime: cosine of both %.6f, least %.6f" % (same.mean(), same.min()))
    lee = ["--data", os.path.join(folder, "lee.npz")]
    mean = {}
    for name, more in (("plain", []), ("smooth", ["--smooth"])):
        leat("quantize", path("minilm.onnx"), file, "--method", "static", "--range", "mse", *lee, *more)
        onnx.checker.check_model(file, full_check=True)
        other = embeddings(file, documents)
        mean[name] = (other * wanted).sum(1).mean()
    check(mean["smooth"] >= 0.997 and mean["smooth"] > mean["plain"] + 0.002,
          "static: cosine %.5f, with --smooth %.5f" % (mean["plain"], mean["smooth"]))
    # Not of the plain one: its steps are so wide that ONNX Runtime differs from itself, optimized or as written, by 0.002.
    same = (other[:6] * embeddings_in_leat(file, documents[:6], folder)).sum(1)
    check(same.min() >= 0.9995, "in ONNX Runtime: cosine of both at least %.6f" % same.min())
    for bits, more in (("8", []), ("4", []), ("4", lee + ["--feedback"])):
        leat("quantize", path("minilm.onnx"), file, "--method", "weights", "--bits", bits, *more)
        onnx.checker.check_model(file, full_check=True)
        ours, other = embeddings_in_leat(file, documents[:6], folder), embeddings(file, documents, True)
        c = (other * wanted).sum(1)
        check(c.mean() >= (0.9995 if bits == "8" else 0.983 if more else 0.97),
              "weights of %s bits%s: cosine %.5f, least %.5f" %
              (bits, ", error feedback" if more else "", c.mean(), c.min()))
        same = (other[:6] * ours).sum(1)
        check(same.min() >= 0.999999, "in ONNX Runtime: cosine of both at least %.7f" % same.min())
    return 0


# --- EfficientNet-Lite0 ----------------------------------------------------------------------------------------
def photo(path):
    """The middle 224 x 224 of the photo with a shorter side of 256, [3, 224, 224]."""
    image = Image.open(path).convert("RGB")
    by = 256 / min(image.size)
    image = image.resize([round(n * by) for n in image.size], Image.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    image = image.crop((left, top, left + 224, top + 224))
    return (np.asarray(image, np.float32).transpose(2, 0, 1) - 127) / 128


def check_lite0(check, folder):
    models = os.path.join(ROOT, "build", "models")
    model = os.path.join(models, "efficientnet-lite0.onnx")
    paths = sorted(glob.glob(os.path.join(models, "imagenet_*.jpg")))
    if not os.path.exists(model) or len(paths) != 20:
        print("        skipped: EfficientNet-Lite0 or the photos are not in build/models")
        return 1
    x = np.array([photo(path) for path in paths])
    name = onnx.load(model).graph.input[0].name
    file = os.path.join(folder, "lite0.onnx")
    logits = lambda path: np.array([ort.InferenceSession(path, providers=["CPUExecutionProvider"])
                                    .run(None, {name: row[None]})[0].ravel() for row in x])
    wanted = logits(model)
    for label, fed, seen in (("the same", x, slice(None)), ("ten others", x[::2], slice(1, None, 2))):
        np.save(os.path.join(folder, "photos.npy"), fed)
        leat("quantize", model, file, "--method", "static", "--data", os.path.join(folder, "photos.npy"))
        onnx.checker.check_model(file, full_check=True)
        ours, f32 = logits(file)[seen], wanted[seen]
        c = (ours * f32).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(f32, axis=1)
        same = int((ours.argmax(1) == f32.argmax(1)).sum())
        check(c.mean() >= 0.995 and same >= 0.95 * len(c), "Lite0, static, photos from %s: cosine %.5f, least %.5f, "
              "%d of %d classes the same" % (label, c.mean(), c.min(), same, len(c)))
    return 0


def main():
    counts = [0, 0]

    def check(good, text):
        counts[not good] += 1
        print("%s %s" % ("       " if good else "FAILED ", text))

    if not os.path.exists(MODEL):
        write_model(train(*load("train")), MODEL)
    images, _ = load("train")
    x, labels = load("t10k")
    calibration = images[:SAMPLES]
    right = lambda y: int((y.argmax(1) == labels).sum())
    before = right(in_ort(MODEL, x))
    check(before >= 8600, "f32: %d of 10,000 right" % before)
    with tempfile.TemporaryDirectory() as folder:
        np.save(os.path.join(folder, "calib.npy"), calibration)
        ours = {}
        for method in ("static", "dynamic", "static with options"):
            path = os.path.join(folder, method + ".onnx")
            data = ["--data", os.path.join(folder, "calib.npy")] if method != "dynamic" else []
            more = ["--equalize", "--smooth", "--feedback"] if "options" in method else []
            leat("quantize", MODEL, path, "--method", method.split()[0], *data, *more)
            onnx.checker.check_model(path, full_check=True)
            y, other = in_leat(path, x, folder), in_ort(path, x)
            ours[method] = right(y)
            same = int((y.argmax(1) == other.argmax(1)).sum())
            check(ours[method] >= 0.995 * before, "%s: %d right" % (method, ours[method]))
            check(same >= 9990, "%s in ONNX Runtime: %d classes the same, outputs within %.3g" %
                  (method, same, np.abs(y - other).max()))
        skipped = check_minilm(check, folder) + check_lite0(check, folder)
        theirs = {os.path.basename(path): right(in_ort(path, x)) for path in by_ort(calibration, folder)}
    check(max(ours.values()) >= max(theirs.values()), "ONNX Runtime's: %s" % ", ".join(
        "%s %d" % (name[4:-5], n) for name, n in theirs.items()))
    print("%d passed, %d failed, %d skipped" % (*counts, skipped))
    return counts[1] > 0


if __name__ == "__main__":
    sys.exit(main())
