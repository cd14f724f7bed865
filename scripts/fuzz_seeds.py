# SPDX-License-Identifier: Apache-2.0
"""fuzz_seeds.py FOLDER CASES: seeds for the fuzz targets, made once.

FOLDER/models     the small models of ONNX's node tests and of the cases in CASES (scripts/ort_cases.sh);
                  where a model takes integers, text or flags as inputs, also with these as
                  constants, so that axes, sizes and indices are right to begin with
FOLDER/models     also models of several nodes with constant weights, one for every way that nodes are fused
                  and laid out: their weights are constants made of a few bytes, which folding expands
FOLDER/sequences  decoders: caches, lengths, positions, states
FOLDER/external   models with weights in files beside them: what fuzz_external.c lays out
FOLDER/npy        arrays of every type
FOLDER/npz        archives of them
FOLDER/tensor     values of test data
FOLDER/cache, tuning, scheduler   edits of a calibration cache; tuning results; weights and calls: as the
                  targets of these names say
"""
import glob
import io
import os
import sys

import numpy as np
import onnx
import onnx.numpy_helper
from onnx import TensorProto, helper

LARGEST = 5000
PARAMETERS = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING, TensorProto.UINT8)


def write(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def read_tensor(path):
    tensor = TensorProto()
    with open(path, "rb") as f:
        tensor.ParseFromString(f.read())
    return tensor


def with_constants(model, case):
    """The model with its small parameters as initializers; None when it has none."""
    kept, constants = [], []
    for i, value in enumerate(model.graph.input):
        kind = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0
        path = os.path.join(case, "test_data_set_0", "input_%d.pb" % i)
        if kind in PARAMETERS and os.path.exists(path) and os.path.getsize(path) < 600:
            tensor = read_tensor(path)
            tensor.name = value.name
            constants.append(tensor)
        else:
            kept.append(value)
    if not constants or not kept:
        return None
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(constants)
    return model.SerializeToString()


def model_seeds(folder, roots):
    for root in roots:
        for path in glob.glob(os.path.join(root, "**", "model.onnx"), recursive=True):
            if os.path.getsize(path) > LARGEST:
                continue
            with open(path, "rb") as f:
                data = f.read()
            case = os.path.dirname(path)
            name = os.path.basename(case)
            write(folder, name + ".onnx", data)
            try:
                constant = with_constants(onnx.load_from_string(data), case)
            except Exception:  # a file that protobuf refuses is a seed as it is
                constant = None
            if constant is not None:
                write(folder, name + "-constant.onnx", constant)


class Graph:
    """A graph in the making; values are names, constants of many numbers take few bytes of the file."""

    def __init__(self):
        self.nodes, self.inputs, self.outputs, self.constants = [], [], [], []

    def input(self, name, dims, kind=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, name, dims, kind=TensorProto.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, kind, dims))

    def constant(self, array):
        name = "c%d" % len(self.constants)
        self.constants.append(onnx.numpy_helper.from_array(np.array(array), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def filled(self, *shape, value=0.25, kind=np.float32):
        """ConstantOfShape, which is folded at load."""
        tensor = onnx.numpy_helper.from_array(np.array([value], kind))
        return self.node("ConstantOfShape", self.ints(*shape), value=tensor)

    def node(self, op, *inputs, outputs=1, domain="", **attributes):
        names = ["v%d_%d" % (len(self.nodes), i) for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, inputs, outputs, kernel=3, **attributes):
        group = attributes.get("group", 1)
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.node("Conv", x, self.filled(outputs, inputs // group, kernel, kernel), self.filled(outputs),
                         **attributes)

    def save(self, folder, name, opset=21):
        if not self.outputs:
            self.output(self.nodes[-1].output[0], None)
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, initializer=self.constants)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        write(folder, "graph-%s.onnx" % name, model.SerializeToString())


def image(channels, size=9):
    g = Graph()
    return g, g.input("x", ["N", channels, size, size])


def convolution_seeds(folder):
    for i, (kernel, stride, more) in enumerate(((4, 2, {"pads": [1] * 4}), (2, 2, {}), (3, 1, {"pads": [1] * 4}),
                                                (3, 2, {"output_padding": [1, 1]}), (5, 3, {"dilations": [2, 1]}),
                                                (4, 2, {"group": 2}), (8, 4, {"pads": [2] * 4}))):
        g, x = image(16, 5)
        y = g.node("ConvTranspose", x, g.filled(16, 8, kernel, kernel), g.filled(8 * more.get("group", 1)),
                   strides=[stride, stride], **more)
        g.node("Relu", y)
        g.save(folder, "transposed-%d" % i)
    for stride, kernel in ((1, 3), (2, 3), (1, 5), (2, 5)):
        g, x = image(16)
        y = g.node("Relu", g.conv(x, 16, 32, 1))
        y = g.node("HardSwish", g.conv(y, 32, 32, kernel, group=32, strides=[stride, stride]))
        y = g.conv(y, 32, 16, 1)
        g.node("Add", y, x if stride == 1 else g.conv(x, 16, 16, 1, strides=[2, 2]))
        g.save(folder, "depthwise-%d-%d" % (kernel, stride))
    g, x = image(32, 12)
    y = g.node("Clip", g.conv(g.node("Relu", g.conv(x, 32, 32)), 32, 32), g.constant(np.float32(0)),
               g.constant(np.float32(6)))
    g.node("GlobalAveragePool", g.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    g.save(folder, "winograd")
    g, x = image(8)
    halves = g.node("Split", g.conv(x, 8, 16, 1), outputs=2, axis=1, num_outputs=2)
    y = g.node("Concat", halves[1], g.conv(halves[0], 8, 8), x, axis=1)
    y = g.node("Slice", y, g.ints(2, 1), g.ints(20, 9), g.ints(1, 2), g.ints(2, 1))
    g.node("Concat", y, g.node("Neg", y), axis=3)
    g.save(folder, "concat")
    g, x = image(8)
    y = g.node("Resize", g.conv(x, 8, 16, 3), "", g.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    y = g.node("Concat", y, g.node("ConvTranspose", x, g.filled(8, 4, 2, 2), strides=[2, 2]), axis=1)
    y = g.node("Pad", y, g.ints(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect")
    g.node("Softmax", g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 3, 1]), g.ints(0, -1, 20)), axis=-1)
    g.save(folder, "resized")
    g = Graph()
    y = g.node("Conv", g.input("x", [1, 8, "T"]), g.filled(16, 8, 5), strides=[2], pads=[2, 2])
    g.node("LSTM", g.node("Transpose", y, perm=[2, 0, 1]), g.filled(2, 16, 16), g.filled(2, 16, 4), outputs=3,
           hidden_size=4, direction="bidirectional")
    g.save(folder, "recurrent")


def quantized(g, x, scale, op="DequantizeLinear"):
    return g.node(op, x, g.constant(np.float32(scale)), g.constant(np.uint8(3)))


def quantized_seeds(folder):
    g, x = image(16)
    on_grid = lambda y: quantized(g, quantized(g, y, 0.1, "QuantizeLinear"), 0.1)
    weights = lambda *s: g.node("DequantizeLinear", g.filled(*s, value=3, kind=np.int8), g.filled(s[0], value=0.02),
                                g.filled(s[0], value=0, kind=np.int8), axis=0)
    x = on_grid(x)
    y = on_grid(g.node("Relu", g.node("Conv", x, weights(16, 16, 3, 3), g.filled(16), pads=[1] * 4)))
    y = on_grid(g.node("Conv", y, weights(16, 1, 3, 3), g.filled(16), pads=[1] * 4, group=16))
    y = on_grid(g.node("Relu", g.node("Add", y, x)))
    y = on_grid(g.node("Concat", y, x, axis=1))
    g.node("Flatten", on_grid(g.node("GlobalAveragePool", y)))
    g.save(folder, "qdq")
    g = Graph()
    x, y = g.input("x", ["N", 5, 32]), None
    for out, after in ((64, "Relu"), (32, "Sigmoid")):
        q = g.node("DynamicQuantizeLinear", y or x, outputs=3)
        inner = 96 - out
        product = g.node("MatMulInteger", q[0], g.filled(inner, out, value=2, kind=np.int8), q[2])
        real = g.node("Cast", product, to=TensorProto.FLOAT)
        scaled = g.node("Mul", real, g.node("Mul", q[1], g.filled(out, value=0.01)))
        y = g.node(after, g.node("Add", scaled, g.filled(out)))
    g.save(folder, "dynamic")
    g = Graph()
    w = g.node("DequantizeLinear", g.filled(64, 32, value=3, kind=np.int8), g.filled(2, 32), axis=0, block_size=32)
    g.node("MatMul", g.input("x", ["N", 64]), w)
    g.save(folder, "blocks")


def encoder_seeds(folder):
    g = Graph()
    ids, mask = g.input("ids", ["N", "S"], TensorProto.INT64), g.input("mask", ["N", "S"], TensorProto.INT64)
    x = g.node("Gather", g.filled(7, 16), ids)
    far = g.node("Sub", g.constant(np.float32(1)), g.node("Cast", mask, to=TensorProto.FLOAT))
    far = g.node("Mul", g.node("Unsqueeze", far, g.ints(1, 2)), g.constant(np.float32(-1e4)))
    heads = lambda y, perm: g.node("Transpose", g.node("Reshape", g.node("Add", g.node(
        "MatMul", y, g.filled(16, 16)), g.filled(16)), g.ints(0, 0, 2, 8)), perm=perm)
    q, k, v = heads(x, [0, 2, 1, 3]), heads(x, [0, 2, 3, 1]), heads(x, [0, 2, 1, 3])
    scores = g.node("Add", g.node("Div", g.node("MatMul", q, k), g.constant(np.float32(2.8284))), far)
    y = g.node("Transpose", g.node("MatMul", g.node("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    y = g.node("MatMul", g.node("Reshape", y, g.ints(0, 0, 16)), g.filled(16, 16))
    y = g.node("LayerNormalization", g.node("Add", x, y), g.filled(16), g.filled(16), axis=-1)
    z = g.node("Gelu", g.node("Add", g.node("MatMul", y, g.filled(16, 64)), g.filled(64)))
    g.node("ReduceMean", g.node("Add", g.node("MatMul", z, g.filled(64, 16)), y), g.ints(1))
    g.save(folder, "encoder")


def decoder_seeds(folder):
    g = Graph()
    ids = g.input("input_ids", ["N", "S"], TensorProto.INT64)
    places = g.input("position_ids", ["N", "S"], TensorProto.INT64)
    past = g.input("past_length", ["N"], TensorProto.INT64)
    x = g.node("Add", g.node("Gather", g.filled(13, 8), ids), g.node("Gather", g.filled(16, 8), places))
    heads = lambda n: g.node("Transpose", g.node("Reshape", g.node("MatMul", x, g.filled(8, 4 * n)),
                                                 g.ints(0, 0, n, 4)), perm=[0, 2, 1, 3])
    caches = []
    for part in ("key", "value"):
        cache = g.input("past_key_values.0." + part, ["N", 1, "C", 4])
        caches.append(g.node("TensorScatter", cache, heads(1), past, axis=2))
        g.nodes[-1].output[0] = caches[-1] = "present.0." + part
    total = g.node("Add", past, g.node("Shape", ids, start=1, end=2))
    y = g.node("Attention", heads(2), *caches, "", "", "", total, is_causal=1)
    y = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), g.ints(0, 0, 8))
    g.output(g.node("MatMul", y, g.filled(8, 13)), ["N", "S", 13])
    for name in caches:
        g.output(name, ["N", 1, "C", 4])
    g.save(folder, "decoder", opset=24)
    g = Graph()
    x = g.input("input", ["N", 8])
    h, c = (g.input("past_" + s, [1, "N", 4]) for s in "hc")
    g.node("LSTM", g.node("Unsqueeze", x, g.ints(0)), g.filled(1, 16, 8), g.filled(1, 16, 4), "", "", h, c,
           outputs=3, hidden_size=4)
    y = g.nodes[-1].output[0]
    g.nodes[-1].output[1:] = ["present_h", "present_c"]
    g.output(g.node("Squeeze", y, g.ints(0, 1)), ["N", 4])
    g.output("present_h", [1, "N", 4])
    g.output("present_c", [1, "N", 4])
    g.save(folder, "states")


def external_model(locations, kind, dims, offset, length):
    weights = []
    for i, location in enumerate(locations):
        tensor = TensorProto(name="w%d" % i, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            if value is not None:
                tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
    names = [w.name for w in weights]
    node = helper.make_node("Sum", ["x"] + names, ["y"])
    x = helper.make_tensor_value_info("x", kind, dims)
    y = helper.make_tensor_value_info("y", kind, dims)
    graph = helper.make_graph([node], "g", [x], [y], initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString()


def external_seeds(folder):
    data = np.arange(64, dtype=np.float32).tobytes()
    names = ["w.bin", "./w.bin", "link", "hard", "up/secret", "up", "folder", "../secret", "folder/../w.bin",
             "m.onnx", "/etc/hostname", "", "missing"]
    for i, name in enumerate(names):
        for offset, length in ((None, None), (0, 64), (16, 64), (4096, 64), (0, 1 << 40)):
            model = external_model([name], TensorProto.FLOAT, [4, 4], offset, length)
            write(folder, "%d-%s-%s.onnx" % (i, offset, length), model + b"\nDATA\n" + data)
    two = external_model(["w.bin", "w.bin"], TensorProto.DOUBLE, [2, 3], 8, 48)
    write(folder, "two.onnx", two + b"\nDATA\n" + data)
    half = external_model(["w.bin"], TensorProto.INT4, [5], 1, 3)
    write(folder, "int4.onnx", half + b"\nDATA\n" + data)


def npy_seeds(folder):
    kinds = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", ">f4", ">i8", "U3", "S4"]
    for kind in kinds:
        for order in ("C", "F"):
            array = np.zeros((2, 3, 1), dtype=kind, order=order)
            out = io.BytesIO()
            np.lib.format.write_array(out, array, version=(1, 0) if order == "C" else (2, 0))
            write(folder, kind.replace(">", "big-").replace("?", "bool") + order + ".npy", out.getvalue())
    out = io.BytesIO()
    np.save(out, np.float32(1))
    write(folder, "scalar.npy", out.getvalue())


def npz_seeds(folder):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, make, arrays in (("one", np.savez, {"x": x}), ("two", np.savez, {"x": x, "y": np.int8(x)}),
                               ("none", np.savez, {}), ("small", np.savez_compressed, {"x": x})):
        out = io.BytesIO()
        make(out, **arrays)
        write(folder, name + ".npz", out.getvalue())


def small_seeds(folder):
    lines = b"0123456789abcdef blocked 1200 MatMul 8x8\nffffffffffffffff flat 7 \n"
    write(os.path.join(folder, "tuning"), "lines", b"\0" + lines)
    write(os.path.join(folder, "tuning"), "raw", b"\1leat tuning 1\n" + lines)
    numbers = np.random.default_rng(1)
    for kind in range(0, 256, 6):  # even: the bytes of weights, then two bytes a call
        weights = numbers.normal(size=24).astype(np.float32).tobytes()
        calls = numbers.integers(0, 256, 300, np.uint8).tobytes()
        write(os.path.join(folder, "scheduler"), "calls-%d" % kind, bytes([kind]) + weights + calls)
    for at in range(0, 400, 4):  # place, width, value
        for value in (np.uint64(1) << 40, np.float64(np.nan).view(np.uint64), np.uint64(2**64 - 1), np.uint64(0)):
            edit = at.to_bytes(2, "little") + b"\7" + value.tobytes()
            write(os.path.join(folder, "cache"), "%d-%x" % (at, value), bytes([at & 255]) + edit)


def tensor_seeds(folder, roots):
    """Inputs and outputs of the cases, behind a byte that says what they are read as."""
    seen = set()
    for root in roots:
        for path in sorted(glob.glob(os.path.join(root, "**", "*_0.pb"), recursive=True)):
            with open(path, "rb") as f:
                data = f.read()
            kind = 1 if "sequence" in path else 2 if "optional" in path else 0
            if len(data) < 600 and (data[:8], kind) not in seen:
                seen.add((data[:8], kind))
                write(folder, "%d" % len(seen), bytes([kind]) + data)


def graph_seeds(folder):
    for make in convolution_seeds, quantized_seeds, encoder_seeds, decoder_seeds:
        make(folder)


def main():
    folder, cases = sys.argv[1:]
    data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    roots = [os.path.join(data, "node"), os.path.join(data, "simple"), cases]
    model_seeds(os.path.join(folder, "models"), roots)
    tensor_seeds(os.path.join(folder, "tensor"), roots)
    graph_seeds(os.path.join(folder, "models"))
    decoder_seeds(os.path.join(folder, "sequences"))
    external_seeds(os.path.join(folder, "external"))
    npy_seeds(os.path.join(folder, "npy"))
    npz_seeds(os.path.join(folder, "npz"))
    small_seeds(folder)


main()
