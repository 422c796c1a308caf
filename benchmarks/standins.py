"""Stand-ins for packages that a peer imports without using them in what is timed.

They would bring gigabytes (torchvision, its CUDA) or a compiler (pymatting, its numba) along.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def supply(modules: Mapping[str, Mapping[str, Callable[..., Any]]]) -> None:
    """Make modules with these functions importable, each with the packages that lead to it."""
    for path, functions in modules.items():
        vars(_module(path)).update(functions)


def unused(names: Iterable[str]) -> dict[str, Callable[..., None]]:
    """Return functions of these names that do nothing."""
    return {name: lambda *_, **__: None for name in names}


def _module(path: str) -> types.ModuleType:
    if path not in sys.modules:
        sys.modules[path] = types.ModuleType(path)
        package, _, name = path.rpartition(".")
        if package:
            setattr(_module(package), name, sys.modules[path])
    return sys.modules[path]
