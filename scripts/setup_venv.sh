#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup_venv.sh [VENV REQUIREMENTS]: makes build/VENV with the packages of the file REQUIREMENTS; by default
# build/venv with scripts/requirements.txt. Quick when it is there already.
set -eu
root=$(dirname "$0")/..
venv=$root/build/${1:-venv}
requirements=$root/${2:-scripts/requirements.txt}
stamp=$venv/requirements.ok
cmp -s "$requirements" "$stamp" && exit 0
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q python3-venv >/dev/null
    else
        echo "leat: python3's venv module is missing. Install python3-venv (Debian) and try again." >&2
        exit 1
    fi
fi
python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements"
cp "$requirements" "$stamp"
