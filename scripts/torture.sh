#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# torture.sh [REQUESTS]: so many requests (a million) through the batcher from four threads, a fifth cancelled, a tenth
# with a deadline that few can meet, runs and allocations failing, by a build with the address and one with the thread
# sanitizer. Each request must complete exactly once with its own numbers. Minutes.
set -eu
cd "$(dirname "$0")/.."
export LEAT_TORTURE_REQUESTS="${1:-1000000}"
for sanitizer in address thread; do
    make -s -j2 SANITIZE=$sanitizer CFLAGS='-O1 -g' NVCC= "build/$sanitizer/tests/lib/batcher/test_batcher_threads"
    echo "== $sanitizer sanitizer, $LEAT_TORTURE_REQUESTS requests"
    "build/$sanitizer/tests/lib/batcher/test_batcher_threads"
done
