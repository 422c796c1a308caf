"""What a graph reads and writes, and whether the buffers that are to be bound are that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from vivant.backends.device import Buffer
from vivant.errors import EngineError

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")

Placed: TypeAlias = tuple[tuple[Buffer, int, tuple[int, ...]], ...]
"""Where every port lies: its allocation, address and shape. Equal where nothing has moved."""


@dataclass(frozen=True)
class Port:
    """An input or output of an opened graph; a side that is free is None."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    is_input: bool

    def takes(self, shape: Iterable[int]) -> bool:
        """Return whether it can have this shape, as far as its own says."""
        sides = tuple(shape)
        return len(sides) == len(self.shape) and all(
            own in (None, side) for own, side in zip(self.shape, sides, strict=True)
        )

    def described(self) -> str:
        """Return its dtype and shape for a message, such as "float32 [any, 3]"."""
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.dtype} [{sides}]"


def place(ports: Iterable[Port], buffers: Mapping[str, Buffer], name: str) -> Placed:
    """Return where ``buffers`` place the ports of the graph called ``name``.

    Raises:
        EngineError: they are not exactly the graph's by name, dtype and fixed sides.
    """
    known = {port.name: port for port in ports}
    if known.keys() != buffers.keys():
        raise EngineError(
            f"{name}: takes {', '.join(known)}, not {', '.join(buffers) or 'nothing'}; "
            "bind exactly these"
        )
    for port in known.values():
        buffer = buffers[port.name]
        if buffer.dtype != port.dtype or not port.takes(buffer.shape):
            raise EngineError(
                f"{name}: '{port.name}' is {port.described()}, not {buffer.dtype} "
                f"{list(buffer.shape)}; bind a buffer that fits"
            )
    return tuple(
        (buffers[each].allocation, buffers[each].pointer, buffers[each].shape) for each in known
    )


def recall(kept: OrderedDict[Key, Kept], key: Key, make: Callable[[], Kept], most: int) -> Kept:
    """Return what is kept under ``key``, made where it is new; the ``most`` last used stay."""
    if key not in kept:
        made = make()
        while len(kept) >= most:
            kept.popitem(last=False)
        kept[key] = made
    kept.move_to_end(key)
    return kept[key]
