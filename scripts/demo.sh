#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# demo.sh BUILD: a trained network says what is on a photo.
set -eu
root=$(dirname "$0")/..
"$root/scripts/models.sh" demo
"$1/examples/classify" "$root/build/models/efficientnet-lite0.onnx" "$root/build/models/classes.txt" \
    "$root/build/models/imagenet_00_243.jpg"
