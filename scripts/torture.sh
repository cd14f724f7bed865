#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# torture.sh [REQUESTS]: so many requests (a million) through the batcher from four threads, a fifth cancelled, a tenth
# with a deadline that few can meet, runs and allocations failing, and again where answers are kept, by a build with the
# address and one with the thread sanitizer. Each request must complete exactly once with its own numbers. Minutes.
set -eu
cd "$(dirname "$0")/.."
export LEAT_TORTURE_REQUESTS="${1:-1000000}"
for sanitizer in address thread; do
    threads="build/$sanitizer/tests/lib/batcher/test_batcher_threads"
    answers="build/$sanitizer/tests/lib/batcher/test_flight"
    make -s -j2 SANITIZE=$sanitizer CFLAGS='-O1 -g' NVCC= "$threads" "$answers"
    echo "== $sanitizer sanitizer, $LEAT_TORTURE_REQUESTS requests, and as many where answers are kept"
    "$threads"
    "$answers"
done
