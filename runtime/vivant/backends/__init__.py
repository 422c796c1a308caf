"""Inference libraries behind one face: ``run(inputs) -> outputs``, imported when first used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray
from typing_extensions import Self

Opened = TypeVar("Opened")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class Closing:
    """A thing that holds resources: ``close()`` gives them back, and so does leaving ``with``."""

    def close(self) -> None:
        """Give back what is held; the object cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Engine(Protocol):
    """An opened graph.

    An engine never falls back in silence: where what was asked for cannot be had, opening it
    raises ``BackendError``.
    """

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute every output, by name, from ``inputs``, by name."""
        ...

    def close(self) -> None:
        """Give back what the engine holds; it cannot run afterwards."""
        ...
