#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.sh [OPTIONS of bench/table.py]: leat, ONNX Runtime and OpenVINO side by side on real and generated
# models. The machine should do nothing else meanwhile.
set -eu
root=$(dirname "$0")/..
models=$root/build/models
"$root/scripts/models.sh" all
"$root/scripts/fetch.sh" silero-vad==6.2.3 'silero_vad/data/silero_vad.onnx'
"$root/scripts/setup_venv.sh" bench-venv bench/requirements.txt
python=$root/build/bench-venv/bin/python

# model NAME SCRIPT ARGUMENTS...: makes build/models/NAME, the last argument's place, when it is missing.
model() {
    name=$1 script=$2
    shift 2
    [ -f "$models/$name" ] || "$python" "$root/bench/models/$script" "$@" "$models/$name"
}
int8() {
    how=$1 from=$2 name=$3
    shift 3
    [ -f "$models/$name" ] || "$python" "$root/bench/models/make_int8.py" "$how" "$models/$from" "$models/$name" "$@"
}
model resnet50.onnx make_resnet50.py
model bert-base.onnx make_bert.py
model bert-large.onnx make_bert.py --size large
model mlp.onnx make_small.py mlp
int8 static resnet50.onnx resnet50-qdq.onnx
int8 static efficientnet-lite0.onnx efficientnet-lite0-qdq.onnx --photos "$models/imagenet_*.jpg"
int8 dynamic bert-base.onnx bert-base-dyn8.onnx
int8 dynamic minilm.onnx minilm-dyn8.onnx
exec "$python" "$root/bench/table.py" "$@"
