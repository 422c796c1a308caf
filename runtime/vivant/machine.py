"""What this machine computes with."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path

from vivant import gpu_state
from vivant.backends import usable_cores
from vivant.gpu_state import Board, Card


@dataclass(frozen=True)
class MachineState:
    """What this machine is, and how fast it runs just now; see ``gpu_state``.

    ``dataclasses.asdict`` makes it ready for JSON.

    Attributes:
        processor: its name, and how many cores this process may use.
        cuda: the newest version that the driver runs; None without a driver.
        cards: the GPUs that ``nvidia-smi`` lists.
        board: the Jetson that this is, if it is one.
        notes: what could not be read, and why, one line each.
    """

    processor: str
    cuda: str | None
    cards: tuple[Card, ...]
    board: Board | None
    notes: tuple[str, ...]


def state(root: Path = Path("/")) -> MachineState:
    """Return the machine's state now; takes as long as ``nvidia-smi`` does.

    Args:
        root: of the file system; another one for tests.
    """
    notes: list[str] = []
    cards = gpu_state.read_cards(notes)
    board = gpu_state.read_board(notes, root)
    return MachineState(processor(root), gpu_state.newest_cuda(), cards, board, tuple(notes))


def processor(root: Path = Path("/")) -> str:
    """Return the processor's name and how many of its cores this process may use.

    An ARM processor does not tell its name; the board's stands for it.
    """
    name = gpu_state.board_name(root) or platform.processor() or platform.machine()
    cpuinfo = root / "proc/cpuinfo"
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
