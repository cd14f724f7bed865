#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node_cases.sh BUILD: the 1,765 node cases of onnx 1.22.0, expanded functions among them,
# through `leat test`. A skipped case names the operator or type that leat does not have, or is one of
# node_cases_skips.txt, which no correct result can match.
set -eu
root=$(dirname "$0")/..
skips=$root/scripts/node_cases_skips.txt
"$root/scripts/setup_venv.sh"
folder=$("$root/build/venv/bin/python" -c 'import onnx, os
print(os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "node"))')
status=0
find "$folder" -mindepth 1 -maxdepth 1 -type d | sort |
    awk -v skips="$skips" 'BEGIN { while ((getline line < skips) > 0) { split(line, word, " "); no[word[1]] = 1 } }
        { name = $0; sub(/.*\//, "", name); if (!(name in no)) print }' |
    xargs -s 1000000 -x "$1/leat" test >"$1/node_cases.out" || status=$?
sed '$d' "$1/node_cases.out"
sed 's/ /: /; s/^/skipped /' "$skips"
tail -n 1 "$1/node_cases.out" | awk -v more="$(wc -l <"$skips")" '{ print $1, $2, $3, $4, $5 + more, $6 }'
exit $status
