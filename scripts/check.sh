#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh BUILD ONLY: runs the test programs whose path contains ONLY and sums their results.
# Ends with the line "N passed, N failed, N skipped".
set -u
build=$1 only=$2
passed=0 failed=0 skipped=0
for program in $(find "$build/tests" -name 'test_*' -type f -perm -u+x ! -name '*.so' | grep -F -- "$only" | sort); do
    log=$program.log
    start=$(date +%s)
    timeout 600 "$program" >"$log" 2>&1
    status=$?
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(grep -c '^\[  FAILED  \] [a-z].*[a-z0-9]$' "$log")
    s=$(grep -c '^\[  SKIPPED \] [a-z]' "$log")
    s=$((s > p + s ? 0 : s))
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-60s %4d passed %3d failed %3d skipped %4ds\n' "${program#"$build"/tests/}" "$p" "$f" "$s" $(($(date +%s) - start))
    [ "$f" -eq 0 ] || sed 's/^/    /' "$log" | tail -60
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
