#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node_cases.sh BUILD [FOLDER]: the test data that comes with onnx 1.22.0, through `leat test`: 1,765 node cases
# (expanded functions among them), the folders simple, pytorch-operator and pytorch-converted, and nine
# light_* networks. FOLDER: only node, or only others. A skipped case names the operator or type that leat
# does not have, or is one of node_cases_skips.txt.
set -eu
root=$(dirname "$0")/..
data=$("$root/scripts/onnx_data.sh")
others="$data/simple $data/pytorch-operator $data/pytorch-converted $1/light_cases"
rm -rf "$1/light_cases"
"$root/build/venv/bin/python" "$root/scripts/light_cases.py" "$data/light" "$1/light_cases"
case ${2:-all} in
all) folders="$data/node $others" ;;
node) folders=$data/node ;;
*) folders=$others ;;
esac
# shellcheck disable=SC2086
exec "$root/scripts/run_cases.sh" "$1" "$root/scripts/node_cases_skips.txt" $folders
