#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 v1.5 as an ONNX file with seeded random weights.

The graph is the one a PyTorch export gives: Conv, BatchNormalization, Relu, MaxPool, Add,
GlobalAveragePool, Flatten, Gemm; NCHW; batch dimension dynamic.  Weights are He-normal; each
BatchNormalization's running mean and variance are taken from a forward pass over seeded random
images, so activations stay near unit scale, as in a trained network.

  --fold-bn  write Conv with bias, no BatchNormalization (the exporter's eval-mode constant folding)
  --qdq      INT8 as a quantizer writes it (implies --fold-bn): QuantizeLinear/DequantizeLinear pairs on
             activations (u8 per tensor, or s8 with --s8), weights s8 per channel, biases s32

Needs numpy and onnx (Debian: python3-numpy python3-onnx).
  make_resnet50.py OUT.onnx [--opset 13] [--fold-bn] [--qdq [--s8]] [--seed 0] [--calib 2] [--size 224]
"""
import argparse
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

EPS = 1e-5
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first block


def conv2d(x, w, stride, pad):
    """NCHW convolution by im2col, float32."""
    co, ci, kh, kw = w.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    v = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::stride, ::stride]
    n, _, oh, ow = v.shape[:4]
    cols = v.transpose(0, 1, 4, 5, 2, 3).reshape(n, ci * kh * kw, oh * ow)
    return np.matmul(w.reshape(co, -1), cols).reshape(n, co, oh, ow)


class Net:
    """Walks the network once: runs it in numpy (for statistics and scales) and emits ONNX nodes."""

    def __init__(self, a):
        self.a, self.rng = a, np.random.default_rng(a.seed)
        self.nodes, self.inits, self.macs = [], [], 0
        self.qcache = {}

    def const(self, name, arr):
        self.inits.append(nh.from_array(np.ascontiguousarray(arr), name))
        return name

    def op(self, kind, ins, name, **kw):
        self.nodes.append(h.make_node(kind, ins, [name], name=name + "_" + kind, **kw))
        return name

    # --- quantization -------------------------------------------------------------------------
    def qdq(self, name, val):
        """The dequantized name of an activation, adding its Q/DQ pair on first use."""
        if not self.a.qdq:
            return name
        if name not in self.qcache:
            lo, hi = min(float(val.min()), 0.0), max(float(val.max()), 1e-6)
            if self.a.s8:
                s, z = np.float32(max(-lo, hi) / 127), np.int8(0)
            else:
                s = np.float32((hi - lo) / 255)
                z = np.uint8(round(-lo / s))
            sn, zn = self.const(name + "_scale", s), self.const(name + "_zp", z)
            q = self.op("QuantizeLinear", [name, sn, zn], name + "_q")
            self.qcache[name] = (self.op("DequantizeLinear", [q, sn, zn], name + "_dq"), s)
        return self.qcache[name][0]

    def qweight(self, name, w, bias, xname):
        """Per-output-channel s8 weight and s32 bias, each behind a DequantizeLinear."""
        s = (np.abs(w.reshape(w.shape[0], -1)).max(1) / 127).astype(np.float32)
        wq = np.clip(np.rint(w / s.reshape((-1,) + (1,) * (w.ndim - 1))), -127, 127).astype(np.int8)
        sn, zn = self.const(name + "_scale", s), self.const(name + "_zp", np.zeros(len(s), np.int8))
        wd = self.op("DequantizeLinear", [self.const(name + "_q", wq), sn, zn], name + "_dq", axis=0)
        bs = s * self.qcache[xname][1]
        bq = np.rint(bias / bs).astype(np.int32)
        bn = name + "_bias"
        bd = self.op("DequantizeLinear", [self.const(bn + "_q", bq), self.const(bn + "_scale", bs),
                                          self.const(bn + "_zp", np.zeros(len(s), np.int32))], bn + "_dq", axis=0)
        return wd, bd

    # --- layers: a tensor is (name, value) ------------------------------------------------------
    def conv_bn(self, x, name, co, k, stride=1, relu=True, gain=1.0):
        xn, xv = x
        ci = xv.shape[1]
        w = (self.rng.standard_normal((co, ci, k, k)) * np.sqrt(2.0 / (ci * k * k))).astype(np.float32)
        y = conv2d(xv, w, stride, k // 2)
        self.macs += co * ci * k * k * y.shape[2] * y.shape[3]
        gamma = (gain * (1 + 0.1 * self.rng.standard_normal(co))).astype(np.float32)
        beta = (0.1 * self.rng.standard_normal(co)).astype(np.float32)
        mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3))
        g = (gamma / np.sqrt(var + EPS)).astype(np.float32)
        y = (y - mean[:, None, None]) * g[:, None, None] + beta[:, None, None]
        kw = dict(kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, dilations=[1, 1], group=1)
        if self.a.fold_bn:
            w, b = w * g[:, None, None, None], beta - mean * g
            if self.a.qdq:
                xd = self.qdq(xn, xv)
                wn, bn = self.qweight(name + ".weight", w, b, xn)
            else:
                xd, wn, bn = xn, self.const(name + ".weight", w), self.const(name + ".bias", b)
            n = self.op("Conv", [xd, wn, bn], name, **kw)
        else:
            n = self.op("Conv", [xn, self.const(name + ".weight", w)], name, **kw)
            p = [self.const(name + ".bn." + s, v.astype(np.float32))
                 for s, v in (("weight", gamma), ("bias", beta), ("running_mean", mean), ("running_var", var))]
            n = self.op("BatchNormalization", [n] + p, name + "_bn", epsilon=EPS, momentum=0.9)
        if relu:
            n, y = self.op("Relu", [n], name + "_relu"), np.maximum(y, 0)
        return n, y

    def block(self, x, name, width, stride):
        skip = x
        y = self.conv_bn(x, name + ".conv1", width, 1)
        y = self.conv_bn(y, name + ".conv2", width, 3, stride)  # v1.5: the stride is in the 3x3
        y = self.conv_bn(y, name + ".conv3", width * 4, 1, relu=False, gain=0.5)
        if stride != 1 or x[1].shape[1] != width * 4:
            skip = self.conv_bn(x, name + ".downsample", width * 4, 1, stride, relu=False)
        n = self.op("Add", [self.qdq(*y), self.qdq(*skip)], name + "_add")
        return self.op("Relu", [n], name + "_out"), np.maximum(y[1] + skip[1], 0)

    def build(self):
        a = self.a
        xv = self.rng.standard_normal((a.calib, 3, a.size, a.size)).astype(np.float32)
        x = self.conv_bn(("input", xv), "conv1", 64, 7, 2)
        p = np.pad(x[1], ((0, 0), (0, 0), (1, 1), (1, 1)))
        v = np.lib.stride_tricks.sliding_window_view(p, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max((4, 5))
        x = self.op("MaxPool", [self.qdq(*x)], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), v
        for i, (width, blocks, stride) in enumerate(STAGES):
            for j in range(blocks):
                x = self.block(x, "layer%d.%d" % (i + 1, j), width, stride if j == 0 else 1)
        v = x[1].mean((2, 3), keepdims=True)
        x = self.op("GlobalAveragePool", [self.qdq(*x)], "avgpool"), v
        x = self.op("Flatten", [self.qdq(*x)], "flatten", axis=1), v.reshape(v.shape[:2])
        w = (self.rng.standard_normal((1000, 2048)) / np.sqrt(2048)).astype(np.float32)
        b = (0.01 * self.rng.standard_normal(1000)).astype(np.float32)
        self.macs += w.size
        if a.qdq:
            xd = self.qdq(*x)
            wn, bn = self.qweight("fc.weight", w, b, x[0])
        else:
            xd, wn, bn = x[0], self.const("fc.weight", w), self.const("fc.bias", b)
        self.op("Gemm", [xd, wn, bn], "output", transB=1)
        g = h.make_graph(self.nodes, "resnet50", [h.make_tensor_value_info("input", T.FLOAT, ["N", 3, a.size, a.size])],
                         [h.make_tensor_value_info("output", T.FLOAT, ["N", 1000])], self.inits)
        m = h.make_model(g, opset_imports=[h.make_opsetid("", a.opset)], producer_name="make_resnet50")
        m.ir_version = 7 if a.opset < 15 else 8
        return m


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--opset", type=int, default=13)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--calib", type=int, default=2, help="random images for statistics")
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--fold-bn", action="store_true")
    p.add_argument("--qdq", action="store_true")
    p.add_argument("--s8", action="store_true", help="signed activations for --qdq")
    a = p.parse_args()
    a.fold_bn |= a.qdq
    net = Net(a)
    m = net.build()
    onnx.checker.check_model(m)
    onnx.save(m, a.out)
    print("%s: %d nodes, %.2f M parameters, %.3f GFLOP an image" % (
        a.out, len(m.graph.node), sum(int(np.prod(t.dims)) for t in m.graph.initializer) / 1e6, net.macs * 2 / 1e9))


if __name__ == "__main__":
    main()
