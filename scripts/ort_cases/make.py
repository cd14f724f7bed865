#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make.py FOLDER: writes seeded cases of operators that ONNX has no test data for, with ONNX Runtime's results."""
import sys

import numpy as np

from common import Cases
import contrib
import ml
import text

cases = Cases(sys.argv[1])
for family in (ml, contrib, text):
    family.make(cases, np.random.default_rng(0))
print("%d cases" % cases.count)
