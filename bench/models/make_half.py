#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An f32 model as an f16 one:  make_half.py IN.onnx OUT.onnx

Initializers, constants, inputs, outputs and casts that are f32 become f16; numbers beyond f16's range become its largest
ones. Operators that demand f32 beside f16 (none in this folder's models) are not looked after.
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto as T, numpy_helper as nh

LARGEST = float(np.finfo(np.float16).max)


def half(tensor):
    if tensor.data_type == T.FLOAT:
        array = np.clip(nh.to_array(tensor), -LARGEST, LARGEST).astype(np.float16)
        tensor.CopyFrom(nh.from_array(array, tensor.name))


def convert(model):
    for tensor in model.graph.initializer:
        half(tensor)
    for info in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if info.type.tensor_type.elem_type == T.FLOAT:
            info.type.tensor_type.elem_type = T.FLOAT16
    for node in model.graph.node:
        for attr in node.attribute:
            if attr.type == onnx.AttributeProto.TENSOR:
                half(attr.t)
            elif node.op_type == "Cast" and attr.name == "to" and attr.i == T.FLOAT:
                attr.i = T.FLOAT16
    return model


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    onnx.save(convert(onnx.load(sys.argv[1])), sys.argv[2])


if __name__ == "__main__":
    main()
