#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ort_cases.sh BUILD: cases that ONNX has no data for, their results computed by ONNX Runtime, through
# `leat test`; before it a walk over ONNX Runtime's own list of operators and their types.
set -eu
root=$(dirname "$0")/..
"$root/scripts/setup_venv.sh"
folder=$1/ort_cases
rm -rf "$folder"
"$root/build/venv/bin/python" "$root/scripts/ort_cases/make.py" "$folder"
"$root/build/venv/bin/python" "$root/scripts/ort_cases/operators.py" "$root/README.md"
exec "$1/leat" test "$folder"
