# SPDX-License-Identifier: Apache-2.0
"""The benchmark's models as torch modules, with the weights of the ONNX files: plain torch, no torchvision, no
transformers.  Batch normalizations are folded, attention is torch's fused one without a mask: torch at its best."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def weights_of(path):
    """{name: array} of an ONNX file's initializers."""
    import onnx
    from onnx import numpy_helper as nh
    return {t.name: nh.to_array(t) for t in onnx.load(path).graph.initializer}


def linear(weight, bias=None):
    """weight: outputs x inputs."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight = nn.Parameter(torch.from_numpy(weight.copy()).contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(bias.copy()), requires_grad=False)
    return layer


# --- ResNet-50 -------------------------------------------------------------------------------------------
def conv(w, name, stride):
    weight = w[name + ".weight"]
    if name + ".bias" in w:
        bias = w[name + ".bias"]
    else:
        gamma, beta, mean, var = (w["%s.bn.%s" % (name, s)] for s in ("weight", "bias", "running_mean", "running_var"))
        factor = gamma / np.sqrt(var + 1e-5)
        weight, bias = weight * factor[:, None, None, None], beta - mean * factor
    out, ins, size, _ = weight.shape
    layer = nn.Conv2d(ins, out, size, stride, size // 2)
    layer.weight = nn.Parameter(torch.from_numpy(weight.copy()), requires_grad=False)
    layer.bias = nn.Parameter(torch.from_numpy(bias.copy()), requires_grad=False)
    return layer


class Bottleneck(nn.Module):
    def __init__(self, w, name, stride):
        super().__init__()
        self.conv1, self.conv3 = conv(w, name + ".conv1", 1), conv(w, name + ".conv3", 1)
        self.conv2 = conv(w, name + ".conv2", stride)
        self.skip = conv(w, name + ".downsample", stride) if name + ".downsample.weight" in w else nn.Identity()

    def forward(self, x):
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.conv3(y) + self.skip(x))


class ResNet50(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.stem = conv(w, "conv1", 2)
        blocks = [(i, j) for i, n in enumerate((3, 4, 6, 3)) for j in range(n)]
        self.blocks = nn.Sequential(*(Bottleneck(w, "layer%d.%d" % (i + 1, j), 2 if j == 0 and i > 0 else 1)
                                      for i, j in blocks))
        self.fc = linear(w["fc.weight"], w["fc.bias"])

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        return self.fc(self.blocks(x).mean((2, 3)))


# --- BERT ------------------------------------------------------------------------------------------------
class BertLayer(nn.Module):
    def __init__(self, w, name, heads):
        super().__init__()
        self.heads = heads
        make = lambda part: linear(w["%s.%s.weight" % (name, part)].T, w["%s.%s.bias" % (name, part)])
        self.q, self.k, self.v = (make("attention.self." + s) for s in ("query", "key", "value"))
        self.o, self.up, self.down = make("attention.output.dense"), make("intermediate.dense"), make("output.dense")
        self.norm1 = layer_norm(w, name + ".attention.output.LayerNorm")
        self.norm2 = layer_norm(w, name + ".output.LayerNorm")

    def forward(self, x):
        b, s, d = x.shape
        q, k, v = (p(x).view(b, s, self.heads, d // self.heads).transpose(1, 2) for p in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, s, d)
        x = self.norm1(self.o(y) + x)
        return self.norm2(self.down(F.gelu(self.up(x))) + x)


def layer_norm(w, name):
    layer = nn.LayerNorm(w[name + ".weight"].shape[0], 1e-12)
    layer.weight = nn.Parameter(torch.from_numpy(w[name + ".weight"].copy()), requires_grad=False)
    layer.bias = nn.Parameter(torch.from_numpy(w[name + ".bias"].copy()), requires_grad=False)
    return layer


class Bert(nn.Module):
    """Token numbers only: all masks 1, all types 0."""

    def __init__(self, w):
        super().__init__()
        table = lambda s: nn.Parameter(torch.from_numpy(w["embeddings.%s_embeddings.weight" % s].copy()), False)
        self.words, self.places, self.types = table("word"), table("position"), table("token_type")
        self.norm = layer_norm(w, "embeddings.LayerNorm")
        n = len([k for k in w if k.endswith("attention.self.query.bias")])
        self.layers = nn.ModuleList(BertLayer(w, "encoder.layer.%d" % i, self.words.shape[1] // 64) for i in range(n))

    def forward(self, ids):
        x = self.norm(F.embedding(ids, self.words) + self.places[:ids.shape[1]] + self.types[0])
        for layer in self.layers:
            x = layer(x)
        return x


# --- the MLP ---------------------------------------------------------------------------------------------
def mlp(w):
    layers = []
    for i in range(3):
        layers += [linear(w["w%d" % i], w["b%d" % i]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# --- SmolLM2 ---------------------------------------------------------------------------------------------
class LlamaLayer(nn.Module):
    def __init__(self, w, i, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        make = lambda part: linear(w["blk.%d.%s.weight_t" % (i, part)].T)
        self.q, self.k, self.v, self.o = (make("attn_" + s) for s in ("q", "k", "v", "output"))
        self.gate, self.up, self.down = (make("ffn_" + s) for s in ("gate", "up", "down"))
        norm = lambda part: nn.Parameter(torch.from_numpy(w["blk.%d.%s.weight" % (i, part)].copy()), False)
        self.norm1, self.norm2 = norm("attn_norm"), norm("ffn_norm")

    def forward(self, x, cos, sin, keys, values, length):
        """keys, values: batch x heads x capacity x size; new ones are written behind the first `length`."""
        b, s, d = x.shape
        end = length + s
        y = F.rms_norm(x, (d,), self.norm1, 1e-5)
        q = turned(self.q(y).view(b, s, self.heads, -1).transpose(1, 2), cos, sin)
        keys[:, :, length:end] = turned(self.k(y).view(b, s, self.kv_heads, -1).transpose(1, 2), cos, sin)
        values[:, :, length:end] = self.v(y).view(b, s, self.kv_heads, -1).transpose(1, 2)
        mask = None
        if s > 1:
            mask = torch.ones(s, end, dtype=torch.bool, device=x.device).tril(length)
        y = F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end], mask, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, s, d))
        y = F.rms_norm(x, (d,), self.norm2, 1e-5)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def turned(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Llama(nn.Module):
    """A step of decoding with caches of fixed capacity."""

    def __init__(self, w, capacity):
        super().__init__()
        constant = lambda name: nn.Parameter(torch.from_numpy(w[name].copy()), False)
        self.words, self.norm = constant("token_embd.weight"), constant("output_norm.weight")
        self.cos, self.sin = constant("rope.cos"), constant("rope.sin")
        n = len([k for k in w if k.endswith(".attn_norm.weight")])
        size = self.cos.shape[1] * 2
        heads = w["blk.0.attn_q.weight_t"].shape[1] // size
        kv_heads = w["blk.0.attn_k.weight_t"].shape[1] // size
        self.layers = nn.ModuleList(LlamaLayer(w, i, heads, kv_heads) for i in range(n))
        self.cache_shape = (n, 2, 1, kv_heads, capacity, size)

    def forward(self, ids, caches, length):
        """Logits of the last token; length: an int."""
        x = F.embedding(ids, self.words)
        cos, sin = (t[length:length + ids.shape[1]] for t in (self.cos, self.sin))
        for layer, (keys, values) in zip(self.layers, caches):
            x = layer(x, cos, sin, keys, values, length)
        return F.linear(F.rms_norm(x[:, -1], (x.shape[-1],), self.norm, 1e-5), self.words)
