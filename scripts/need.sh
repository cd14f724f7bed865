#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# need.sh NAME PACKAGE: makes sure that a C header (NAME ends with .h) or a command is there, by apt when run as root.
set -eu
name=$1 package=$2
have() {
    case $name in
    *.h) printf '#include <stdio.h>\n#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <%s>\n' "$name" | ${CC:-cc} -E -x c - >/dev/null 2>&1 ;;
    *) command -v "$name" >/dev/null ;;
    esac
}
have && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package" >/dev/null
    have && exit 0
fi
echo "leat: $name is missing. Install the package $package (Debian) and run make again." >&2
exit 1
