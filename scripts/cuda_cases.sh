#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cuda_cases.sh BUILD: onnx's node cases on the CUDA plugin with the driver that tests have (the kernels' own text, run by
# fibres). Counts the cases whose operators and types the plugin claims; there must be as many as there once were.
set -u
data=$("$(dirname "$0")/onnx_data.sh") || exit 1
fakes=$1/tests/backends/cuda
claimed=703
LD_LIBRARY_PATH=$fakes "$1/leat" test "$data/node" --device cuda --plugins "$fakes" >"$1/cuda_cases.txt" 2>&1
line=$(tail -n 1 "$1/cuda_cases.txt")
read -r p f s <<END
$(echo "$line" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
END
grep '^FAILED' "$1/cuda_cases.txt"
echo "${s:-?} more cases need an operator or type that the plugin does not have"
if [ "${p:-0}" -lt $claimed ]; then
    echo "only ${p:-0} cases pass: $claimed are expected (${line})"
    echo "${p:-0} passed, $((${f:-0} + 1)) failed, 0 skipped"
    exit 1
fi
echo "$p passed, $f failed, 0 skipped"
[ "$f" -eq 0 ]
