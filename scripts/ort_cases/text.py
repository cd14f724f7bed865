# SPDX-License-Identifier: Apache-2.0
"""Cases of text: the other case of all letters, numbers as text and back."""
import locale

import numpy as np
from onnx import TensorProto, helper as h


def letters(cases):
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        print("string_normalizer: not made: there is no locale C.UTF-8")
        return
    every = [chr(c) for c in range(1, 0x1F000) if not 0xD800 <= c < 0xE000]
    words = np.array(["".join(every[i:i + 50]) for i in range(0, len(every), 50)], object)
    for action in ("UPPER", "LOWER"):
        cases.add("string_normalizer_%s" % action.lower(),
                  [h.make_node("StringNormalizer", ["x"], ["y"], case_change_action=action, locale="C.UTF-8")], {"x": words}, ["y"])


def numbers(cases, rng):
    cast = lambda to: [h.make_node("Cast", ["x"], ["y"], to=to)]
    floats = np.concatenate([[1.5, 0.1, -0.0, np.nan, np.inf, -np.inf, 1e20, 1e-10, 65504, 123456789],
                             rng.standard_normal(40) * 10.0 ** rng.integers(-12, 12, 40)])
    for dtype in (np.float32, np.float64, np.float16):
        with np.errstate(over="ignore"):
            cases.add("cast_%s_text" % np.dtype(dtype).name, cast(TensorProto.STRING), {"x": floats.astype(dtype)}, ["y"])
    whole = rng.integers(-2**63, 2**63 - 1, 20)
    for dtype in (np.int64, np.int32, np.int8, np.uint8, bool):
        cases.add("cast_%s_text" % np.dtype(dtype).name, cast(TensorProto.STRING), {"x": whole.astype(dtype)}, ["y"])
    texts = lambda values: np.array([str(v) for v in values], object)
    for name, to in (("float32", TensorProto.FLOAT), ("float64", TensorProto.DOUBLE), ("float16", TensorProto.FLOAT16)):
        cases.add("cast_text_%s" % name, cast(to), {"x": texts(floats)}, ["y"])
    for name, to in (("int64", TensorProto.INT64), ("int8", TensorProto.INT8), ("uint8", TensorProto.UINT8), ("bool", TensorProto.BOOL)):
        values = {"int64": whole, "int8": whole.astype(np.int8), "uint8": whole.astype(np.uint8), "bool": np.array([0, 1, 1])}[name]
        cases.add("cast_text_%s" % name, cast(to), {"x": texts(values)}, ["y"])


def make(cases, rng):
    letters(cases)
    numbers(cases, rng)
