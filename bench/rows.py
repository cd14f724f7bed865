# SPDX-License-Identifier: Apache-2.0
"""The rows of `make bench` and the targets they are held to."""
import os

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MODELS = os.path.join(ROOT, "build", "models")


class Row:
    """file in build/models; gflop: arithmetic of the convolutions and matrix products of one run, by their
    definition (2 for a multiply and add), 0 when not counted; dims: symbolic dimensions; shapes, values:
    inputs given whole (see peers.make_feeds); kind: f32, bf16 or int8; exact: the f32 model that an int8
    one was made from."""

    def __init__(self, name, file, gflop, kind="f32", exact=None, shapes=None, values=None, **dims):
        self.name, self.gflop, self.kind, self.dims = name, gflop, kind, dims
        self.shapes, self.values = shapes, values
        self.path = os.path.join(MODELS, file)
        self.exact = os.path.join(MODELS, exact or file)

    def peers(self):
        """ONNX Runtime, OpenVINO of the row's type, leat."""
        if self.kind == "bf16":
            return ["ort", "ov-bf16", "leat-bf16"]
        return ["ort", "ov-f32", "leat"]


def encoder_gflop(layers, hidden, seq):
    """Four projections, a feed-forward of four times the width, and attention's two products."""
    return layers * 2 * (12 * hidden ** 2 * seq + 2 * hidden * seq * seq) / 1e9


def bert(name, file, seq, **more):
    layers, hidden = (24, 1024) if "large" in name else (12, 768)
    return Row(name, file, encoder_gflop(layers, hidden, seq), batch=1, seq=seq, **more)


def minilm(name, file, **more):
    return Row(name, file, encoder_gflop(6, 384, 128), batch=1, sequence=128, **more)


def resnet(name, batch, file="resnet50.onnx", **more):
    return Row(name, file, 8.178 * batch, N=batch, **more)


def lite0(name, file="efficientnet-lite0.onnx", **more):
    return Row(name, file, 0.770, **more)


DET = dict(shapes={"x": (1, 3, 640, 640)})
REC = dict(shapes={"x": (1, 3, 48, 320)})
SILERO = dict(shapes={"input": (1, 576), "state": (2, 1, 128), "sr": ()}, values={"sr": 16000})

ROWS = [
    resnet("resnet50-b1", 1),
    resnet("resnet50-b8", 8),
    bert("bert-base-128", "bert-base.onnx", 128),
    bert("bert-base-384", "bert-base.onnx", 384),
    bert("bert-large-128", "bert-large.onnx", 128),
    bert("bert-large-384", "bert-large.onnx", 384),
    lite0("lite0"),
    minilm("minilm-128", "minilm.onnx"),
    Row("ppocr-det", "ch_PP-OCRv4_det_infer.onnx", 4.69, **DET),
    Row("ppocr-rec", "ch_PP-OCRv4_rec_infer.onnx", 1.41, **REC),
    Row("silero", "silero_vad.onnx", 0, **SILERO),
    Row("magika", "magika.onnx", 0.734),
    Row("mlp", "mlp.onnx", 3 * 2 * 256 * 256 / 1e9),
    resnet("resnet50-b1-bf16", 1, kind="bf16"),
    resnet("resnet50-b8-bf16", 8, kind="bf16"),
    bert("bert-base-128-bf16", "bert-base.onnx", 128, kind="bf16"),
    bert("bert-base-384-bf16", "bert-base.onnx", 384, kind="bf16"),
    bert("bert-large-128-bf16", "bert-large.onnx", 128, kind="bf16"),
    lite0("lite0-bf16", kind="bf16"),
    minilm("minilm-128-bf16", "minilm.onnx", kind="bf16"),
    resnet("resnet50-b1-qdq", 1, "resnet50-qdq.onnx", kind="int8", exact="resnet50.onnx"),
    resnet("resnet50-b8-qdq", 8, "resnet50-qdq.onnx", kind="int8", exact="resnet50.onnx"),
    lite0("lite0-qdq", "efficientnet-lite0-qdq.onnx", kind="int8", exact="efficientnet-lite0.onnx"),
    bert("bert-base-128-dyn8", "bert-base-dyn8.onnx", 128, kind="int8", exact="bert-base.onnx"),
    minilm("minilm-128-dyn8", "minilm-dyn8.onnx", kind="int8", exact="minilm.onnx"),
]

# (what, rows, least ratio to ONNX Runtime by threads, least ratio to OpenVINO of the same type)
TARGETS = [
    ("ResNet-50 f32", ["resnet50-b1", "resnet50-b8"], {1: 1.25, 2: 1.25}, 1.2),
    ("ResNet-50 bf16", ["resnet50-b1-bf16", "resnet50-b8-bf16"], {1: 2.0, 2: 2.0}, 1.0),
    ("ResNet-50 QDQ", ["resnet50-b1-qdq", "resnet50-b8-qdq"], {1: 1.35, 2: 1.9}, 1.05),
    ("BERT f32", ["bert-base-128", "bert-base-384", "bert-large-128", "bert-large-384"], {1: 1.2, 2: 1.2}, 1.07),
    ("BERT-base bf16", ["bert-base-128-bf16", "bert-base-384-bf16"], {1: 2.2, 2: 2.2}, 1.05),
    ("BERT-base dynamic int8", ["bert-base-128-dyn8"], {1: 1.35, 2: 1.35}, 3.0),
    ("Lite0, MiniLM, PP-OCR f32", ["lite0", "minilm-128", "ppocr-det", "ppocr-rec"], {1: 1.15, 2: 1.15}, 1.1),
    ("MLP", ["mlp"], {1: 2.0, 2: 2.0}, 3.0),
]


def select(names):
    """Rows by name, by kind, or by a beginning with a star ("resnet50*"); all without names."""
    def matches(row, name):
        return name in (row.name, row.kind) or (name.endswith("*") and row.name.startswith(name[:-1]))

    for name in names:
        if not any(matches(r, name) for r in ROWS):
            raise SystemExit("no row '%s'; rows: %s" % (name, " ".join(r.name for r in ROWS)))
    return [r for r in ROWS if not names or any(matches(r, n) for n in names)]
