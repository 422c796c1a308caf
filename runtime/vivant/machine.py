"""What this machine computes with."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from vivant.backends import usable_cores


def processor() -> str:
    """Return the processor's name and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        fields = (line.partition(":") for line in cpuinfo.read_text("utf-8").splitlines())
        names = (value.strip() for key, _, value in fields if key.strip() == "model name")
        name = next(names, name)
    return f"{name}, {usable_cores()} cores"


def version(library: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
