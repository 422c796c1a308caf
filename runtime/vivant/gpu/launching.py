"""How a function of ``kernels`` launches one: its source, and the checks that come before it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vivant.backends.device import Argument, Buffer, Device, Kernel, Shape, Stream

SOURCE = (files("vivant.gpu") / "kernels.cu").read_text("utf-8")
"""CUDA C++ of all kernels."""


def kernel(oracle: Callable[..., None], *outputs: int, name: str = "") -> Kernel:
    """Return the kernel of an oracle, whose name it has unless told otherwise."""
    return Kernel(name or oracle.__name__, SOURCE, oracle, outputs)


def short(buffer: Buffer) -> str:
    """Return what the names of kernels call a buffer's dtype: "u8" or "f32"."""
    names = {np.dtype(np.uint8): "u8", np.dtype(np.float32): "f32"}
    if buffer.dtype not in names:
        raise ValueError(f"resample: {buffer.dtype}; uint8 and float32 can be")
    return names[buffer.dtype]


def expect(name: str, buffer: Buffer, dtype: DTypeLike, shape: Shape) -> None:
    """Raise ``ValueError`` where a buffer, by its name in the signature, is something else."""
    if buffer.shape != tuple(shape) or buffer.dtype != dtype:
        raise ValueError(
            f"{name}: {buffer.dtype} {list(buffer.shape)}, not {np.dtype(dtype)} {list(shape)}"
        )


def expect_picture(picture: Buffer, mask: Buffer, target: Buffer | None = None) -> None:
    """Raise ``ValueError`` where picture, mask and target are not of one size."""
    expect("mask", mask, np.uint8, picture.shape[:2])
    expect("picture", picture, np.uint8, (*mask.shape, 3))
    if target is not None:
        expect("target", target, np.uint8, picture.shape)


def expect_within(x: int, y: int, size: Shape, whole: Shape) -> None:
    """Raise ``ValueError`` where a part, height and width at (x, y), is not within the whole."""
    if min(x, y) < 0 or y + size[0] > whole[0] or x + size[1] > whole[1]:
        raise ValueError(f"{size[1]}x{size[0]} at ({x}, {y}): not within {whole[1]}x{whole[0]}")


def launch(device: Device, kernel: Kernel, threads: int, stream: Stream, *arguments: Any) -> None:
    """Launch a kernel; whole numbers among the arguments become int32.

    Raises:
        ValueError: there would be 2^31 threads or more, beyond which kernels do not count.
    """
    if threads >= 2**31:
        raise ValueError(f"{kernel.name}: {threads} values, which are too many at once")
    given: list[Argument] = [
        np.int32(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    device.launch(kernel, threads, given, stream)
