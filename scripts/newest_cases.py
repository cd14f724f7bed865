# SPDX-License-Identifier: Apache-2.0
"""ONNX's node cases as folders, for versions of onnx whose package holds none: newest_cases.py FOLDER"""
import os
import sys

from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_node_model_tests


def write(path, value, info):
    """One input or output of a case, of the type that the model's signature says."""
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        proto = numpy_helper.from_list(value, info.name)
    elif kind == "optional_type":
        proto = numpy_helper.from_optional(value, info.name)
    elif kind == "map_type":
        proto = numpy_helper.from_dict(value, info.name)
    else:
        proto = value if isinstance(value, TensorProto) else numpy_helper.from_array(value, info.name)
    with open(path, "wb") as f:
        f.write(proto.SerializeToString())


def main():
    for case in load_node_model_tests():
        folder = os.path.join(sys.argv[1], case.name)
        os.makedirs(folder)
        with open(os.path.join(folder, "model.onnx"), "wb") as f:
            f.write(case.model.SerializeToString())
        for i, sides in enumerate(case.data_sets):
            data = os.path.join(folder, "test_data_set_%d" % i)
            os.mkdir(data)
            for side, values, infos in zip(("input", "output"), sides, (case.model.graph.input, case.model.graph.output)):
                for j, value in enumerate(values):
                    write(os.path.join(data, "%s_%d.pb" % (side, j)), value, infos[j])


if __name__ == "__main__":
    main()
