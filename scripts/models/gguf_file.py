# SPDX-License-Identifier: Apache-2.0
"""Reads GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), little endian, versions 2 and 3."""
import struct

import numpy as np

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
# Type -> (numbers of a block, its layout)
BLOCKS = {
    0: (1, np.dtype([("x", "<f4")])),
    1: (1, np.dtype([("x", "<f2")])),
    2: (32, np.dtype([("d", "<f2"), ("q", "u1", 16)])),                    # Q4_0
    3: (32, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)])),      # Q4_1
    8: (32, np.dtype([("d", "<f2"), ("q", "i1", 32)])),                    # Q8_0
}


def nibbles(q):
    """Low halves are the first 16 numbers, high halves the last."""
    return np.concatenate([q & 15, q >> 4], axis=-1)


class Tensor:
    """shape: outermost first.  quants, scales, lows: x = scale * quant + low, a block's last axis first cut to
    32 numbers; None for plain floats."""

    def __init__(self, kind, shape, raw):
        if kind not in BLOCKS:
            raise ValueError("GGUF tensor type %d is not served" % kind)
        self.kind, self.shape = kind, shape
        self.blocks = raw

    def quantized(self):
        """(quants: u8 or i8, scale, low), each rows x blocks (x 32)."""
        b = self.blocks.reshape(int(np.prod(self.shape[:-1])), -1)
        d = b["d"].astype(np.float32)
        if self.kind == 3:
            return nibbles(b["q"]), d, b["m"].astype(np.float32)
        if self.kind == 2:
            return nibbles(b["q"]), d, -8 * d
        return b["q"], d, np.zeros_like(d)

    def floats(self):
        if self.kind in (0, 1):
            return self.blocks["x"].astype(np.float32).reshape(self.shape)
        q, d, m = self.quantized()
        return (q * d[..., None] + m[..., None]).astype(np.float32).reshape(self.shape)


class Reader:
    def __init__(self, path):
        self.data, self.at = np.memmap(path, np.uint8, "r"), 0
        magic, version, n_tensors, n_keys = self.take("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("%s is not GGUF of version 2 or 3" % path)
        self.keys = {}
        for _ in range(n_keys):
            name = self.string()
            self.keys[name] = self.value(self.take("I")[0])
        infos = []
        for _ in range(n_tensors):
            name, rank = self.string(), self.take("I")[0]
            dims = self.take("%dQ" % rank)
            infos.append((name, dims[::-1]) + self.take("IQ"))
        align = self.keys.get("general.alignment", 32)
        start = -(-self.at // align) * align
        self.tensors = {}
        for name, shape, kind, offset in infos:
            if kind not in BLOCKS:
                raise ValueError("%s: GGUF tensor type %d is not served" % (name, kind))
            size, layout = BLOCKS[kind]
            if shape[-1] % size:
                raise ValueError("%s: rows of %d numbers in blocks of %d" % (name, shape[-1], size))
            n = int(np.prod(shape)) // size * layout.itemsize
            raw = self.data[start + offset:start + offset + n]
            if raw.size != n:
                raise ValueError("%s lies beyond the end of the file" % name)
            self.tensors[name] = Tensor(kind, shape, raw.view(layout))

    def take(self, layout):
        n = struct.calcsize("<" + layout)
        self.at += n
        return struct.unpack("<" + layout, self.data[self.at - n:self.at].tobytes())

    def string(self):
        n = self.take("Q")[0]
        self.at += n
        return self.data[self.at - n:self.at].tobytes().decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            element, count = self.take("IQ")
            if element in SCALARS:
                return list(self.take("%d%s" % (count, SCALARS[element])))
            return [self.value(element) for _ in range(count)]
        return self.take(SCALARS[kind])[0]
