#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# newest_cases.sh BUILD: the node cases of the newest onnx (scripts/requirements-newest.txt), whose package
# generates them instead of holding them, through `leat test`. They are generated once, with an environment of
# their own; some of their data is random, so that a run may hold other numbers than the last.
set -eu
root=$(dirname "$0")/..
cases=$root/build/newest_cases
"$root/scripts/setup_venv.sh" venv-newest scripts/requirements-newest.txt
if ! cmp -s "$root/scripts/requirements-newest.txt" "$cases/requirements.ok"; then
    rm -rf "$cases"
    mkdir -p "$cases/node"
    "$root/build/venv-newest/bin/python" -W ignore "$root/scripts/newest_cases.py" "$cases/node"
    cp "$root/scripts/requirements-newest.txt" "$cases/requirements.ok"
fi
skips=$cases/skips.txt
cat "$root/scripts/node_cases_skips.txt" "$root/scripts/newest_cases_skips.txt" >"$skips"
exec "$root/scripts/run_cases.sh" "$1" "$skips" "$cases/node"
