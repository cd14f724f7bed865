#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh BUILD ONLY [--programs-only]: runs the test programs whose path contains ONLY; when that is all of them, also
# the ONNX node cases, generated cases and whole models against ONNX Runtime and the installed tree.
# Ends with the line "N passed, N failed, N skipped".
set -u
build=$1 only=$2
here=$(dirname "$0")
passed=0 failed=0 skipped=0

# Some programs read ONNX's own test data.
if data=$("$here/onnx_data.sh"); then
    export LEAT_ONNX_DATA="$data/node"
fi

# count PASSED FAILED SKIPPED NAME SECONDS
count() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    printf '%-56s %5d passed %4d failed %4d skipped %5ds\n' "$4" "$1" "$2" "$3" "$5"
}

for program in $(find "$build/tests" -name 'test_*' -type f -perm -u+x ! -name '*.so' | grep -F -- "$only" | sort); do
    log=$program.log
    start=$(date +%s)
    CMOCKA_MESSAGE_OUTPUT=TAP timeout 900 "$program" >"$log" 2>&1
    status=$?
    p=$(grep -c '^ok ' "$log")
    s=$(grep -c '^not ok [0-9]* # SKIP' "$log")
    f=$(($(grep -c '^not ok ' "$log") - s))
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
        echo "the program ended with status $status" >>"$log"
        f=1
    fi
    count "$p" "$f" "$s" "${program#"$build"/tests/}" $(($(date +%s) - start))
    [ "$f" -eq 0 ] || tail -60 "$log" | sed 's/^/    /'
done

# Inputs that once were findings of a fuzz target, and a few more of each kind.
for replay in "$build"/tests/fuzz/*_replay; do
    name=$(basename "$replay" _replay) log=$replay.log start=$(date +%s)
    case $only in test_ | fuzz*) ;; *) continue ;; esac
    if timeout 900 "$replay" "$here/../tests/fuzz/corpus/$name" >"$log" 2>&1; then
        count "$(sed -n 's/ passed, 0 failed, 0 skipped//p' "$log")" 0 0 "fuzz/$name" $(($(date +%s) - start))
    else
        count 0 1 0 "fuzz/$name" $(($(date +%s) - start))
        tail -40 "$log" | sed 's/^/    /'
    fi
done

# step SCRIPT...: a script whose last line is "N passed, N failed, N skipped".
step() {
    name=$1
    log=$build/$(basename "$1" .sh).log
    start=$(date +%s)
    "$@" "$build" >"$log" 2>&1
    status=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    set -- $(echo "$line" | tr -dc '0-9 ')
    p=${1:-0} f=${2:-0} s=${3:-0}
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
    fi
    count "$p" "$f" "$s" "$(basename "$name")" $(($(date +%s) - start))
    [ "$f" -eq 0 ] || grep -v '^skipped' "$log" | tail -40 | sed 's/^/    /'
}

if [ "$only" = test_ ] && [ "${3:-}" != --programs-only ]; then
    step "$here/node_cases.sh"
    step "$here/newest_cases.sh"
    step "$here/ort_cases.sh"
    step "$here/cuda_cases.sh"
    step "$here/models_check.sh"
    step "$here/quantizer_check.sh"
    step "$here/chat_check.sh"
    step "$here/metrics_check.sh"
    step "$here/check-install.sh"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
