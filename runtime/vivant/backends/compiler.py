"""CUDA source to machine code, by NVIDIA's run-time compiler NVRTC; needs no GPU.

Machine code is kept in a folder of the user's, so that a process that starts later does not
compile it again: ``$VIVANT_CUBINS``, else ``cubins/`` of the user's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import platformdirs

from vivant.errors import DeviceError, OutputError
from vivant.files import one_line, write_atomic

OPTIONS = ("--std=c++17", "--fmad=false")
"""For every GPU. Contracted, a product and a sum would round once, and not as in NumPy."""

_DIGEST = hashlib.sha256


def cubin(source: str, capability: tuple[int, int]) -> bytes:
    """Compile CUDA C++ for one compute capability.

    Args:
        source: all there is; nothing is included.
        capability: of the GPU, such as (8, 9).

    Raises:
        DeviceError: NVRTC is not installed or does not know this GPU, or the source is wrong.
    """
    nvrtc = _nvrtc()
    options = [f"--gpu-architecture=sm_{capability[0]}{capability[1]}", *OPTIONS]
    major, minor = _done(nvrtc, nvrtc.nvrtcVersion())
    what = "\n".join([f"NVRTC {major}.{minor}", *options, source])
    path = default_folder() / f"{_DIGEST(what.encode()).hexdigest()}.cubin"
    if (kept := _read(path)) is not None:
        return kept
    known = [f"{number[0]}.{number[1]}" for number in architectures()]
    if (wanted := f"{capability[0]}.{capability[1]}") not in known:
        raise DeviceError(
            f"compute capability {wanted}: NVRTC {major}.{minor} compiles for {', '.join(known)}; "
            "install the one of a CUDA version that knows this GPU"
        )
    code = _compile(nvrtc, source, options)
    _keep(path, code)
    return code


def architectures() -> tuple[tuple[int, int], ...]:
    """Return the compute capabilities that the installed NVRTC compiles for.

    Raises:
        DeviceError: it is not installed.
    """
    nvrtc = _nvrtc()
    return tuple(divmod(int(number), 10) for number in _done(nvrtc, nvrtc.nvrtcGetSupportedArchs()))


def default_folder() -> Path:
    """Return where machine code is kept."""
    if named := os.environ.get("VIVANT_CUBINS"):
        return Path(named)
    return platformdirs.user_cache_path("vivant") / "cubins"


def _nvrtc() -> Any:  # a module, of a library without types
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()  # only a call loads the library
    except (ImportError, RuntimeError) as error:
        raise DeviceError(
            f"NVRTC is not here ({one_line(str(error))}); run pip install 'vivant[cuda]', on a "
            "Jetson install CUDA with JetPack"
        ) from error
    return nvrtc


def _compile(nvrtc: Any, source: str, options: list[str]) -> bytes:
    program = _done(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), b"vivant.cu", 0, [], []))
    try:
        given = [option.encode() for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(given), given)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise DeviceError(f"CUDA source: {_complaint(nvrtc, program) or status.name}")
        code = bytearray(_done(nvrtc, nvrtc.nvrtcGetCUBINSize(program)))
        _done(nvrtc, nvrtc.nvrtcGetCUBIN(program, code))
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _complaint(nvrtc: Any, program: Any) -> str:
    """Return the first line of the compiler's log that tells of an error."""
    log = bytearray(_done(nvrtc, nvrtc.nvrtcGetProgramLogSize(program)))
    _done(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
    lines = log.rstrip(b"\0").decode(errors="replace").splitlines()
    return one_line(next((line for line in lines if "error" in line), ""))


def _done(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    """Return what a call answers beside its status."""
    status, *values = answer
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise DeviceError(f"NVRTC: {status.name}")
    return values[0] if len(values) == 1 else values


def _read(path: Path) -> bytes | None:
    """Return machine code that is kept, if what is there is what was written.

    Its hash stands before it: a GPU does not check what it runs.
    """
    try:
        held = path.read_bytes()
    except OSError:
        return None
    size = _DIGEST().digest_size
    return held[size:] if _DIGEST(held[size:]).digest() == held[:size] else None


def _keep(path: Path, code: bytes) -> None:
    """Keep machine code, where that can be done; else the next process compiles it again."""
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _DIGEST(code).digest() + code)
