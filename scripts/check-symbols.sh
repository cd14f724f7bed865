#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-symbols.sh BUILD: what leaves the library, what it needs, what it keeps, how large it is.
set -u
build=$1
shared=$(ls "$build"/libleat.so.*.*.*)
passed=0 failed=0
# verdict WHAT OFFENDERS: empty offenders pass.
verdict() {
    if [ -z "$2" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1:"
        echo "$2" | sed 's/^/    /'
    fi
}
verdict "only leat_* may leave the library" \
    "$(nm -D --defined-only "$shared" | awk '$3 !~ /^leat_/ {print $3}')"
verdict "only libc, libm, libpthread and libdl may be needed" \
    "$(readelf -d "$shared" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|libm|libpthread|libdl|ld-linux-x86-64)\.so')"
# Constant tables that hold addresses (.data.rel.ro) are relocated once and then read only.
objects=$build/symbols
rm -rf "$objects" && mkdir -p "$objects" && (cd "$objects" && ar x ../libleat.a)
verdict "no writable global state" \
    "$(for object in "$objects"/*.o; do
        objdump -t "$object" | awk -v o="$(basename "$object")" \
            '/ O / && $(NF-2) ~ /^\.(data|bss|tdata|tbss)/ && $(NF-2) !~ /^\.data\.rel\.ro/ {print o, $NF, $(NF-2)}'
    done)"
rm -rf "$objects"
verdict "no printing, exiting or aborting" \
    "$(nm -A "$build/libleat.a" | grep -E ' U (v?f?printf|puts|fputs|putchar|perror|exit|_exit|abort|__assert_fail|__printf_chk|__fprintf_chk)$')"
verdict "memory comes from the context's allocator" \
    "$(nm -A "$build/libleat.a" | grep -E ' U (malloc|calloc|realloc|free|posix_memalign|aligned_alloc)$' | grep -v ':memory\.o:')"
strip -o "$build/stripped.so" "$shared"
size=$(stat -c %s "$build/stripped.so")
echo "stripped: $size bytes"
verdict "the stripped library is under 3 MB" "$([ "$size" -lt 3000000 ] || echo "$size bytes")"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
