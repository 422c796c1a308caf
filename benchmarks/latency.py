"""How long a visitor waits: every stage and the whole way, on one photo and one artwork.

The photo is encoded as a camera would send it; a run is everything from its bytes to the
finished picture's bytes. Artworks stay decoded between runs, as they do in a kiosk.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from pictures import sample_frame
from report import plot, write_json
from vivant.artwork import Artwork, load_artwork
from vivant.backends.onnxruntime import usable_cores
from vivant.images import encode_image
from vivant.studio import Studio
from vivant_samples import ARTWORKS


def main() -> None:
    """Print the table; write it as JSON and as a plot where asked."""
    arguments = _parser().parse_args()
    cv2.setNumThreads(arguments.threads)
    photo = (
        arguments.photo.read_bytes() if arguments.photo else encode_image(sample_frame(), "jpeg")
    )
    start = time.perf_counter()
    studio = Studio.open(arguments.profile)
    artwork = load_artwork(arguments.artwork)
    runs: dict[str, list[float]] = {}
    _run(studio, photo, artwork, runs)
    cold_start = (time.perf_counter() - start) * 1000
    runs.clear()
    for _ in range(arguments.rounds):
        size = _run(studio, photo, artwork, runs)
    rows = [_row(stage, times, studio, arguments) for stage, times in runs.items()]
    _print(rows, cold_start, f"{size[1]}x{size[0]}")
    if arguments.json:
        write_json(arguments.json, rows)
    if arguments.plot:
        plot(arguments.plot, runs, f"{studio.profile.name} profile, {arguments.threads} threads")


def _run(
    studio: Studio, photo: bytes, artwork: Artwork, runs: dict[str, list[float]]
) -> tuple[int, ...]:
    start = time.perf_counter()
    result = studio.compose(photo, artwork)
    composed = time.perf_counter()
    encode_image(result.image, "jpeg")
    end = time.perf_counter()
    stages = {**result.timings, "encode": end - composed, "end-to-end": end - start}
    for stage, seconds in stages.items():
        runs.setdefault(stage, []).append(seconds * 1000)
    return result.image.shape


def _row(
    stage: str, times: Sequence[float], studio: Studio, arguments: argparse.Namespace
) -> dict[str, Any]:
    ordered = sorted(times)
    return {
        "stage": stage,
        "ours_ms": round(statistics.median(times), 1),
        "p95_ms": round(ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)], 1),
        "p99_ms": round(ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)], 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "profile": studio.profile.name,
        "backend": "onnxruntime cpu",
        "precision": "fp32",
        "threads": arguments.threads,
        "rounds": len(times),
    }


def _print(rows: Sequence[dict[str, Any]], cold_start: float, size: str) -> None:
    print(f"{rows[0]['profile']} profile, picture {size}, {rows[0]['threads']} threads")
    print(f"  {'stage':12} {'p50':>8} {'p95':>8} {'p99':>8}  ms, {rows[0]['rounds']} runs")
    for row in rows:
        print(
            f"  {row['stage']:12} {row['ours_ms']:8.1f} {row['p95_ms']:8.1f} {row['p99_ms']:8.1f}"
        )
    print(f"  cold start to first picture {cold_start:.0f} ms, peak memory {rows[0]['peak_mb']} MB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photo", type=Path, help="a photo instead of the 1920x1080 sample")
    parser.add_argument("--artwork", type=Path, default=ARTWORKS / "night-harbour")
    parser.add_argument("--profile", default="classic")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--plot", type=Path, help="write a PNG to this file")
    return parser


if __name__ == "__main__":
    main()
