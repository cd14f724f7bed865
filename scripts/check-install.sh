#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-install.sh BUILD: installs into BUILD/stage and builds examples/hello.c against that tree, in C and
# in C++, shared and static, through pkg-config; runs each on the demo's model. Builds the other examples as
# their heads say; finds a plugin that was put beside the library's; removes all but that.
set -u
build=$1
root=$(cd "$(dirname "$0")/.." && pwd)
stage=$(mkdir -p "$build/stage" && cd "$build/stage" && pwd)
passed=0 failed=0
check() {
    local what=$1
    shift
    if "$@" >"$stage/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        sed 's/^/    /' "$stage/log"
    fi
}

rm -rf "$stage"/*
check "make install" make -s -C "$root" BUILD="$(cd "$build" && pwd | sed "s|^$root/||")" \
    DESTDIR="$stage" prefix=/usr libdir=/usr/lib install
export PKG_CONFIG_PATH=$stage/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
version=$(sed -n 's/^.define LEAT_VERSION_[A-Z]* \([0-9]*\)$/\1/p' "$root/include/leat/leat.h" | paste -sd.)
check "leat.pc has version $version" pkg-config --exact-version="$version" leat
check "the soname is the major version" grep -q "libleat.so.${version%%.*}\]" \
    <(readelf -d "$stage/usr/lib/libleat.so")
model=$root/build/models/efficientnet-lite0.onnx
for language in c c++; do
    compiler=$([ $language = c ] && echo "${CC:-cc}" || echo "${CXX:-c++}")
    check "$language, shared: build" $compiler -x $language "$root/examples/hello.c" -o "$stage/hello-$language" \
        $(pkg-config --cflags --libs leat)
    check "$language, shared: run" env LD_LIBRARY_PATH="$stage/usr/lib" "$stage/hello-$language" "$model"
    check "$language, static: build" $compiler -x $language "$root/examples/hello.c" -x none \
        -o "$stage/hello-$language-static" $(pkg-config --cflags leat) "$stage/usr/lib/libleat.a" \
        $(pkg-config --static --libs-only-other leat) -lm -ldl -pthread
    check "$language, static: run" "$stage/hello-$language-static" "$model"
done
cp -r "$root/examples" "$stage"
for source in "$stage"/examples/*.c; do
    line=$(sed -n 's|^ \* Build:  *||p' "$source" | sed 's| \*/$||')
    [ -z "$line" ] || check "$(basename "$source"): built as its head says" sh -c "cd '$stage/examples' && $line"
done
own=$stage/usr/lib/leat/libleat_skeleton.so
check "a plugin in the installed tree is found" sh -c "mv '$stage/examples/libleat_skeleton.so' '$own' &&
    '$stage/usr/bin/leat' devices --plugins '$stage/usr/lib/leat' | grep -q '^skeleton .*an example'"
check "make uninstall" make -s -C "$root" DESTDIR="$stage" prefix=/usr libdir=/usr/lib uninstall
check "nothing but that plugin is left" [ "$(find "$stage/usr" ! -type d)" = "$own" ]
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
