"""A module that stands in for ``tensorrt`` where there is no GPU; tests load it under that name.

It keeps the rules that NVIDIA documents: what returns False or None, what has to be set before
what, which shapes a profile takes, how errors reach the recorder. Its "plans" are ONNX files,
which ONNX Runtime computes on the CPU, on the host device's memory. So the whole of Vivant's
runner runs on them.

What it does not prove: that TensorRT builds or loads a plan, its results or its speed, that it
keeps its own rules, that a run can be recorded as a CUDA graph, or that another version behaves
alike. It has only names that are in ``tests/tensorrt_names.json``, beside those with an underscore.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import json

import numpy as np
import onnxruntime

__version__ = "10.3.0"
_MAGIC = b"fake plan\n"
_planted: list[str] = []  # names of methods that fail when they are called next
_calls: list[str] = []


def _plan(onnx: bytes, profiles=(), scratch: int = 64) -> bytes:
    """Return a plan; ``profiles`` give the smallest, usual and largest shape by input."""
    return _MAGIC + json.dumps([list(profiles), scratch]).encode() + b"\n" + onnx


def _fallible(failed):
    """Let a method note its call, and return ``failed`` with a reason where that is planted."""

    def wrap(method):
        @functools.wraps(method)
        def call(self, *arguments):
            _calls.append(method.__name__)
            if method.__name__ in _planted:
                _planted.remove(method.__name__)
                return self._fails(failed, f"planted in {method.__name__}")
            return method(self, *arguments)

        return call

    return wrap


class _Reporting:
    error_recorder = None

    def _fails(self, result, why):
        if self.error_recorder is not None:
            self.error_recorder.report_error(ErrorCodeTRT.UNSPECIFIED_ERROR, why)
        return result


class ErrorCodeTRT(enum.Enum):
    UNSPECIFIED_ERROR = 1


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    UINT8 = 5
    BF16 = 7


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


_NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT32: np.int32,
    DataType.UINT8: np.uint8,
}
_ONNX = {
    "tensor(float)": DataType.FLOAT,
    "tensor(float16)": DataType.HALF,
    "tensor(int32)": DataType.INT32,
    "tensor(uint8)": DataType.UINT8,
    "tensor(bfloat16)": DataType.BF16,
}


def nptype(dtype):
    if dtype not in _NUMPY:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return _NUMPY[dtype]


class Logger:
    INTERNAL_ERROR = 0

    def __init__(self, severity):
        self.min_severity = severity


class IErrorRecorder:
    pass


class IProfiler:
    pass


class Runtime(_Reporting):
    engine_host_code_allowed = False

    def __init__(self, logger):
        self.logger = logger

    @_fallible(None)
    def deserialize_cuda_engine(self, data):
        if not data.startswith(_MAGIC):
            return self._fails(None, "Serialization assertion kEXPECTED_MAGIC_TAG failed.")
        head, onnx = data[len(_MAGIC) :].split(b"\n", 1)
        return ICudaEngine(onnx, *json.loads(head), self.error_recorder)


class ICudaEngine(_Reporting):
    def __init__(self, onnx, profiles, scratch, recorder):
        self._session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        self._inputs = {each.name: each for each in self._session.get_inputs()}
        self._outputs = {each.name: each for each in self._session.get_outputs()}
        self._tensors = {**self._inputs, **self._outputs}
        self._profiles = profiles
        self.error_recorder = recorder
        self.device_memory_size_v2 = scratch
        self.num_io_tensors = len(self._tensors)
        self.num_optimization_profiles = max(len(profiles), 1)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return _ONNX[self._tensors[name].type]

    def get_tensor_shape(self, name):
        return tuple(s if isinstance(s, int) else -1 for s in self._tensors[name].shape)

    def get_tensor_profile_shape(self, name, profile_index):
        return [tuple(shape) for shape in self._profiles[profile_index][name]]

    @_fallible(None)
    def create_execution_context(self, strategy=ExecutionContextAllocationStrategy.STATIC):
        if isinstance(strategy, IRuntimeConfig):
            strategy = strategy._strategy
        return IExecutionContext(self, strategy)

    def create_runtime_config(self):
        return IRuntimeConfig()


class IRuntimeConfig(_Reporting):
    cuda_graph_strategy = CudaGraphStrategy.DISABLED
    _strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy):
        self._strategy = strategy

    def create_runtime_cache(self):
        return object()

    @_fallible(False)
    def set_runtime_cache(self, cache):
        return True


class IExecutionContext(_Reporting):
    profiler = None

    def __init__(self, engine, strategy):
        self._engine, self._strategy = engine, strategy
        self.error_recorder = engine.error_recorder
        self._profile = None
        self._memory = None
        self._addresses = {}
        self._shapes = {}
        self._told = 0  # how many addresses
        for name in engine._inputs:
            if -1 not in engine.get_tensor_shape(name):
                self._shapes[name] = engine.get_tensor_shape(name)

    def set_device_memory(self, memory, size):
        assert size >= self._engine.device_memory_size_v2
        self._memory = memory, size

    @_fallible(False)
    def set_optimization_profile_async(self, profile_index, stream_handle):
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            return self._fails(False, "there is no such profile")
        self._profile = profile_index
        return True

    @_fallible(False)
    def set_input_shape(self, name, shape):
        if name not in self._engine._inputs:
            return self._fails(False, f"{name} is not an input")
        if self._profile is None:
            return self._fails(False, "no profile is set")
        least, _, most = self._engine.get_tensor_profile_shape(name, self._profile)
        if len(shape) != len(least) or not all(
            low <= side <= high for low, side, high in zip(least, shape, most, strict=True)
        ):
            return self._fails(False, f"{name} {shape} is outside of the profile")
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self):
        _calls.append("infer_shapes")
        if "infer_shapes" in _planted:
            _planted.remove("infer_shapes")
            raise RuntimeError("planted in infer_shapes")
        missing = [name for name in self._engine._inputs if name not in self._shapes]
        if missing:
            return missing
        feeds = {
            name: np.zeros(self._shapes[name], nptype(self._engine.get_tensor_dtype(name)))
            for name in self._engine._inputs
        }
        results = self._engine._session.run(list(self._engine._outputs), feeds)
        for name, result in zip(self._engine._outputs, results, strict=True):
            self._shapes[name] = result.shape
        return []

    def get_tensor_shape(self, name):
        return self._shapes.get(name) or self._engine.get_tensor_shape(name)

    @_fallible(False)
    def set_tensor_address(self, name, memory):
        if name not in self._engine._tensors or not memory:
            return self._fails(False, f"{name} at {memory}")
        self._addresses[name] = memory
        self._told += 1
        return True

    @_fallible(False)
    def execute_async_v3(self, stream_handle):
        engine = self._engine
        if self._addresses.keys() != engine._tensors.keys():
            return self._fails(False, "an address is not set")
        if self._strategy is ExecutionContextAllocationStrategy.USER_MANAGED:
            if self._memory is None:
                return self._fails(False, "no memory for the activations")
            memory, size = self._memory
            ctypes.memset(memory, 0xAB, size)
        feeds = {name: self._array(name).copy() for name in engine._inputs}
        for name, result in zip(
            engine._outputs, engine._session.run(list(engine._outputs), feeds), strict=True
        ):
            self._array(name)[...] = result
        if self.profiler is not None:
            self.profiler.report_layer_time("all of it", 0.5)
        return True

    def _array(self, name):
        dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
        shape = self._shapes[name]
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_char * size).from_address(self._addresses[name])
        return np.frombuffer(raw, dtype).reshape(shape)
