#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# memcheck.sh BUILD ONLY: runs the test programs whose path contains ONLY under valgrind's memcheck, each in at
# most 5 minutes of processor time (a longer one is skipped). valgrind shows a processor without AVX-512, so
# the AVX2 kernels run; tests/support/guarded.h is for the others. Programs that change stacks by hand, the
# kernels for GPUs on the host, are left out. Ends with the line "N passed, N failed, N skipped".
set -u
build=$1 only=$2
here=$(dirname "$0")
passed=0 failed=0 skipped=0
if data=$("$here/onnx_data.sh"); then
    export LEAT_ONNX_DATA="$data/node"
fi
ulimit -t 300
for program in $(find "$build/tests" -name 'test_*' -type f -perm -u+x ! -name '*.so' ! -path '*/gpu/*' ! -path '*/cuda/*' \
    ! -name test_cuda | grep -F -- "$only" | sort); do
    log=$program.memcheck.log
    valgrind -q --error-exitcode=9 --leak-check=full --num-callers=20 "$program" >"$log" 2>&1
    case $? in
    0) passed=$((passed + 1)) ;;
    137 | 152) skipped=$((skipped + 1)) && echo "skipped $program: over 5 minutes" ;;
    *) failed=$((failed + 1)) && echo "FAILED  $program" && grep -v '\[' "$log" | head -40 ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
