#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh BUILD SECONDS JOBS: builds every fuzz target in BUILD with clang's libFuzzer, address and undefined
# sanitizers, and runs them side by side for SECONDS in JOBS processes (0: one per core), from the committed
# corpus and the seeds of fuzz_seeds.py. Everything lies in BUILD/run, which needs nothing else: new inputs
# in its corpus, findings in its findings. Ends with "N passed, N failed, N skipped".
set -u
build=$1 seconds=$2 jobs=$3
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
    LDFLAGS='-static-libstdc++ -static-libgcc' fuzzers || exit 1

run=$build/run
mkdir -p "$run/seeds"
if [ ! -d "$build/seeds" ]; then
    [ -d "$root/build/ort_cases" ] || "$root/build/venv/bin/python" "$root/scripts/ort_cases/make.py" "$root/build/ort_cases" || exit 1
    "$root/build/venv/bin/python" "$root/scripts/fuzz_seeds.py" "$build/seeds.new" "$root/build/ort_cases" || exit 1
    mv "$build/seeds.new" "$build/seeds"
fi
for target in "$build"/tests/fuzz/fuzz_*; do
    name=$(basename "$target")
    [ -x "$target" ] && [ -f "$target" ] || continue
    case $name in *.* | *_replay) continue ;; esac
    own=$run/seeds/$name
    rm -rf "$own"
    mkdir -p "$own"
    kind=${name#fuzz_}
    [ -d "$build/seeds/$kind" ] || kind=models
    cp "$build/seeds/$kind"/* "$own"
    [ ! -d "$root/tests/fuzz/corpus/$name" ] || cp "$root/tests/fuzz/corpus/$name"/* "$own"
    cp "$target" "$run/$name"
done
[ "$jobs" -gt 0 ] || jobs=$(nproc)
"$root/scripts/fuzz_targets.sh" "$run" "$seconds" "$jobs"
