#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node_cases.sh BUILD: the 1,325 plain node cases of onnx 1.22.0 (those that are not expanded functions)
# through `leat test`. A skipped case names the operator or type that leat does not have.
set -eu
root=$(dirname "$0")/..
"$root/scripts/setup_venv.sh"
folder=$("$root/build/venv/bin/python" -c 'import onnx, os
print(os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "node"))')
find "$folder" -mindepth 1 -maxdepth 1 -type d ! -name '*_expanded*' | sort |
    xargs -s 1000000 -x "$1/leat" test
