"""Inference libraries behind one face: ``run(inputs) -> outputs``, imported when first used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


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
