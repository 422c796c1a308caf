"""Put what was measured into ``docs/benchmarks.md``: its tables are generated, its text is not.

A table stands between ``<!-- begin NAME -->`` and ``<!-- end -->``. NAME is "peers", "gpu",
"latency PROFILE", "latency PROFILE tuned", "latency PROFILE DEVICE", "memory", "kiosk" or
"quality BENCHMARK"; the rows come from the JSON files in ``docs/benchmarks/``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from report import Row, speeds

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MEASURED = DOCUMENT.parent / "benchmarks"

_TABLE = re.compile(r"(<!-- begin ([\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_UNTOUCHED = "untouched"


def main() -> None:
    """Write the document again; name each table."""
    rows = read_rows(MEASURED)
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(filled(text, rows), encoding="utf-8")
    print(f"{DOCUMENT}: {', '.join(match[1] for match in _TABLE.findall(text))}")


def read_rows(folder: Path) -> list[Row]:
    """Return the rows of every JSON file in ``folder``."""
    files = sorted(folder.glob("*.json"))
    return [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]


def filled(text: str, rows: Sequence[Row]) -> str:
    """Return ``text`` with every table made anew from ``rows``."""

    def fill(match: re.Match[str]) -> str:
        kind, _, which = match[2].partition(" ")
        if kind not in TABLES:
            sys.exit(f"error: {DOCUMENT}: no table '{match[2]}'; there are {', '.join(TABLES)}")
        body = TABLES[kind](rows, which) or "*Not measured yet.*"
        return f"{match[1]}{body}\n{match[3]}"

    return _TABLE.sub(fill, text)


def peers(rows: Sequence[Row], _: str) -> str:
    """Return the comparisons with the originals."""
    found = [row for row in rows if row["peer"] and "device" not in row]
    header = ["stage", "size", "runs on", "Vivant", "original", "its time", "ratio", "parity"]
    lines = [
        [
            row["stage"],
            row["size"],
            _runs_on(row),
            _time_and_memory(row["ours_ms"], row["peak_mb"]),
            row["peer"],
            _time_and_memory(row["peer_ms"], row["peer_peak_mb"]),
            f"**{row['ratio']:.{0 if row['ratio'] >= 100 else 1}f}x**",
            _parity(row),
        ]
        for row in found
    ]
    return _with_machine(found, _markdown(header, lines))


def gpu(rows: Sequence[Row], _: str) -> str:
    """Return the networks on a GPU, every way to run them, and why the others are not here."""
    found = [row for row in rows if row.get("compared") == "gpu"]
    header = [
        "stage",
        "size",
        "runs on",
        "GPU, p50",
        "p95",
        "in all",
        "ratio",
        "GPU's memory",
        "parity",
    ]
    lines = [[row["stage"], row["size"], _runs_on(row), *_on_gpu(row)] for row in found]
    return _with_machine(found, _markdown(header, lines))


def _on_gpu(row: Row) -> list[object]:
    if reason := row.get("missing"):
        return [f"not here: {reason}", *[""] * 5]
    return [
        *(f"{row[key]:.2f} ms" for key in ("ours_ms", "p95_ms", "wall_ms")),
        "" if row["ratio"] is None else f"{row['ratio']:.2f}x",
        "" if row["device_mb"] is None else f"{row['device_mb']} MB",
        _parity(row),
    ]


def latency(rows: Sequence[Row], profile: str) -> str:
    """Return the stages of a profile."""
    found = [row for row in rows if row.get("profile") == profile and "p95_ms" in row]
    header = ["stage", "p50", "p95", "p99", "model", "runs on"]
    if on_device := any("device" in row for row in found):
        header[4:4] = ["device, p50", "p99"]
    lines = [
        [
            row["stage"],
            *(_milliseconds(row[key]) for key in ("ours_ms", "p95_ms", "p99_ms")),
            *(_known(row, key) for key in ("gpu_ms", "gpu_p99_ms") if on_device),
            row.get("model", ""),
            _runs_on(row),
        ]
        for row in found
    ]
    notes = [
        f"{row['rounds']} pictures of {row['size']} with {row['threads']} threads; peak memory "
        f"{row['peak_mb']} MB; from a new process to its first picture "
        f"{_milliseconds(row['cold_start_ms'])}"
        for row in found
        if "cold_start_ms" in row
    ]
    if on_device:
        before, after = found[-1]["device_mb"]
        notes.append(f"Device's memory in use {before:.0f} MB before, {after:.0f} MB after")
    return _with_machine(found, _markdown(header, lines), *notes)


def memory(rows: Sequence[Row], _: str) -> str:
    """Return how memory grows over many pictures: the process's, and the device's below it."""
    found = [row for row in rows if "growth_percent" in row]
    header = ["profile", "pictures in a row", "resident, warmed up", "at the end", "growth"]
    lines = [
        [
            f"{row['profile']}{what}",
            row["pictures"],
            *(f"{value:.0f} MB" for value in row[memory]),
            f"{row[growth]:+.1f} %",
        ]
        for row in found
        for what, memory, growth in (
            ("", "resident_mb", "growth_percent"),
            (": the device's memory", "device_mb", "device_growth_percent"),
        )
        if memory in row
    ]
    return _with_machine(found, _markdown(header, lines))


def quality(rows: Sequence[Row], benchmark: str) -> str:
    """Return the figures of ``benchmark``, a group of pictures a line."""
    found = [row for row in rows if row.get("benchmark") == benchmark]
    names = list(dict.fromkeys(row["harmonizer"] for row in found))
    groups = list(dict.fromkeys(row["group"] for row in found))
    by_place = {(row["group"], row["harmonizer"]): row for row in found}
    lines = [
        [
            group,
            by_place[group, _UNTOUCHED]["pictures"],
            *("{psnr:.2f} / {fmse:.0f}".format(**by_place[group, name]) for name in names),
        ]
        for group in groups
    ]
    notes = [
        "{benchmark}, {of}, seed {seed}, protocol {protocol}, kept: {filter}".format(**row)
        for row in found[:1]
        if benchmark == "synthetic"
    ]
    return _with_machine(found, _markdown(["group", "pictures", *names], lines), *notes)


def kiosk(rows: Sequence[Row], _: str) -> str:
    """Return how the service bore a crowd."""
    found = [row for row in rows if row["stage"] == "kiosk"]
    if not found:
        return ""
    row = found[0]
    made, (warm, end) = row["made_s"], row["warm_and_end_mb"]
    answers = ", ".join(f"{count} x {status}" for status, count in row["statuses"].items())
    lines = [
        ["answers", answers],
        ["lost", len(row["lost"])],
        ["pictures a minute", row["per_minute"]],
        ["upload to picture, p50 / p95 / p99", f"{made['p50']} / {made['p95']} / {made['p99']} s"],
        ["memory after a minute, at the end", f"{warm:.0f}, {end:.0f} MB"],
        ["event loop late, at most", f"{row['lag_ms'][1]:.0f} ms"],
        ["`/healthz` every 50 ms, p99 / at most",
         f"{row['probe_ms']['p99']:.0f} / {row['probe_ms']['most']:.0f} ms"],
    ]  # fmt: skip
    header = ["", f"{row['clients']} clients for {row['seconds']:.0f} s"]
    return _with_machine(found, _markdown(header, lines))


TABLES: dict[str, Callable[[Sequence[Row], str], str]] = {
    "peers": peers,
    "gpu": gpu,
    "latency": latency,
    "memory": memory,
    "kiosk": kiosk,
    "quality": quality,
}


def _markdown(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"

    return "\n".join([line(header), "|---" * len(header) + "|", *map(line, lines)])


def _with_machine(rows: Sequence[Row], table: str, *notes: str) -> str:
    """Return the table, and below it the notes and what it was measured on; "" without rows."""
    if not rows:
        return ""
    machines = {
        f"{row['machine']}; "
        + ", ".join(f"{name} {number}" for name, number in row["libraries"].items())
        for row in rows
    }
    gpus = {line for row in rows if "device" in row for line in speeds(row["state"])}
    said = [*notes, *sorted(machines), *sorted(gpus)]
    return "\n\n".join([table, " ".join(f"{note}." for note in said)])


def _runs_on(row: Row) -> str:
    return f"{row['precision']}, {row['backend']}" if row["backend"] else ""


def _milliseconds(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _known(row: Row, key: str) -> str:
    return _milliseconds(row[key]) if key in row else ""


def _time_and_memory(milliseconds: float, megabytes: float | None) -> str:
    time = _milliseconds(milliseconds)
    return f"{time}, {megabytes:.0f} MB" if megabytes else time


def _parity(row: Row) -> str:
    value = "" if row["parity"] is None else f"{row['parity']:.2g}"
    return ": ".join(filter(None, [value, row.get("parity_meaning", "")]))


if __name__ == "__main__":
    main()
