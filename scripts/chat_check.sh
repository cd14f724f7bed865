#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# chat_check.sh BUILD: a language model and examples/chat against ONNX Runtime; ends with "N passed, N failed, N skipped".
set -eu
root=$(dirname "$0")/..
exec "$root/build/venv/bin/python" "$root/scripts/chat_check.py" "$1"
