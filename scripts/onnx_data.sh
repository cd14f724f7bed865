#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# onnx_data.sh: sets build/venv up and prints the folder of the test data that comes with its onnx.
set -eu
root=$(dirname "$0")/..
"$root/scripts/setup_venv.sh" >&2
"$root/build/venv/bin/python" -c 'import onnx, os
print(os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data"))'
