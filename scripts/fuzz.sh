#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh BUILD SECONDS: builds every fuzz target in BUILD with clang's libFuzzer, address and undefined
# sanitizers, and runs each for SECONDS from the committed corpus and models of ONNX's node tests. New inputs are kept in BUILD/corpus, findings
# in BUILD/findings. Ends with "N passed, N failed, N skipped".
set -u
build=$1 seconds=$2
root=$(dirname "$0")/..
have_clang() {
    echo 'int LLVMFuzzerTestOneInput(const void *d, long n) { return d && n ? 0 : 0; }' |
        clang -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null
}
if ! have_clang; then
    [ "$(id -u)" = 0 ] && apt-get update -q >/dev/null &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q clang libclang-rt-14-dev >/dev/null
    have_clang || {
        echo "leat: clang with libFuzzer is missing. Install clang and libclang-rt-14-dev (Debian)." >&2
        exit 1
    }
fi
"$root/scripts/setup_venv.sh" || exit 1
make -s -C "$root" CC="${FUZZ_CC:-clang}" BUILD="$build" SANITIZE=address,undefined,fuzzer-no-link CFLAGS='-O1 -g' \
    fuzzers || exit 1
data=$("$root/build/venv/bin/python" -c 'import onnx, os
print(os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data"))')
seeds=$build/seeds
if [ ! -d "$seeds" ]; then
    mkdir -p "$seeds.new"
    find "$data/node" "$data/simple" "$build/../ort_cases" -name model.onnx -size -5k 2>/dev/null | while read -r m; do
        cp "$m" "$seeds.new/$(basename "$(dirname "$m")").onnx"
    done
    mv "$seeds.new" "$seeds"
fi
passed=0 failed=0
for target in "$build"/tests/fuzz/fuzz_*; do
    [ -x "$target" ] && [ ! -d "$target" ] || continue
    name=$(basename "$target")
    case $name in *.*) continue ;; esac
    own=$root/tests/fuzz/corpus/$name more=
    mkdir -p "$build/corpus/$name" "$build/findings"
    [ "$name" = fuzz_npy ] || more=$seeds
    log=$build/$name.log
    ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0 "$target" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 \
        -max_len=16384 -artifact_prefix="$build/findings/$name-" "$build/corpus/$name" ${own:+$([ -d "$own" ] && echo "$own")} $more \
        >"$log" 2>&1
    status=$?
    printf '%-16s %s, %s\n' "$name" "$([ $status -eq 0 ] && echo 'no finding' || echo "FINDING, see $log")" \
        "$(grep -E '^#[0-9]+' "$log" | tail -n 1 | tr -s ' ' | cut -c1-100)"
    [ $status -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
