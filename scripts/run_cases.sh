#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_cases.sh BUILD SKIPS FOLDER...: the cases in the folders through `leat test`, without those that the
# file SKIPS names with a reason. Ends with "N passed, N failed, N skipped".
set -eu
build=$1 skips=$2
shift 2
status=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
find "$@" -mindepth 1 -maxdepth 1 -type d | sort >"$out.all"
awk -v skips="$skips" -v named="$out.named" 'BEGIN {
        printf "" >named
        while ((getline line < skips) > 0) { split(line, word, " "); no[word[1]] = line }
    }
    { name = $0; sub(/.*\//, "", name); if (name in no) { print no[name] >named } else print }' "$out.all" |
    xargs -s 1000000 -x "$build/leat" test >"$out" || status=$?
sed '$d' "$out"
sed 's/ /: /; s/^/skipped /' "$out.named"
tail -n 1 "$out" | awk -v more="$(wc -l <"$out.named")" '{ print $1, $2, $3, $4, $5 + more, $6 }'
rm -f "$out.all" "$out.named"
exit $status
