#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# models_check.sh BUILD: whole models against ONNX Runtime; ends with "N passed, N failed, N skipped".
set -eu
root=$(dirname "$0")/..
"$root/scripts/models.sh" all
exec "$root/build/venv/bin/python" "$root/scripts/models_check.py" "$1"
