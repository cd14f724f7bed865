#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# metrics_check.sh BUILD: a real Prometheus scrapes examples/metrics and is asked for what it read; promtool finds no fault.
# Ends with "N passed, N failed, N skipped".
set -eu
root=$(dirname "$0")/..
"$root/scripts/setup_venv.sh"
if ! command -v prometheus >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends prometheus) >/dev/null 2>&1 || true
fi
if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    echo "skipped: Prometheus is not there: install the package prometheus"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
exec "$root/build/venv/bin/python" "$root/scripts/metrics_check.py" "$1"
