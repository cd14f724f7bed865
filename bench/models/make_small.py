#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models with seeded random weights:  make_small.py mlp|add OUT.onnx"""
import sys

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh


def mlp():
    """256 -> 256 -> 256 -> 256, Relu between."""
    rng, nodes, inits, x = np.random.default_rng(0), [], [], "input"
    for i in range(3):
        inits.append(nh.from_array((rng.standard_normal((256, 256)) / 16).astype(np.float32), "w%d" % i))
        inits.append(nh.from_array(rng.standard_normal(256).astype(np.float32), "b%d" % i))
        out = "output" if i == 2 else "h%d" % i
        nodes.append(h.make_node("Gemm", [x, "w%d" % i, "b%d" % i], [out], transB=1))
        x = out
        if i < 2:
            nodes.append(h.make_node("Relu", [x], ["r%d" % i]))
            x = "r%d" % i
    return h.make_graph(nodes, "mlp", [h.make_tensor_value_info("input", T.FLOAT, ["N", 256])],
                        [h.make_tensor_value_info("output", T.FLOAT, ["N", 256])], inits)


def add():
    """One number and 1: what a call costs."""
    return h.make_graph([h.make_node("Add", ["x", "one"], ["y"])], "add",
                        [h.make_tensor_value_info("x", T.FLOAT, [1])], [h.make_tensor_value_info("y", T.FLOAT, [1])],
                        [nh.from_array(np.ones(1, np.float32), "one")])


def main():
    makers = {"mlp": mlp, "add": add}
    if len(sys.argv) != 3 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    model = h.make_model(makers[sys.argv[1]](), opset_imports=[h.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, sys.argv[2])


if __name__ == "__main__":
    main()
