# SPDX-License-Identifier: Apache-2.0
"""Writes test cases in the layout of ONNX's backend tests, the expected outputs computed by ONNX Runtime."""
import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper as h, numpy_helper as nh
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented

TYPES = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.float64): onnx.TensorProto.DOUBLE,
         np.dtype(np.float16): onnx.TensorProto.FLOAT16, np.dtype(np.int64): onnx.TensorProto.INT64,
         np.dtype(np.int32): onnx.TensorProto.INT32, np.dtype(np.int8): onnx.TensorProto.INT8,
         np.dtype(np.uint8): onnx.TensorProto.UINT8, np.dtype(bool): onnx.TensorProto.BOOL}


def onnx_type(x):
    return onnx.TensorProto.STRING if x.dtype.kind in "OUS" else TYPES[x.dtype]


def tensor(x, name):
    if x.dtype.kind in "OUS":
        t = onnx.TensorProto(name=name, data_type=onnx.TensorProto.STRING, dims=x.shape)
        t.string_data.extend(str(s).encode() for s in x.ravel())
        return t
    return nh.from_array(np.asarray(x, order="C"), name)


class Cases:
    def __init__(self, folder):
        self.folder, self.count = folder, 0

    def add(self, name, nodes, inputs, outputs, constants=(), domains=(), opset=17):
        """nodes: NodeProtos; inputs: {name: array}; outputs: names (their types are inferred by running);
        constants: {name: array}; domains: [(domain, version)]."""
        constants = dict(constants)
        graph = h.make_graph(
            nodes, name, [h.make_tensor_value_info(k, onnx_type(x), x.shape) for k, x in inputs.items()],
            [onnx.ValueInfoProto(name=o) for o in outputs], [tensor(x, k) for k, x in constants.items()])
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)] +
                             [h.make_opsetid(d, v) for d, v in domains])
        model.ir_version = 10
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except NotImplemented as e:
            print("%s: not made: %s" % (name, str(e).split(" : ")[-1].strip()))
            return
        results = session.run(outputs, inputs)
        for info, x in zip(graph.output, results):
            info.CopyFrom(h.make_tensor_value_info(info.name, onnx_type(np.asarray(x)), np.asarray(x).shape))
        del model.graph.output[:]
        model.graph.output.extend(graph.output)
        where = os.path.join(self.folder, name)
        os.makedirs(os.path.join(where, "test_data_set_0"), exist_ok=True)
        onnx.save(model, os.path.join(where, "model.onnx"))
        for kind, arrays in (("input", inputs.items()), ("output", zip(outputs, results))):
            for i, (k, x) in enumerate(arrays):
                with open(os.path.join(where, "test_data_set_0", "%s_%d.pb" % (kind, i)), "wb") as f:
                    f.write(tensor(np.asarray(x), k).SerializeToString())
        self.count += 1
