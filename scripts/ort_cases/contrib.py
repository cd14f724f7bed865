# SPDX-License-Identifier: Apache-2.0
"""Cases of com.microsoft: the operators that ONNX Runtime's optimizer and quantizer write into files."""
import itertools

import numpy as np
from onnx import helper as h

MS = [("com.microsoft", 1)]


def node(op, inputs, outputs, **attrs):
    return h.make_node(op, inputs, outputs, domain="com.microsoft", **attrs)


def products(cases, rng):
    f = lambda *s: rng.standard_normal(s).astype(np.float32)
    for activation, params in (("Relu", None), ("Tanh", None), ("Sigmoid", None), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.7]),
                               ("HardSigmoid", [0.3, 0.4])):
        attrs = {} if params is None else {"activation_params": params}
        cases.add("fused_conv_%s" % activation.lower(),
                  [node("FusedConv", ["x", "w", "b"], ["y"], activation=activation, kernel_shape=[3, 3], pads=[1, 1, 1, 1], **attrs)],
                  {"x": f(1, 5, 7, 9)}, ["y"], {"w": 0.3 * f(6, 5, 3, 3), "b": f(6)}, MS)
    cases.add("fused_conv_sum", [node("FusedConv", ["x", "w", "b", "z"], ["y"], activation="Relu", kernel_shape=[3, 3], strides=[2, 2])],
              {"x": f(2, 4, 9, 9), "z": f(2, 8, 4, 4)}, ["y"], {"w": f(8, 4, 3, 3), "b": f(8)}, MS)
    for ta, tb in itertools.product((0, 1), (0, 1)):
        a, b = f(*((3, 7, 5) if ta else (3, 5, 7))), f(*((3, 4, 7) if tb else (3, 7, 4)))
        cases.add("fused_matmul_%d%d" % (ta, tb), [node("FusedMatMul", ["a", "b"], ["y"], transA=ta, transB=tb, alpha=0.3)],
                  {"a": a, "b": b}, ["y"], (), MS)
        cases.add("fused_gemm_%d%d" % (ta, tb), [node("FusedGemm", ["a", "b", "c"], ["y"], transA=ta, transB=tb, alpha=0.5, beta=2.0, activation="Relu")],
                  {"a": a[0], "c": f(4)}, ["y"], {"b": b[0]}, MS)
    cases.add("fused_matmul_batch", [node("FusedMatMul", ["a", "b"], ["y"], transBatchA=1, transBatchB=1)],
              {"a": f(5, 3, 7), "b": f(7, 3, 4)}, ["y"], (), MS)
    for op, inputs in (("BiasGelu", ["x", "b"]), ("Gelu", ["x"]), ("FastGelu", ["x"]), ("FastGelu", ["x", "b"]), ("QuickGelu", ["x"])):
        feeds = {"x": f(3, 4, 33), "b": 0.3 * f(33)}
        cases.add("%s_%d" % (op.lower(), len(inputs)), [node(op, inputs, ["y"])], {k: feeds[k] for k in inputs}, ["y"], (), MS)
    for zero, bias in itertools.product((False, True), (False, True)):
        b = rng.integers(-128, 128, (24, 9)).astype(np.int8)
        constants = {"b": b, "s": np.array([0.02], np.float32), "z": np.array([3], np.int8), "c": f(9)}
        names = ["a", "b", "s", "z" if zero else "", "c" if bias else ""]
        cases.add("dynamic_quantize_matmul_%d%d" % (zero, bias), [node("DynamicQuantizeMatMul", names, ["y"])], {"a": f(2, 5, 24)}, ["y"],
                  {k: v for k, v in constants.items() if k in names}, MS)
        constants.update({"as": np.array([0.1], np.float32), "az": np.array([7], np.uint8)})
        names = ["a", "b", "as", "s", "az" if zero else "", "z" if zero else "", "c" if bias else ""]
        cases.add("matmul_integer_to_float_%d%d" % (zero, bias), [node("MatMulIntegerToFloat", names, ["y"])],
                  {"a": rng.integers(0, 256, (4, 24)).astype(np.uint8)}, ["y"], {k: v for k, v in constants.items() if k in names}, MS)
    for bits, zero, blocks in itertools.product((4, 8), (False, True), (2, 3)):
        k, n, size = 32 * blocks, 11, 32
        constants = {"b": rng.integers(0, 256, (n, blocks, size * bits // 8)).astype(np.uint8),
                     "s": np.abs(f(n * blocks)) * 0.1, "z": rng.integers(0, 256, n * ((blocks * bits + 7) // 8)).astype(np.uint8)}
        if not zero:
            del constants["z"]
        cases.add("matmul_n_bits_%d_%d_%d" % (bits, zero, blocks),
                  [node("MatMulNBits", ["a", "b", "s"] + (["z"] if zero else []), ["y"], K=k, N=n, bits=bits, block_size=size)],
                  {"a": f(2, 5, k)}, ["y"], constants, MS)
    own = np.random.default_rng(1)
    constants = {"b": own.integers(0, 256, (11, 3, 16)).astype(np.uint8), "s": own.random(33).astype(np.float32) * 0.1,
                 "z": own.standard_normal(33).astype(np.float32) * 5}
    cases.add("matmul_n_bits_float_zeros", [node("MatMulNBits", ["a", "b", "s", "z"], ["y"], K=96, N=11, bits=4, block_size=32)],
              {"a": own.standard_normal((2, 5, 96)).astype(np.float32)}, ["y"], constants, MS)


def norms(cases, rng):
    f = lambda *s: rng.standard_normal(s).astype(np.float32)
    x = {"x": f(2, 5, 24), "skip": f(2, 5, 24)}
    for beta, bias, total in itertools.product((0, 1), (0, 1), (0, 1)):
        names = ["x", "skip", "g", "b" if beta else "", "c" if bias else ""]
        constants = {k: v for k, v in {"g": f(24), "b": f(24), "c": f(24)}.items() if k in names}
        outputs = ["y", "", "", "sum"] if total else ["y"]
        cases.add("skip_layer_norm_%d%d%d" % (beta, bias, total), [node("SkipLayerNormalization", names, outputs, epsilon=1e-5)], x,
                  [o for o in outputs if o], constants, MS)
        if not beta:
            names = ["x", "skip", "g", "c" if bias else ""]
            constants = {k: v for k, v in {"g": f(24), "c": f(24)}.items() if k in names}
            cases.add("skip_simplified_layer_norm_%d%d" % (bias, total),
                      [node("SkipSimplifiedLayerNormalization", names, outputs, epsilon=1e-5)], x, [o for o in outputs if o], constants, MS)
    cases.add("simplified_layer_norm", [h.make_node("SimplifiedLayerNormalization", ["x", "g"], ["y"], axis=-1, epsilon=1e-5)], {"x": x["x"]}, ["y"], {"g": f(24)})
    tables = {"word": f(50, 24), "place": f(16, 24), "kind": f(2, 24), "g": f(24), "b": f(24)}
    ids, kinds, mask = rng.integers(0, 50, (2, 7)).astype(np.int32), rng.integers(0, 2, (2, 7)).astype(np.int32), np.array([[1] * 7, [1] * 4 + [0] * 3], np.int32)
    feeds = {"ids": ids, "kinds": kinds, "mask": mask}
    cases.add("embed_layer_norm", [node("EmbedLayerNormalization", ["ids", "kinds", "word", "place", "kind", "g", "b", "mask"], ["y", "m"], epsilon=1e-5)],
              feeds, ["y", "m"], tables, MS)
    cases.add("embed_layer_norm_plain", [node("EmbedLayerNormalization", ["ids", "", "word", "place", "", "g", "b"], ["y", "m"], epsilon=1e-5)],
              {"ids": ids}, ["y", "m"], {k: v for k, v in tables.items() if k != "kind"}, MS)


def attention(cases, rng):
    f = lambda *s: rng.standard_normal(s).astype(np.float32)
    b, s, heads, size = 2, 5, 3, 8
    hidden = heads * size
    constants = {"w": 0.3 * f(12, 3 * hidden), "c": f(3 * hidden)}
    masks = {"none": None, "raw": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32), "ends": np.array([5, 3], np.int32),
             "square": rng.integers(0, 2, (b, s, s)).astype(np.int32) | np.eye(s, dtype=np.int32)}
    for (name, mask), causal in itertools.product(masks.items(), (0, 1)):
        feeds = {"x": f(b, s, 12)} | ({} if mask is None else {"m": mask})
        cases.add("attention_%s_%d" % (name, causal), [node("Attention", ["x", "w", "c"] + (["m"] if mask is not None else []), ["y"],
                                                            num_heads=heads, unidirectional=causal)], feeds, ["y"], constants, MS)
    cases.add("attention_past", [node("Attention", ["x", "w", "c", "", "past"], ["y", "present"], num_heads=heads, unidirectional=1)],
              {"x": f(b, s, 12), "past": f(2, b, heads, 4, size)}, ["y", "present"], constants, MS)
    cases.add("attention_bias", [node("Attention", ["x", "w", "c", "", "", "bias"], ["y"], num_heads=heads, scale=0.2)],
              {"x": f(b, s, 12), "bias": f(b, heads, s, s)}, ["y"], constants, MS)
    q, k, v = f(b, s, hidden), f(b, 7, hidden), f(b, 7, hidden)
    cases.add("multi_head_attention", [node("MultiHeadAttention", ["q", "k", "v", "c"], ["y"], num_heads=heads)], {"q": q, "k": k, "v": v}, ["y"], {"c": constants["c"]}, MS)
    cases.add("multi_head_attention_mask", [node("MultiHeadAttention", ["q", "k", "v", "", "m"], ["y"], num_heads=heads)],
              {"q": q, "k": k, "v": v, "m": np.array([[1] * 7, [1] * 3 + [0] * 4], np.int32)}, ["y"], (), MS)
    cases.add("multi_head_attention_past", [node("MultiHeadAttention", ["q", "k", "v", "", "", "bias", "pk", "pv"], ["y", "nk", "nv"], num_heads=heads)],
              {"q": q, "k": q, "v": q, "bias": f(1, heads, s, s + 4), "pk": f(b, heads, 4, size), "pv": f(b, heads, 4, size)}, ["y", "nk", "nv"], (), MS)
    weights = rng.integers(-128, 128, (12, 3 * hidden)).astype(np.int8)
    cases.add("q_attention", [node("QAttention", ["x", "w", "c", "xs", "ws", "m", "xz", "wz"], ["y"], num_heads=heads)],
              {"x": rng.integers(0, 256, (b, s, 12)).astype(np.uint8), "m": masks["raw"]}, ["y"],
              {"w": weights, "c": constants["c"], "xs": np.float32(0.02), "ws": np.float32(0.005), "xz": np.uint8(120), "wz": np.int8(0)}, MS)


def decoder(cases, rng):
    f = lambda *s: rng.standard_normal(s).astype(np.float32)
    b, s, heads, kv, size, past = 2, 3, 6, 2, 16, 4
    angles = np.outer(np.arange(32), 1 / 10 ** np.linspace(0, 2, size // 2))
    tables = {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}
    for interleaved, rank in itertools.product((0, 1), (3, 4)):
        x = f(b, s, heads * size) if rank == 3 else f(b, heads, s, size)
        for name, at in (("each", np.array([[0, 1, 2], [5, 9, 3]], np.int64)), ("from", np.array([7], np.int64))):
            cases.add("rotary_embedding_%d_%d_%s" % (interleaved, rank, name),
                      [node("RotaryEmbedding", ["x", "at", "cos", "sin"], ["y"], interleaved=interleaved)], {"x": x, "at": at}, ["y"], tables, MS)
    # ONNX Runtime wants one token a sequence, or one sequence, where there are earlier tokens.
    for rotary, (earlier, b, s), packed in itertools.product((0, 1), ((0, 2, 3), (past, 2, 1), (past, 1, 3)), (0, 1)):
        feeds = {"q": f(b, s, (heads + 2 * kv * packed) * size), "k": f(b, s, kv * size), "v": f(b, s, kv * size),
                 "pk": f(b, kv, earlier, size), "pv": f(b, kv, earlier, size),
                 "lengths": np.full(b, earlier + s - 1, np.int32), "total": np.array(earlier + s, np.int32)}
        names = ["q", "" if packed else "k", "" if packed else "v", "pk", "pv", "lengths", "total"] + (["cos", "sin"] if rotary else [])
        cases.add("group_query_attention_%d_%d_%d_%d" % (rotary, earlier, s, packed),
                  [node("GroupQueryAttention", names, ["y", "nk", "nv"], num_heads=heads, kv_num_heads=kv, do_rotary=rotary)],
                  {k: x for k, x in feeds.items() if k in names}, ["y", "nk", "nv"], tables if rotary else (), MS)

    # Sequences of lengths of their own; caches longer than what is in them, present as long as past.
    own = np.random.default_rng(2)
    g = lambda *s: own.standard_normal(s).astype(np.float32)
    for name, lengths, s, capacity in (("uneven", (3, 6, 1), 1, 6), ("padded", (2, 4, 0), 5, 0), ("shared", (3, 9, 0), 1, 12),
                                       ("shared_prompt", (6,), 4, 16)):
        b = len(lengths)
        ends, shared = np.array(lengths), name.startswith("shared")
        feeds = {"q": g(b, s, heads * size), "k": g(b, s, kv * size), "v": g(b, s, kv * size), "pk": g(b, kv, capacity, size),
                 "pv": g(b, kv, capacity, size), "lengths": ends.astype(np.int32), "total": np.array(max(lengths) + 1, np.int32)}
        for x in ("pk", "pv"):  # ONNX Runtime clears what lies behind the new tokens
            feeds[x] *= (np.arange(capacity) <= ends[:, None] - s)[:, None, :, None]
        # Rows behind a sequence's end are anyone's.
        real = ((np.arange(s) <= ends[:, None]) | (capacity > 0)).astype(np.float32)[:, :, None]
        nodes = [node("GroupQueryAttention", [*feeds, "cos", "sin"], ["y", "nk", "nv"], num_heads=heads, kv_num_heads=kv, do_rotary=1),
                 h.make_node("Mul", ["y", "real"], ["z"])]
        cases.add("group_query_attention_" + name, nodes, dict(feeds, real=real), ["z"] + (["nk", "nv"] if shared else []), tables, MS)


def quantized(cases, rng):
    for t, (low, high, zero) in {"u8": (0, 256, 130), "s8": (-128, 128, 4)}.items():
        dtype = np.uint8 if t == "u8" else np.int8
        q = lambda *s: rng.integers(low, high, s).astype(dtype)
        z = np.array(zero, dtype)
        # Powers of two and even zero points: neither the order of the factors nor whether the zero point is
        # added before or after rounding (ONNX: after) decides a result then.
        constants = {"as": np.float32(0.0625), "az": z, "bs": np.float32(0.03125), "bz": np.array(zero + 2, dtype), "cs": np.float32(0.0625), "cz": z}
        for op in ("Add", "Mul"):
            cases.add("qlinear_%s_%s" % (op.lower(), t), [node("QLinear" + op, ["a", "as", "az", "b", "bs", "bz", "cs", "cz"], ["y"])],
                      {"a": q(3, 4, 17), "b": q(4, 1)}, ["y"], constants, MS)
        one = {k: constants[k] for k in ("as", "az", "cs", "cz")}
        fine = dict(one, cs=np.float32(1 / 256))
        names = ["x", "as", "az", "cs", "cz"]
        cases.add("qlinear_sigmoid_%s" % t, [node("QLinearSigmoid", names, ["y"])], {"x": q(3, 40)}, ["y"], fine, MS)
        cases.add("qlinear_leaky_relu_%s" % t, [node("QLinearLeakyRelu", names, ["y"], alpha=0.2)], {"x": q(3, 40)}, ["y"], one, MS)
        cases.add("qlinear_softmax_%s" % t, [node("QLinearSoftmax", names, ["y"], opset=13, axis=-1)], {"x": q(5, 12)}, ["y"], fine, MS)
        cases.add("qlinear_average_pool_%s" % t, [node("QLinearAveragePool", names, ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
                  {"x": q(1, 3, 9, 8)}, ["y"], one, MS)
        for last in (0, 1):
            cases.add("qlinear_global_average_pool_%s_%d" % (t, last), [node("QLinearGlobalAveragePool", names, ["y"], channels_last=last)],
                      {"x": q(2, 5, 6, 7)}, ["y"], one, MS)
        cases.add("qlinear_concat_%s" % t, [node("QLinearConcat", ["cs", "cz", "a", "as", "az", "b", "bs", "bz"], ["y"], axis=1)],
                  {"a": q(2, 3, 4), "b": q(2, 5, 4)}, ["y"], constants, MS)
        where = np.random.default_rng(2)
        cases.add("qlinear_where_%s" % t, [node("QLinearWhere", ["c", "a", "as", "az", "b", "bs", "bz", "cs", "cz"], ["y"])],
                  {"c": where.random((3, 1, 7)) < 0.5, "a": where.integers(0, 100, (3, 4, 7)).astype(constants["az"].dtype),
                   "b": where.integers(0, 100, (4, 1)).astype(constants["az"].dtype)}, ["y"], constants, MS)
    u = lambda *s: rng.integers(0, 256, s).astype(np.uint8)
    w = rng.integers(-128, 128, (24, 9)).astype(np.int8)
    g = {"as": np.float32(0.05), "az": np.uint8(120), "b": w, "bs": np.float32(0.01), "bz": np.int8(0), "c": rng.integers(-900, 900, 9).astype(np.int32),
         "ys": np.float32(0.2), "yz": np.uint8(128)}
    names = ["a", "as", "az", "b", "bs", "bz", "c", "ys", "yz"]
    cases.add("qgemm", [node("QGemm", names, ["y"])], {"a": u(5, 24)}, ["y"], g, MS)
    cases.add("qgemm_float", [node("QGemm", names[:7], ["y"])], {"a": u(5, 24)}, ["y"], {k: v for k, v in g.items() if k[0] != "y"}, MS)
    columns = dict(g, b=np.ascontiguousarray(w.T), bs=(0.01 * (1 + rng.random(9))).astype(np.float32), bz=np.zeros(9, np.int8))
    cases.add("qgemm_columns", [node("QGemm", names, ["y"], transB=1)], {"a": u(5, 24)}, ["y"], columns, MS)


def removed(cases):
    """Of ai.onnx before opset 10, on trial there."""
    rng = np.random.default_rng(3)
    x = 3 * rng.standard_normal((2, 3, 5, 7)).astype(np.float32)
    old = lambda name, op, inputs=("x",), constants=(), **attrs: cases.add(
        name, [h.make_node(op, list(inputs), ["y"], **attrs)], {"x": x}, ["y"], constants, opset=9)
    old("affine", "Affine", alpha=1.5, beta=-0.25)
    old("image_scaler", "ImageScaler", scale=0.5, bias=[1.0, -2.0, 3.0])
    old("parametric_softplus", "ParametricSoftplus", alpha=1.5, beta=-0.5)
    old("scaled_tanh", "ScaledTanh", alpha=1.5, beta=0.5)
    old("scale", "Scale", scale=-2.5)
    old("crop", "Crop", border=[1, 0, 2, 1])
    old("crop_scale", "Crop", border=[1, 2, 0, 0], scale=[3, 4])
    ints = lambda *v: np.array(v, np.int64)
    old("dynamic_slice", "DynamicSlice", ("x", "s", "e", "a"), {"s": ints(1, -3), "e": ints(3, 100), "a": ints(2, 3)})
    old("dynamic_slice_leading", "DynamicSlice", ("x", "s", "e"), {"s": ints(1, 0), "e": ints(2, -1)})


def make(cases, rng):
    products(cases, rng)
    norms(cases, rng)
    attention(cases, rng)
    decoder(cases, rng)
    quantized(cases, rng)
    removed(cases)
