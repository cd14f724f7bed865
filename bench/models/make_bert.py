#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""BERT encoder (HF BertModel, no pooler by default) as an ONNX file with seeded random weights.

The graph is the one a PyTorch export gives: Gather embeddings, MatMul+Add projections, Reshape to
dynamic shapes computed by Shape/Gather/Concat, Transpose, MatMul, Div, Add mask, Softmax, GELU by Erf;
LayerNorm decomposed (opset < 17) or as LayerNormalization (opset >= 17).  Batch and sequence dynamic.
Weights are normal(0, 0.02), as BERT is initialised, so activations are of a trained network's order.

  make_bert.py OUT.onnx [--size base|large] [--layers N --hidden N --heads N] [--opset 17]
               [--vocab 30522] [--static-reshape] [--pooler] [--seed 0]
Inputs: input_ids, attention_mask, token_type_ids, int64 [batch, seq].  Output: last_hidden_state.
Needs numpy and onnx (Debian: python3-numpy python3-onnx).
"""
import argparse
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

SIZES = {"base": (12, 768, 12), "large": (24, 1024, 16)}


class Bert:
    def __init__(self, a):
        self.a, self.rng = a, np.random.default_rng(a.seed)
        self.nodes, self.inits, self.shared, self.n = [], [], {}, 0

    def const(self, arr, name=None):
        """An initializer; unnamed ones (scalars, axes, shapes) are shared by value."""
        arr = np.asarray(arr)
        if name is None:
            key = (arr.dtype.str, arr.shape, arr.tobytes())
            if key in self.shared:
                return self.shared[key]
            name = self.shared[key] = "const_%d" % len(self.shared)
        self.inits.append(nh.from_array(arr, name))
        return name

    def f(self, v):
        return self.const(np.float32(v))

    def i(self, *v):
        return self.const(np.array(v, np.int64))

    def op(self, kind, *ins, out=None, **kw):
        self.n += 1
        out = out or "%s_%d" % (kind, self.n)
        self.nodes.append(h.make_node(kind, list(ins), [out], name="n%d_%s" % (self.n, kind), **kw))
        return out

    def weight(self, name, *shape):
        return self.const((self.rng.standard_normal(shape, np.float32) * np.float32(0.02)), name)

    def linear(self, x, name, ci, co):
        y = self.op("MatMul", x, self.weight(name + ".weight", ci, co))
        return self.op("Add", self.weight(name + ".bias", co), y)  # the exporter's operand order

    def layer_norm(self, x, name, out=None):
        d = self.a.hidden
        g = self.const((1 + 0.02 * self.rng.standard_normal(d)).astype(np.float32), name + ".weight")
        b = self.weight(name + ".bias", d)
        eps = 1e-12
        if self.a.opset >= 17:
            return self.op("LayerNormalization", x, g, b, axis=-1, epsilon=eps, **({"out": out} if out else {}))
        c = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        v = self.op("ReduceMean", self.op("Pow", c, self.f(2)), axes=[-1])
        y = self.op("Div", c, self.op("Sqrt", self.op("Add", v, self.f(eps))))
        return self.op("Add", self.op("Mul", y, g), b, out=out)

    def gelu(self, x):
        e = self.op("Erf", self.op("Div", x, self.f(np.sqrt(2.0))))
        return self.op("Mul", self.op("Mul", x, self.op("Add", e, self.f(1))), self.f(0.5))

    def reshape(self, x, *tail):
        """[batch, seq] + tail, from the shape of x at run time."""
        if self.a.static_reshape:
            return self.op("Reshape", x, self.i(0, 0, *tail))
        s = self.op("Shape", x)
        dims = [self.op("Unsqueeze", self.op("Gather", s, self.const(np.int64(k)), axis=0), self.i(0)) for k in (0, 1)]
        return self.op("Reshape", x, self.op("Concat", *dims, *[self.i(t) for t in tail], axis=0))

    def layer(self, x, mask, name, last):
        d, heads = self.a.hidden, self.a.heads
        hd, p = d // heads, name + ".attention."
        q, k, v = (self.linear(x, p + "self." + s, d, d) for s in ("query", "key", "value"))
        k = self.op("Transpose", self.reshape(k, heads, hd), perm=[0, 2, 3, 1])
        v = self.op("Transpose", self.reshape(v, heads, hd), perm=[0, 2, 1, 3])
        q = self.op("Transpose", self.reshape(q, heads, hd), perm=[0, 2, 1, 3])
        s = self.op("Div", self.op("MatMul", q, k), self.f(np.sqrt(hd)))
        s = self.op("Softmax", self.op("Add", s, mask), axis=-1)
        c = self.reshape(self.op("Transpose", self.op("MatMul", s, v), perm=[0, 2, 1, 3]), d)
        y = self.op("Add", self.linear(c, p + "output.dense", d, d), x)
        x = self.layer_norm(y, p + "output.LayerNorm")
        y = self.gelu(self.linear(x, name + ".intermediate.dense", d, 4 * d))
        y = self.op("Add", self.linear(y, name + ".output.dense", 4 * d, d), x)
        return self.layer_norm(y, name + ".output.LayerNorm", out="last_hidden_state" if last else None)

    def build(self):
        a, d = self.a, self.a.hidden
        # mask: [batch, seq] of 0/1 -> [batch, 1, 1, seq] of -10000/0
        m = self.op("Unsqueeze", self.op("Unsqueeze", "attention_mask", self.i(1)), self.i(2))
        m = self.op("Mul", self.op("Sub", self.f(1), self.op("Cast", m, to=T.FLOAT)), self.f(-10000))
        e = "embeddings."
        x = self.op("Add", self.op("Gather", self.weight(e + "word_embeddings.weight", a.vocab, d), "input_ids"),
                    self.op("Gather", self.weight(e + "token_type_embeddings.weight", 2, d), "token_type_ids"))
        seq = self.op("Unsqueeze", self.op("Gather", self.op("Shape", "input_ids"), self.const(np.int64(1)), axis=0), self.i(0))
        ids = self.op("Slice", self.const(np.arange(512, dtype=np.int64)[None], e + "position_ids"),
                      self.i(0), seq, self.i(1))
        x = self.op("Add", x, self.op("Gather", self.weight(e + "position_embeddings.weight", 512, d), ids))
        x = self.layer_norm(x, e + "LayerNorm")
        for n in range(a.layers):
            x = self.layer(x, m, "encoder.layer.%d" % n, n == a.layers - 1)
        outs = [h.make_tensor_value_info("last_hidden_state", T.FLOAT, ["batch", "seq", d])]
        if a.pooler:
            t = self.op("Gather", x, self.const(np.int64(0)), axis=1)
            t = self.op("Gemm", t, self.weight("pooler.dense.weight", d, d), self.weight("pooler.dense.bias", d), transB=1)
            self.op("Tanh", t, out="pooler_output")
            outs.append(h.make_tensor_value_info("pooler_output", T.FLOAT, ["batch", d]))
        ins = [h.make_tensor_value_info(n, T.INT64, ["batch", "seq"])
               for n in ("input_ids", "attention_mask", "token_type_ids")]
        m = h.make_model(h.make_graph(self.nodes, "bert", ins, outs, self.inits),
                         opset_imports=[h.make_opsetid("", a.opset)], producer_name="make_bert")
        m.ir_version = 7 if a.opset < 15 else 8
        return m


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--size", choices=sorted(SIZES), default="base")
    for n in ("layers", "hidden", "heads"):
        p.add_argument("--" + n, type=int)
    p.add_argument("--vocab", type=int, default=30522)
    p.add_argument("--opset", type=int, default=17)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--static-reshape", action="store_true", help="Reshape by constant [0, 0, ...]")
    p.add_argument("--pooler", action="store_true")
    a = p.parse_args()
    for n, v in zip(("layers", "hidden", "heads"), SIZES[a.size]):
        if getattr(a, n) is None:
            setattr(a, n, v)
    m = Bert(a).build()
    onnx.checker.check_model(m)
    onnx.save(m, a.out)
    d, macs = a.hidden, lambda s: a.layers * (12 * a.hidden ** 2 * s + 2 * a.hidden * s * s)
    print("%s: %d nodes, %.1f M parameters, GFLOP a sequence: %s" % (
        a.out, len(m.graph.node), sum(int(np.prod(t.dims)) for t in m.graph.initializer) / 1e6,
        ", ".join("%d: %.2f" % (s, 2 * macs(s) / 1e9) for s in (128, 384))))


if __name__ == "__main__":
    main()
