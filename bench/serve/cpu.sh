#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cpu.sh [ROUNDS]: what servers on two cores can bear, EfficientNet-Lite0 (99 % within 40 ms) and MiniLM on the real
# lengths of the Lee documents (within 250 ms): one request after the other, one queue that ends a batch where the
# length changes, leat's batcher (two batches at once), and the same with one batch at a time, with no batches, and
# with lengths padded. BEFORE: a command that each row is run by. MODELS: where the models are (scripts/models.sh).
set -eu
cd "$(dirname "$0")/../.."
models="${MODELS:-build/models}"
row() {
    name="$1"
    shift
    printf '%-28s' "$name"
    ${BEFORE:-} build/bench/serve "$@" --threads 2 --growth 1.25 | grep '^highest'
}
for round in $(seq "${1:-1}"); do
    lite="$models/efficientnet-lite0.onnx --p99 40 --from ${LITE_FROM:-160} --seconds 3"
    echo "== EfficientNet-Lite0, round $round"
    row "one by one" $lite --max-batch 1 --instances 1
    row "one queue, to 8" $lite --fifo 1 --max-batch 8 --instances 1
    row "batcher, to 8" $lite --max-batch 8
    row "batcher, to 8, one at a time" $lite --max-batch 8 --instances 1
    row "batcher, to 1" $lite --max-batch 1
    minilm="$models/minilm.onnx --lengths $models/lee-lengths.txt --length sequence --p99 250 --from ${MINILM_FROM:-38} --seconds 6"
    echo "== MiniLM, lengths of the Lee documents, round $round"
    row "one by one" $minilm --max-batch 1 --instances 1
    row "one queue, to 8" $minilm --fifo 1 --max-batch 8 --instances 1
    row "batcher, to 8" $minilm --max-batch 8
    row "batcher, to 8, padded" $minilm --max-batch 8 --pad sequence
    row "batcher, to 1" $minilm --max-batch 1
done
