#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-format.sh: clang-format 14 finds nothing to change.
set -u
cd "$(dirname "$0")/.." || exit 1
tool=$(command -v clang-format-14 || command -v clang-format)
if [ -z "$tool" ] && [ "$(id -u)" = 0 ]; then
    apt-get install -y -q clang-format-14 >/dev/null 2>&1
    tool=$(command -v clang-format-14)
fi
[ -n "$tool" ] || { echo "clang-format 14 is missing: install clang-format-14"; exit 1; }
passed=0 failed=0
for file in $(git ls-files '*.c' '*.h' '*.cpp' '*.hpp'); do
    if "$tool" --dry-run -Werror "$file" 2>/tmp/leat-format.$$; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        head -3 /tmp/leat-format.$$
    fi
done
rm -f /tmp/leat-format.$$
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
