#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node_cases_table.sh BUILD: the cases of onnx that are skipped, by operator and reason, as the tables in
# tests/conformance/SKIPPED.md:  scripts/node_cases_table.sh build >tests/conformance/SKIPPED.md
set -eu
scripts=$(dirname "$0")

# table TITLE COMMAND...
table() {
    title=$1
    shift
    out=$("$@") || true
    echo
    echo "## $title"
    echo
    echo "All cases: $(echo "$out" | tail -n 1)."
    echo
    echo "| cases | operator | why |"
    echo "|---|---|---|"
    echo "$out" | sed -n 's/^skipped //p' | awk '{
        case_name = $1; sub(/:$/, "", case_name)
        reason = $0; sub(/^[^:]*: /, "", reason)
        sub(/^.*model\.onnx.: /, "", reason)
        op = "-"
        if (match(reason, /\([A-Za-z0-9.]+\): /)) {
            op = substr(reason, RSTART + 1, RLENGTH - 4)
            reason = substr(reason, RSTART + RLENGTH)
        }
        if (op == "-") { op = case_name; sub(/^test_/, "", op); sub(/_.*/, "", op) }
        key = op " | " reason
        count[key]++
    } END { for (key in count) print "| " count[key] " | " key " |" }' | sort -t '|' -k2,2nr -k3
}

echo "# Cases of onnx that are skipped"
echo
echo "Made by \`scripts/node_cases_table.sh\`; not to be edited."
table "Node cases of onnx 1.22.0" "$scripts/node_cases.sh" "$1" node
table "simple, pytorch-operator, pytorch-converted and light_* of onnx 1.22.0" "$scripts/node_cases.sh" "$1" other
table "Node cases of onnx 1.23.2" "$scripts/newest_cases.sh" "$1"
