#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""operators.py README.md: walks the kernels of ONNX Runtime's CPU provider, by its own list, against the table of
operators in README (which a test holds to the code): every operator of ai.onnx and ai.onnx.ml must be there, in every
type that ONNX Runtime takes as the first input, and of com.microsoft those that users hold models with."""
import collections
import re
import sys

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

TYPES = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16", "int8": "i8", "uint8": "u8",
         "int16": "i16", "uint16": "u16", "int32": "i32", "uint32": "u32", "int64": "i64", "uint64": "u64", "bool": "bool",
         "string": "string", "complex64": "c64", "complex128": "c128", "float8e4m3fn": "f8e4m3fn", "float8e4m3fnuz": "f8e4m3fnuz",
         "float8e5m2": "f8e5m2", "float8e5m2fnuz": "f8e5m2fnuz", "float8e8m0": "f8e8m0", "int4": "i4", "uint4": "u4",
         "int2": "i2", "uint2": "u2", "float4e2m1": "f4e2m1"}
SETS = {"floats": "f32 f64 f16 bf16", "signed": "i8 i16 i32 i64", "unsigned": "u8 u16 u32 u64",
        "float8": "f8e4m3fn f8e4m3fnuz f8e5m2 f8e5m2fnuz", "packed": "u4 i4 f4e2m1 u2 i2"}
SETS["ints"] = SETS["signed"] + " " + SETS["unsigned"]
SETS["numbers"] = SETS["floats"] + " " + SETS["ints"]
SETS["whole"] = SETS["numbers"] + " " + SETS["float8"] + " f8e8m0 bool c64 c128"
SETS["all"] = SETS["whole"] + " " + SETS["packed"] + " string"
# Kernels that are no operators of models.
OWN = {"MemcpyFromHost", "MemcpyToHost"}
# What ONNX Runtime's optimizer and quantizer write.
MICROSOFT = """FusedConv FusedMatMul BiasGelu FastGelu SkipLayerNormalization EmbedLayerNormalization Attention MultiHeadAttention
GroupQueryAttention RotaryEmbedding SimplifiedLayerNormalization SkipSimplifiedLayerNormalization MatMulNBits
DynamicQuantizeMatMul MatMulIntegerToFloat DynamicQuantizeLSTM QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu
QLinearAveragePool QLinearGlobalAveragePool QLinearConcat QLinearSoftmax QGemm QAttention QuickGelu FusedGemm""".split()
# The constraint that is on the first input, where it is not the first of these.
FIRST = {"Where": "B", "DynamicQuantizeLinear": None, "ZipMap": None}


def table(path):
    """{operator: types, None: any}, and the names of what is expanded into others."""
    text = open(path).read()
    served = {}
    for name, types in re.findall(r"(?m)^\| (\S+) \| \d+(?:\+|-\d+) \| (.*) \|$", text):
        words = [t for w in types.split() for t in SETS.get(w, w).split()]
        served[name] = None if "runtime" in types or "formula" in types else set(words)
    expanded = re.findall(r"(?m)^(?:ai\.onnx before|com\.microsoft).*, expanded into the above: (.*)\.$", text)
    return served, {name for names in expanded for name in names.split(", ")}


def main():
    served, expanded = table(sys.argv[1])
    wanted, holes = collections.defaultdict(dict), []
    for kernel in state.get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider" and kernel.domain in ("", "ai.onnx.ml") and kernel.op_name not in OWN:
            constraints = wanted[kernel.domain, kernel.op_name]
            for name, types in kernel.type_constraints.items():
                constraints.setdefault(name, set()).update(types)
    for (domain, op), constraints in sorted(wanted.items()):
        name = domain + "." + op if domain else op
        if name not in served and op not in expanded:
            holes.append("%s is missing" % name)
        if served.get(name) is None:
            continue
        first = FIRST.get(op, next((c for c in ("T", "T1", "V", "X") if c in constraints), min(constraints, default=None)))
        types = {TYPES.get(t[7:-1], t) for t in constraints.get(first, ())}
        lacking = sorted(t for t in types - served[name] if not t.startswith(("seq(", "optional(", "map(")))
        if lacking:
            holes.append("%s lacks %s" % (name, ", ".join(lacking)))
    holes += ["com.microsoft.%s is missing" % op for op in MICROSOFT if op not in expanded]
    print("%d operators of ONNX Runtime %s's CPU provider and %d of com.microsoft, %d holes" % (
        len(wanted), ort.__version__, len(MICROSOFT), len(holes)))
    print("".join("  %s\n" % h for h in holes), end="")
    return 1 if holes or len(wanted) < 200 else 0


if __name__ == "__main__":
    sys.exit(main())
