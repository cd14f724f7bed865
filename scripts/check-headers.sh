#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-headers.sh: every header compiles alone; the public ones as C99 and as C++11.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
try() {
    if "$@" -fsyntax-only - >/tmp/leat-header.$$ 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $header ($*)"
        sed 's/^/    /' /tmp/leat-header.$$
    fi
}
for header in include/leat/*.h; do
    try ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror -Iinclude -x c < <(echo "#include <${header#include/}>")
    try ${CXX:-c++} -std=c++11 -pedantic -Wall -Wextra -Werror -Iinclude -x c++ < <(echo "#include <${header#include/}>")
done
for header in $(git ls-files 'lib/**/*.h' 'backends/**/*.h' 'tools/**/*.h' 'tests/**/*.h'); do
    # Headers of vectors for one instruction set say so by their name, as files do.
    case $header in
    *_avx512.h) isa="-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl" ;;
    *_avx2.h | *_ymm.h) isa="-mavx2 -mfma -mf16c" ;;
    *) isa= ;;
    esac
    try ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function $isa -Iinclude -Ilib \
        -Ibackends/cpu -Itools -Itests -x c < <(echo "#include \"$PWD/$header\"")
done
# The kernels for devices, as plain C++ and, where a clang is there, for AMD; not the parts of gpu.hpp and mma.hpp.
hip=$(command -v clang++ || command -v clang++-14)
[ -n "$hip" ] || echo "clang++ is missing: kernels not checked for AMD"
for header in $(git ls-files 'backends/gpu/*.hpp' | grep -v -E '/(gpu_(cuda|hip)|mma_(cuda|emulate|alone|group))[.]hpp'); do
    try ${CXX:-c++} -std=c++17 -Wall -Wextra -Werror -x c++ < <(echo "#include \"$PWD/$header\"")
    case $header in *emulate* | *mma*) continue ;; esac # tensor-core words are NVIDIA's and plain C++ only
    [ -z "$hip" ] || try "$hip" -std=c++17 -Wall -Wextra -Werror -nogpulib -nogpuinc --cuda-device-only \
        --offload-arch=gfx90a -x hip < <(echo "#include \"$PWD/$header\"")
done
rm -f /tmp/leat-header.$$
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
