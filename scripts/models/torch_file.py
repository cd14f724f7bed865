# SPDX-License-Identifier: Apache-2.0
"""Reads weights from PyTorch's legacy .pth format without PyTorch and without running its pickles.

The file is five pickles in a row (magic number, protocol, system info, the object, the keys of the
storages), then each storage: its element count as 8 bytes, then the elements.  The unpickler makes
nothing but the four classes that a state dict of plain tensors needs.
"""
import collections
import pickle

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class Tensor:
    """A view of a storage: filled once the storages are read."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class Storage:
    def __init__(self, dtype):
        self.dtype = dtype


def rebuild_tensor(storage, offset, shape, strides, *_):
    key, dtype = storage
    return Tensor((key, dtype), offset, tuple(shape), tuple(strides))


ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch", "FloatStorage"): Storage(np.float32),
    ("torch", "LongStorage"): Storage(np.int64),
}


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError("%s.%s is not allowed in a file of weights" % (module, name))
        return ALLOWED[module, name]

    def persistent_load(self, pid):
        kind, storage, key, _device, _count = pid[:5]
        if kind != "storage":
            raise pickle.UnpicklingError("unknown persistent id %r" % (kind,))
        return key, storage.dtype


def read_state_dict(path):
    """Name -> numpy array."""
    with open(path, "rb") as f:
        if Unpickler(f).load() != MAGIC:
            raise ValueError("%s is not a legacy PyTorch file" % path)
        Unpickler(f).load()  # protocol
        Unpickler(f).load()  # system info
        state = Unpickler(f).load()
        keys = Unpickler(f).load()
        dtypes = {t.storage[0]: t.storage[1] for t in state.values()}
        storages = {}
        for key in keys:
            count = int(np.frombuffer(f.read(8), np.int64)[0])
            storages[key] = np.frombuffer(f.read(count * np.dtype(dtypes[key]).itemsize), dtypes[key])
    arrays = {}
    for name, t in state.items():
        flat = storages[t.storage[0]]
        strides = [s * flat.itemsize for s in t.strides]
        arrays[name] = np.ascontiguousarray(
            np.lib.stride_tricks.as_strided(flat[t.offset:], t.shape, strides))
    return arrays
