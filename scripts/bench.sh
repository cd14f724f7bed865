#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.sh BUILD: leat and ONNX Runtime side by side on real and generated models. The machine should do
# nothing else meanwhile.
set -eu
root=$(dirname "$0")/..
models=$root/build/models
python=$root/build/venv/bin/python
"$root/scripts/models.sh" all
[ -f "$models/resnet50.onnx" ] || "$python" "$root/bench/models/make_resnet50.py" "$models/resnet50.onnx"
[ -f "$models/bert-base.onnx" ] || "$python" "$root/bench/models/make_bert.py" "$models/bert-base.onnx"
[ -f "$models/mlp.onnx" ] || "$python" "$root/bench/models/make_small.py" mlp "$models/mlp.onnx"
exec "$python" "$root/bench/peers/cpu.py" "$models/resnet50.onnx" "$models/efficientnet-lite0.onnx" \
    "$models/minilm.onnx@batch=1,sequence=128" "$models/bert-base.onnx@seq=128" "$models/mlp.onnx" \
    "$models/ch_PP-OCRv4_rec_infer.onnx@p2o.DynamicDimension.1=320,?=48" "$models/magika.onnx"
