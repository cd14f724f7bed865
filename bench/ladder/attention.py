#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""torch's scaled_dot_product_attention at the sizes of the attention ladder, then the ladder.

  attention.py build/bench/ladder/attention build/backends/cuda/gemm
"""
import subprocess
import sys

import torch


def median_us(run):
    """Median of 9 timings by events, each of 20 calls."""
    times = []
    for _ in range(10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(20):
            run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 50)
    return sorted(times[1:])[4]


for batch, heads, rows, size in ((1, 16, 384, 64), (8, 16, 384, 64), (32, 16, 384, 64), (64, 16, 384, 64),
                                 (4, 16, 2048, 64), (1, 32, 1024, 128), (8, 32, 2048, 128)):
    qkv = torch.randn(batch, rows, 3, heads, size, device="cuda", dtype=torch.half)
    q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
    mask = torch.zeros(batch, 1, 1, rows, device="cuda", dtype=torch.half)
    mask[..., rows - rows // 8:] = -10000
    for name, m in (("torch, with the mask", mask.expand(batch, heads, rows, rows)), ("torch, without a mask", None)):
        us = median_us(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=m))
        print("%-14s %3d x %2d heads, %4d rows of %3d  %-28s %9.2f us %7.1f TFLOP/s" % (
            "", batch, heads, rows, size, name, us, 4e-6 * batch * heads * rows * rows * size / us), flush=True)
sys.exit(subprocess.call(sys.argv[1:]) if len(sys.argv) > 1 else 0)
