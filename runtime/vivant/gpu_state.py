"""What the GPUs of this machine are, and how fast they run just now: clocks, power, temperature.

Read from the tools that come with the driver, and from files of a Jetson's system. A figure that
cannot be had is None. Nothing here opens a device or needs a library.
"""

from __future__ import annotations

import csv
import ctypes
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 5.0
"""For one answer of a tool. Where a driver hangs, its tools hang with it."""

_QUERIED = (
    "name",
    "driver_version",
    "compute_cap",
    "memory.total",
    "memory.used",
    "persistence_mode",
    "clocks.current.sm",
    "clocks.max.sm",
    "clocks.current.memory",
    "clocks.max.memory",
    "power.draw",
    "power.limit",
    "temperature.gpu",
)
_AS_CSV = "--format=csv,noheader,nounits"
_UNKNOWN = {"N/A", "Not Supported", "Unknown Error", "Not Found"}
_CLOCK = re.compile(
    r"^(GPU|EMC)\s+MinFreq=(\d+)\s+MaxFreq=(\d+)\s+CurrentFreq=(\d+)(?:\s+FreqOverride=(\d))?",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Card:
    """A GPU as ``nvidia-smi`` sees it.

    Attributes:
        name: of the product.
        driver: its version.
        capability: compute capability, such as "8.9".
        memory_mb: its memory in MiB.
        memory_used_mb: what all processes use of it.
        persistence: "Enabled" where the driver stays loaded between processes.
        sm_mhz: clock of the processors now; ``sm_max_mhz`` is the highest there is.
        memory_mhz: clock of the memory now; ``memory_max_mhz`` is the highest there is.
        power_w: power draw; ``power_limit_w`` is what it is held to.
        temperature_c: in degrees Celsius.
    """

    name: str
    driver: str | None
    capability: str | None
    memory_mb: float | None
    memory_used_mb: float | None
    persistence: str | None
    sm_mhz: float | None
    sm_max_mhz: float | None
    memory_mhz: float | None
    memory_max_mhz: float | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: float | None


@dataclass(frozen=True)
class Clock:
    """A clock of a Jetson in MHz: its range, what it is now, and whether it is held at the top."""

    least_mhz: float
    most_mhz: float
    now_mhz: float
    locked: bool


@dataclass(frozen=True)
class Board:
    """A Jetson.

    Attributes:
        name: of the board.
        release: of Jetson Linux, such as "R36.4.3"; None where it cannot be seen, as in some
            containers.
        jetpack: version of the JetPack packages, where they are installed.
        power_mode: such as "25W" or "MAXN_SUPER".
        clocks: by what they drive: "GPU", and "EMC" (the memory) where root asks.
    """

    name: str | None
    release: str | None
    jetpack: str | None
    power_mode: str | None
    clocks: Mapping[str, Clock]


def read_cards(notes: list[str]) -> tuple[Card, ...]:
    """Return every card that ``nvidia-smi`` lists; none where there is no such program.

    What it refuses or does not answer is added to ``notes``, one line each.
    """
    answer = _ask(notes, "nvidia-smi", f"--query-gpu={','.join(_QUERIED)}", _AS_CSV)
    if answer is None:
        return ()
    cards = []
    for line in csv.reader(answer.splitlines(), skipinitialspace=True):
        if len(line) == len(_QUERIED) and line[0]:
            cards.append(_card(line))
        elif line:
            notes.append(f"nvidia-smi: not an answer: {_shortened(','.join(line))}")
    return tuple(cards)


def read_board(notes: list[str], root: Path = Path("/")) -> Board | None:
    """Return what there is to know of a Jetson; None on any other machine.

    Args:
        notes: gets a line for each tool that refuses or does not answer.
        root: of the file system; another one for tests.
    """
    release = _text(root / "etc/nv_tegra_release")
    compatible = _text(root / "proc/device-tree/compatible") or ""
    if release is None and "nvidia,tegra" not in compatible:
        return None
    number = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release or "")
    mode = re.search(r"NV Power Mode:\s*(.+)", _ask(notes, "nvpmodel", "-q") or "")
    package = ("dpkg-query", "--show", "--showformat=${Version}", "nvidia-jetpack")
    return Board(
        name=board_name(root),
        release=f"R{number[1]}.{number[2]}" if number else None,
        jetpack=(_ask([], *package) or "").strip() or None,  # it may well not be installed
        power_mode=mode[1].strip() if mode else None,
        clocks=_clocks(notes, root),
    )


def board_name(root: Path = Path("/")) -> str | None:
    """Return what a single-board computer calls itself; None where it is no such thing."""
    return _text(root / "proc/device-tree/model")


def newest_cuda() -> str | None:
    """Return the newest version of CUDA that the driver runs, such as "12.6"; None without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0 or not number.value:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _card(line: Iterable[str]) -> Card:
    name, driver, capability, total, used, persistence, *figures = line
    return Card(
        name,
        _known(driver),
        _known(capability),
        _number(total),
        _number(used),
        _known(persistence),
        *map(_number, figures),
    )


def _clocks(notes: list[str], root: Path) -> dict[str, Clock]:
    """Return the clocks: all of them for root, else the GPU's, which anybody may read."""
    if os.geteuid() == 0:
        answer = _ask(notes, "jetson_clocks", "--show") or ""
        clocks = {
            name: _clock(float(least), float(most), float(now), override == "1")
            for name, least, most, now, override in _CLOCK.findall(answer)
        }
        if clocks:
            return clocks
    for folder in sorted((root / "sys/class/devfreq").glob("*gpu*")):
        figures = [_number(_text(folder / f"{key}_freq") or "") for key in ("min", "max", "cur")]
        least, most, now = figures
        if least is not None and most is not None and now is not None:
            return {"GPU": _clock(least, most, now)}
    return {}


def _clock(least: float, most: float, now: float, override: bool = False) -> Clock:
    """Return a clock of hertz; ``override`` holds it whatever its range says."""
    return Clock(least / 1e6, most / 1e6, now / 1e6, override or least == most)


def _ask(notes: list[str], *command: str) -> str | None:
    """Return what a tool prints; None where it is not here, or with a note where it fails.

    Its answer goes to a file, not a pipe: a pipe stays open as long as anything that the tool
    started, and reading it would wait for that however dead the tool is.
    """
    program = shutil.which(command[0])
    if program is None:
        return None
    with tempfile.TemporaryFile() as answer:
        try:
            process = subprocess.Popen(  # noqa: S603 - the names are in this file
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            notes.append(f"{command[0]}: {error.strerror or error}")
            return None
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            notes.append(
                f"{command[0]}: no answer within {TIMEOUT_S:g} s; if it hangs by hand too, the "
                "driver does: restart the machine"
            )
            return None
        answer.seek(0)
        text = answer.read().decode(errors="replace")
    if status:
        said = next(filter(None, map(str.strip, text.splitlines())), f"exit status {status}")
        notes.append(f"{command[0]}: {_shortened(said)}")
        return None
    return text


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a tool and what it started; one that the kernel does not let go is left to itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _known(text: str) -> str | None:
    """Return ``text``, or None for what the driver says where it has no answer."""
    return None if not text or text.strip("[]") in _UNKNOWN else text


def _number(text: str) -> float | None:
    with suppress(ValueError):
        number = float(text)
        if math.isfinite(number):
            return number
    return None


def _shortened(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= 120 else f"{printable[:117]}..."
