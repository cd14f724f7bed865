#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An int8 model made from an f32 one by ONNX Runtime's quantizer, weights s8 per channel.

  make_int8.py dynamic IN.onnx OUT.onnx
  make_int8.py static  IN.onnx OUT.onnx [--photos 'GLOB'] [--seed 1]

dynamic: activations are quantized while the model runs (DynamicQuantizeLinear, MatMulInteger).
static:  QuantizeLinear/DequantizeLinear pairs, activations u8, ranges from four batches of seeded normal
         numbers or, with --photos, from all photos (RGB, shorter side to 224, middle cut out,
         (x - 127) / 128).
"""
import argparse
import glob
import os

import numpy as np
import onnx
from onnxruntime import quantization as q
from onnxruntime.quantization.shape_inference import quant_pre_process


def photo(path, side=224):
    from PIL import Image
    im = Image.open(path).convert("RGB")
    scale = side / min(im.size)
    im = im.resize([max(side, round(n * scale)) for n in im.size], Image.BILINEAR)
    left, top = (im.width - side) // 2, (im.height - side) // 2
    x = np.asarray(im, np.float32)[top:top + side, left:left + side]
    return ((x - 127) / 128).transpose(2, 0, 1)[None]


class Batches(q.CalibrationDataReader):
    def __init__(self, path, photos, seed):
        graph = onnx.load(path, load_external_data=False).graph
        known = {x.name for x in graph.initializer}
        x, = [i for i in graph.input if i.name not in known]
        if photos:
            batches = [photo(p) for p in sorted(glob.glob(photos))]
        else:
            shape = [d.dim_value or 1 for d in x.type.tensor_type.shape.dim]
            rng = np.random.default_rng(seed)
            batches = [rng.standard_normal(shape).astype(np.float32) for _ in range(4)]
        if not batches:
            raise SystemExit("make_int8: no photo matches %s" % photos)
        self.batches = iter([{x.name: b} for b in batches])

    def get_next(self):
        return next(self.batches, None)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("how", choices=["dynamic", "static"])
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--photos")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    part = a.out + ".part"
    if a.how == "dynamic":
        q.quantize_dynamic(a.model, part, weight_type=q.QuantType.QInt8, per_channel=True)
    else:
        folded = a.out + ".folded"  # batch normalisations folded, as the tool's documentation asks
        quant_pre_process(a.model, folded, skip_symbolic_shape=True)
        q.quantize_static(folded, part, Batches(a.model, a.photos, a.seed), quant_format=q.QuantFormat.QDQ,
                          per_channel=True, activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)
        os.unlink(folded)
    os.replace(part, a.out)


if __name__ == "__main__":
    main()
