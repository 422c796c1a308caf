"""What a comparison with an original is: its settings, its row, its lines, its bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interleave import Timing, median_ratio
from report import Row, row
from vivant.store import EngineStore


@dataclass(frozen=True)
class Settings:
    """What every comparison is told.

    Attributes:
        store: of our engines; the originals get the weights that its manifests name.
        threads: for each contender.
        rounds: of fast contenders; slow ones take fewer.
    """

    store: EngineStore
    threads: int
    rounds: int

    def rounds_over(self, divisor: int) -> int:
        """Return a share of the rounds, one at least."""
        return max(1, self.rounds // divisor)


@dataclass(frozen=True)
class Parity:
    """How far apart two results are: a number, and in words what it is.

    ``value`` is None where the results cannot be compared, and ``meaning`` says why.
    """

    value: float | None
    meaning: str


def compare(
    stage: str,
    peer: str,
    own: Timing,
    other: Timing,
    *,
    size: str,
    parity: Parity,
    threads: int,
    backend: str = "onnxruntime",
    precision: str = "fp32",
) -> Row:
    """Return the row of our timing beside a peer's of the same run.

    Args:
        stage: of the pipeline.
        peer: what it is held against, and how that was run.
        own: timing of ours.
        other: timing of the peer.
        size: of the picture.
        parity: how far apart the results are.
        threads: that both had.
        backend: library that computes ours.
        precision: of ours.

    Returns:
        Times in milliseconds, medians over the rounds; ``ratio`` is the median over the rounds
        of the peer's time over ours, ``cpu_ratio`` that of processor time, which other work on
        the machine disturbs least; peak memory in MB is that of the whole process.
    """
    return row(
        stage,
        peer=peer,
        size=size,
        ours_ms=round(own.median, 2),
        peer_ms=round(other.median, 2),
        ratio=round(median_ratio(other.milliseconds, own.milliseconds), 2),
        cpu_ratio=round(median_ratio(other.cpu_milliseconds, own.cpu_milliseconds), 2),
        parity=parity.value,
        parity_meaning=parity.meaning,
        peak_mb=round(own.peak_mb),
        peer_peak_mb=round(other.peak_mb),
        backend=backend,
        precision=precision,
        threads=threads,
        rounds=len(own.milliseconds),
    )


def print_row(each: Row) -> None:
    """Print what a row says, on three lines."""
    parity = "" if each["parity"] is None else f"{each['parity']:.3g}: "
    print(
        f"{each['stage']}, {each['size']}: {each['precision']} in {each['backend']}, "
        f"beside {each['peer']}\n"
        f"  {each['ours_ms']:10.1f} ms {each['peak_mb']:6} MB   peer {each['peer_ms']:10.1f} ms "
        f"{each['peer_peak_mb']:6} MB   {each['ratio']:6.2f}x over {each['rounds']} round(s), "
        f"{each['cpu_ratio']:.2f}x in processor time\n"
        f"  {parity}{each['parity_meaning']}",
        flush=True,
    )


def plot_ratios(path: Path, rows: Sequence[Row]) -> None:
    """Draw how many times faster each row is, one bar a row, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    stages = list(dict.fromkeys(each["stage"] for each in rows))
    colours = [f"C{stages.index(each['stage'])}" for each in rows]
    names = [
        f"{each['stage']}, {each['size']}, {each['precision']} in {each['backend']}\n"
        f"beside {each['peer']}"
        for each in rows
    ]
    ratios = [each["ratio"] for each in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.5 * len(rows)), layout="constrained")
    lengths = [ratio - 1 for ratio in ratios]
    axes.barh(range(len(rows)), lengths, left=1, color=colours, height=0.6)
    for place, ratio in enumerate(ratios):
        axes.text(max(ratio, 1) * 1.05, place, f"{ratio:.3g}x", va="center")
    axes.set_yticks(range(len(rows)), names, fontsize="small")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(0.7, *ratios) * 0.9, max(ratios) * 2)
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times faster, on the same processors and threads, interleaved")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
