#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# quantizer_check.sh BUILD: `leat quantize` on a network trained on Fashion-MNIST, beside ONNX Runtime's quantizer.
# Ends with "N passed, N failed, N skipped".
set -eu
root=$(dirname "$0")/..
data=/usr/share/datasets/fashion-mnist
"$root/scripts/setup_venv.sh"
if [ ! -f "$data/train-images-idx3-ubyte.gz" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q dataset-fashion-mnist >/dev/null
fi
if [ ! -f "$data/train-images-idx3-ubyte.gz" ]; then
    echo "skipped: Fashion-MNIST is not there: install the package dataset-fashion-mnist"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
mkdir -p "$root/build/models"
"$root/scripts/fetch.sh" gensim==4.4.0 'gensim/test/test_data/lee*.cor' || true # without: MiniLM is skipped
exec "$root/build/venv/bin/python" "$root/scripts/quantizer_check.py" "$1" "$data"
