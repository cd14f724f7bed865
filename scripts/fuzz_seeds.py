# SPDX-License-Identifier: Apache-2.0
"""fuzz_seeds.py FOLDER CASES: seeds for the fuzz targets, made once.

FOLDER/models     the small models of ONNX's node tests and of the cases in CASES (scripts/ort_cases.sh);
                  where a model takes integers, text or flags as inputs, also with these as
                  constants, so that axes, sizes and indices are right to begin with
FOLDER/external   models with weights in files beside them: what fuzz_external.c lays out
FOLDER/npy        arrays of every type
"""
import glob
import io
import os
import sys

import numpy as np
import onnx
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


def main():
    folder, cases = sys.argv[1:]
    data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    model_seeds(os.path.join(folder, "models"), [os.path.join(data, "node"), os.path.join(data, "simple"), cases])
    external_seeds(os.path.join(folder, "external"))
    npy_seeds(os.path.join(folder, "npy"))


main()
