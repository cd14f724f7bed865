# SPDX-License-Identifier: Apache-2.0
"""The light_* networks of onnx as folders for `leat test`: light_cases.py DATA FOLDER

Their weights are made by ConstantOfShape. The input is what onnx's own runner feeds them: 0, 1, 2, ...
over the number of elements.
"""
import glob
import os
import shutil
import sys

import numpy as np
import onnx
from onnx import numpy_helper


def main():
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "light_*.onnx"))):
        graph = onnx.load(path).graph
        given = {t.name for t in graph.initializer}
        x = [i for i in graph.input if i.name not in given][0]
        shape = [d.dim_value for d in x.type.tensor_type.shape.dim]
        count = int(np.prod(shape))
        folder = os.path.join(sys.argv[2], os.path.basename(path)[:-len(".onnx")])
        os.makedirs(os.path.join(folder, "test_data_set_0"))
        shutil.copyfile(path, os.path.join(folder, "model.onnx"))
        shutil.copyfile(path[:-len(".onnx")] + "_output_0.pb",
                        os.path.join(folder, "test_data_set_0", "output_0.pb"))
        tensor = numpy_helper.from_array((np.arange(count) / count).astype(np.float32).reshape(shape), x.name)
        with open(os.path.join(folder, "test_data_set_0", "input_0.pb"), "wb") as f:
            f.write(tensor.SerializeToString())


if __name__ == "__main__":
    main()
