# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime held to AVX2, or to AVX2 and AVX-VNNI, on a machine that has AVX-512: the peers ort-avx2 and
ort-avxvnni.

MLAS takes its kernels by CPUID, has no option for less, and CPUID cannot be made to fault in a virtual
machine.  So a copy of the package is made whose CPUID instructions, found by objdump, are UD2, and
no_avx512.c answers them.  The copy's other files are links; it is made once per build of the package.
"""
import ctypes
import importlib.util
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "..", "build", "ort-avx2")
EXTENSION = "onnxruntime_pybind11_state"


def link_package(package, copy):
    """Links to all files of the package but the extension; returns the extension's path."""
    found = None
    for folder, _, files in os.walk(package):
        to = os.path.join(copy, os.path.relpath(folder, package))
        os.makedirs(to, exist_ok=True)
        for file in files:
            if file.startswith(EXTENSION):
                found = os.path.join(folder, file)
            elif not os.path.lexists(os.path.join(to, file)):
                os.symlink(os.path.join(folder, file), os.path.join(to, file))
    return found


def cpuid_offsets(path):
    """Where in the file its CPUID instructions are."""
    headers = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    loads = [[int(n, 16) for n in line.split()[1:5]] for line in headers.splitlines() if " LOAD " in line]
    code = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", path], stdout=subprocess.PIPE, text=True)
    for line in code.stdout:
        at = re.match(r"\s*([0-9a-f]+):\s+cpuid\b", line)
        if at:
            address = int(at.group(1), 16)
            offset, begin = next((o, v) for o, v, _, size in loads if v <= address < v + size)
            yield address - begin + offset


def patch(path, target):
    with open(path, "rb") as f:
        data = bytearray(f.read())
    offsets = list(cpuid_offsets(path))
    for at in offsets:
        if data[at:at + 2] != b"\x0f\xa2":
            raise RuntimeError("%s: no CPUID at %#x" % (path, at))
        data[at:at + 2] = b"\x0f\x0b"
    if not offsets:
        raise RuntimeError("%s: no CPUID found" % path)
    with open(target + ".tmp", "wb") as f:
        f.write(data)
    os.replace(target + ".tmp", target)


def prepare(avx_vnni):
    """Makes what is missing, installs the handler and puts the copy first on the path: a following
    `import onnxruntime` gets it, and may see AVX-VNNI or not."""
    package = os.path.dirname(importlib.util.find_spec("onnxruntime").origin)
    copy = os.path.join(FOLDER, "onnxruntime")
    extension = link_package(package, copy)
    target = os.path.join(copy, os.path.relpath(extension, package))
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(extension):
        patch(extension, target)
    handler, source = os.path.join(FOLDER, "no_avx512.so"), os.path.join(HERE, "no_avx512.c")
    if not os.path.exists(handler) or os.path.getmtime(handler) < os.path.getmtime(source):
        subprocess.run(os.environ.get("CC", "cc").split() + ["-O2", "-shared", "-fPIC", source, "-o", handler],
                       check=True)
    ctypes.c_int.in_dll(ctypes.CDLL(handler), "keep_avx_vnni").value = avx_vnni
    sys.path.insert(0, FOLDER)
