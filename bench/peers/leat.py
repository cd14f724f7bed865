# SPDX-License-Identifier: Apache-2.0
"""As much of leat's C API as the benchmark needs, through ctypes and the shared library."""
import ctypes as c

import numpy as np

DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 252)]


class Array(c.Structure):
    _fields_ = [("dtype", c.c_int), ("rank", c.c_int32), ("shape", c.c_int64 * 8), ("data", c.c_void_p),
                ("bytes", c.c_size_t)]


class Io(c.Structure):
    _fields_ = [("name", c.c_char_p), ("dtype", c.c_int), ("rank", c.c_int32), ("shape", c.c_int64 * 8),
                ("dim_names", c.c_char_p * 8)]


class Signature(c.Structure):
    _fields_ = [("n_inputs", c.c_size_t), ("inputs", c.POINTER(Io)), ("n_outputs", c.c_size_t),
                ("outputs", c.POINTER(Io))]


class ContextDesc(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("allocator", c.c_void_p), ("log", c.c_void_p),
                ("log_user", c.c_void_p), ("log_level", c.c_int), ("threads", c.c_int32),
                ("spin_us", c.c_int32), ("plugin_directory", c.c_char_p), ("memory_budget", c.c_uint64)]


class SessionDesc(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("devices", c.c_void_p), ("n_devices", c.c_size_t), ("fallback", c.c_int),
                ("precision", c.c_int), ("max_plans", c.c_uint32), ("cache_directory", c.c_char_p),
                ("progress", c.c_void_p), ("progress_user", c.c_void_p), ("profile", c.c_int32),
                ("plain_algorithms", c.c_int32), ("no_graphs", c.c_int32)]


PRECISIONS = {"model": 0, "f32": 1, "bf16": 2, "f16": 3, "auto": 4, "tf32": 5}  # leat_precision


def load(library):
    return c.CDLL(library)


class Session:
    """A context of `threads` threads, a model, a session. spin_us as in leat_context_desc; precision one of
    PRECISIONS; plain: plain algorithms only; device: a name such as "cuda:0" (its plugin lies in the folder
    `plugins`)."""

    def __init__(self, library, path, threads, spin_us=0, precision="model", plain=False, device=None, plugins=None):
        self.lib, self.err = load(library), Error()
        self.context, self.model, self.session = c.c_void_p(), c.c_void_p(), c.c_void_p()
        self.lib.leat_model_io.restype = c.POINTER(Signature)
        self.lib.leat_model_io.argtypes = [c.c_void_p]
        desc = ContextDesc(struct_size=c.sizeof(ContextDesc), threads=threads, spin_us=spin_us,
                           plugin_directory=plugins.encode() if plugins else None)
        e = c.byref(self.err)
        self.check(self.lib.leat_context_create(c.byref(desc), c.byref(self.context), e))
        self.check(self.lib.leat_model_load(self.context, path.encode(), None, c.byref(self.model), e))
        options = SessionDesc(struct_size=c.sizeof(SessionDesc), precision=PRECISIONS[precision],
                              plain_algorithms=int(plain))
        self.tensors, self.device = {}, (device or "cpu").encode()
        if device:
            names = (c.c_char_p * 1)(self.device)
            options.devices, options.n_devices = c.cast(names, c.c_void_p), 1
        self.check(self.lib.leat_session_create(self.model, c.byref(options), c.byref(self.session), e))
        self.io = self.lib.leat_model_io(self.model).contents

    def check(self, status):
        if status:
            raise RuntimeError(self.err.message.decode())

    def inputs(self):
        """(name, dtype, dims) of each input; a dim is a number or a name."""
        result = []
        for i in range(self.io.n_inputs):
            x = self.io.inputs[i]
            dims = [x.shape[d] if x.shape[d] >= 0 else (x.dim_names[d] or b"?").decode() for d in range(x.rank)]
            result.append((x.name.decode(), DTYPES[x.dtype], dims))
        return result

    def describe(self, x):
        """A leat_array of a numpy array."""
        a = Array(next(k for k, v in DTYPES.items() if v == x.dtype), x.ndim, data=x.ctypes.data, bytes=x.nbytes)
        a.shape[:x.ndim] = x.shape
        return a

    def place(self, x):
        """A tensor on the session's device that holds a copy of x, as long as the session lives."""
        made, host = c.c_void_p(), c.c_void_p()
        array, e = self.describe(x), c.byref(self.err)
        self.check(self.lib.leat_tensor_create(self.context, self.device, array.dtype, array.rank, array.shape,
                                               c.byref(made), e))
        self.check(self.lib.leat_tensor_wrap(self.context, b"cpu", c.byref(array), c.byref(host), e))
        status = self.lib.leat_tensor_copy(made, host, e)
        self.lib.leat_tensor_destroy(host)
        self.check(status)
        self.tensors[made.value] = x.shape, x.dtype
        return made

    def bind(self, name, tensor):
        """Binds what place made to an input or output; None unbinds."""
        self.check(self.lib.leat_session_bind(self.session, name.encode(), tensor, c.byref(self.err)))

    def read(self, tensor):
        """A copy of what a tensor of place holds."""
        shape, dtype = self.tensors[tensor.value]
        x, host, e = np.empty(shape, dtype), c.c_void_p(), c.byref(self.err)
        self.check(self.lib.leat_tensor_wrap(self.context, b"cpu", c.byref(self.describe(x)), c.byref(host), e))
        status = self.lib.leat_tensor_copy(host, tensor, e)
        self.lib.leat_tensor_destroy(host)
        self.check(status)
        return x

    def run_bound(self):
        """Runs with all inputs and outputs bound."""
        self.check(self.lib.leat_session_run(self.session, None, c.c_size_t(0), None, c.c_size_t(0), c.byref(self.err)))

    def close(self):
        self.lib.leat_session_destroy(self.session)
        for tensor in self.tensors:
            self.lib.leat_tensor_destroy(c.c_void_p(tensor))
        self.lib.leat_model_destroy(self.model)
        self.lib.leat_context_destroy(self.context)
        self.session = self.model = self.context = None

    def prepare(self, feeds, into=None):
        """A function that runs the session on these arrays and returns copies of the outputs on demand.  into: arrays
        that outputs are written to, by the outputs' numbers."""
        arrays = (Array * len(feeds))()
        outs = (Array * self.io.n_outputs)()
        for i, x in enumerate(feeds):  # None: bound
            if x is not None:
                arrays[i] = self.describe(x)
        for i, x in (into or {}).items():
            outs[i].data, outs[i].bytes = x.ctypes.data, x.nbytes
        run, session, err = self.lib.leat_session_run, self.session, c.byref(self.err)
        n_in, n_out = c.c_size_t(len(feeds)), c.c_size_t(len(outs))

        def call():
            status = run(session, arrays, n_in, outs, n_out, err)
            if status:
                self.check(status)

        def results():
            return [np.frombuffer(c.string_at(o.data, o.bytes), DTYPES[o.dtype]).reshape(o.shape[:o.rank]).copy()
                    for o in outs]

        def view(i):
            """Output i where it is, until the next call."""
            o = outs[i]
            count = o.bytes // np.dtype(DTYPES[o.dtype]).itemsize
            data = (c.c_char * o.bytes).from_address(o.data)
            return np.frombuffer(data, DTYPES[o.dtype], count).reshape(o.shape[:o.rank])

        call.keep, call.results, call.view = (feeds, arrays, into), results, view
        return call
