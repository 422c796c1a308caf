"""How every benchmark reports: a table to read, JSON rows to keep, a plot of the runs.

A file of rows is a list of objects. Each has the keys of ``row``, ``None`` where there is nothing
to say, and whatever else its benchmark measured.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from vivant.backends import usable_cores
from vivant.machine import processor, state, version

Row: TypeAlias = dict[str, Any]

_LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "cuda-bindings",
    "pycuda",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
)


def row(
    stage: str,
    *,
    ours_ms: float | None = None,
    peer: str | None = None,
    peer_ms: float | None = None,
    ratio: float | None = None,
    parity: float | None = None,
    peak_mb: float | None = None,
    backend: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    **more: Any,
) -> Row:
    """Return one row, with the keys that every row has."""
    return {
        "stage": stage,
        "peer": peer,
        "ours_ms": ours_ms,
        "peer_ms": peer_ms,
        "ratio": ratio,
        "parity": parity,
        "peak_mb": peak_mb,
        "backend": backend,
        "precision": precision,
        "threads": threads,
        **more,
    }


def parser(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark that times stages.

    Args:
        description: the benchmark's docstring; its first line is shown.
        rounds: how many there are unless told otherwise.
    """
    options = common_parser(description)
    options.add_argument("--only", metavar="STAGE", help="report this stage alone")
    options.add_argument("--rounds", type=int, default=rounds, help="counted runs")
    return options


def common_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    options = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    options.add_argument("--store", type=Path, metavar="FOLDER", help="engines of yours")
    options.add_argument("--threads", type=int, default=usable_cores(), help="processors to use")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    options.add_argument("--plot", type=Path, metavar="FILE", help="write a PNG to this file")
    return options


def percentile(values: Sequence[float], share: float, digits: int = 2) -> float:
    """Return the smallest of ``values`` that ``share`` (0..1) of them do not exceed, rounded."""
    return round(sorted(values)[math.ceil(share * len(values)) - 1], digits)


def median(values: Sequence[float]) -> float:
    """Return the median, to a hundredth."""
    return round(statistics.median(values), 2)


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows``, one object each, and into each what it was measured on.

    A row that has a "state" keeps it: it was taken while the measurement was still warm.
    """
    versions = {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
    where = {"machine": processor(), "libraries": {k: v for k, v in versions.items() if v}}
    now = asdict(state())
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = [{**each, **where, "state": each.get("state", now)} for each in rows]
    path.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")


def speeds(found: Mapping[str, Any]) -> list[str]:
    """Return a line for each GPU of a machine's state: what it is, and how fast it may run."""
    lines = [
        "{name}, driver {driver}, {sm_mhz} of {sm_max_mhz} MHz, memory {memory_mhz} of "
        "{memory_max_mhz} MHz, {power_w} of {power_limit_w} W, {temperature_c} degrees".format(
            **{key: "?" if value is None else _plain(value) for key, value in card.items()}
        )
        for card in found["cards"]
    ]
    if board := found["board"]:
        clocks = [
            f"{name} {_plain(clock['now_mhz'])} of {_plain(clock['least_mhz'])}.."
            f"{_plain(clock['most_mhz'])} MHz{', locked' if clock['locked'] else ''}"
            for name, clock in board["clocks"].items()
        ]
        facts = [board["name"], board["release"], board["power_mode"], *clocks]
        lines.append(", ".join(filter(None, facts)))
    return lines


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def table(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Return a plain-text table: the first column to the left, the others to the right."""
    cells = [[_cell(value) for value in line] for line in [header, *lines]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def text(line: Sequence[str]) -> str:
        first, *others = zip(line, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(value.rjust(width) for value, width in others)]
        return "  " + "  ".join(padded).rstrip()

    return "\n".join(map(text, cells))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def plot(path: Path, runs: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw the milliseconds of every run as one box a name."""
    figure, axes = _axes(1 + 0.5 * len(runs), title)
    names = list(runs)[::-1]
    axes.boxplot(
        [runs[name] for name in names], orientation="horizontal", tick_labels=names, widths=0.5
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def plot_bars(path: Path, groups: Mapping[str, Mapping[str, float]], title: str, unit: str) -> None:
    """Draw one group of bars a name, one bar a key within it; a gain is above zero."""
    keys = list(next(iter(groups.values())))
    figure, axes = _axes(1.5 + 0.2 * len(groups) * (len(keys) + 1), title)
    height = 0.8 / len(keys)
    for number, key in enumerate(keys):
        places = [index + number * height for index in range(len(groups))]
        axes.barh(places, [group[key] for group in groups.values()], height * 0.9, label=key)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(groups))], list(groups))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(unit)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(keys), frameon=False)
    _save(figure, path)


def plot_course(path: Path, values: Sequence[float], title: str, unit: str) -> None:
    """Draw ``values`` in the order in which they came, from zero."""
    figure, axes = _axes(3.5, title)
    axes.plot(range(1, len(values) + 1), values)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("pictures")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _axes(height: float, title: str) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    axes.set_title(title)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
