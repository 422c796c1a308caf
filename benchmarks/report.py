"""How every benchmark reports: JSON rows and a plot of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows``, one object each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def plot(path: Path, runs: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw the milliseconds of every run as one box a name."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(8, 1 + 0.5 * len(runs)), layout="constrained")
    names = list(runs)[::-1]
    axes.boxplot(
        [runs[name] for name in names], orientation="horizontal", tick_labels=names, widths=0.5
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds")
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
