"""How long a visitor waits: every stage and the whole way, on one photo and one artwork.

The photo is encoded as a camera would send it; a run is everything from its bytes to the
finished picture's bytes. Artworks stay decoded between runs, as they do in a kiosk. Whatever is
measured runs in a process of its own, so that nothing but Vivant is in its memory.

Where the matte's weights are untrained, its network runs and is timed as ever, and GrabCut's matte
takes the place of what it returns: the stages behind it need a person to work on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from engines import measured_store
from interleave import peak_mb, show_progress
from pictures import sample_artwork, sample_frame
from report import Row, median, parser, percentile, plot, plot_course, row, table, write_json
from vivant import models
from vivant.artwork import Artwork, load_artwork
from vivant.errors import SubjectError, VivantError
from vivant.images import encode_image, load_image
from vivant.mattes.grabcut import GrabCutMatter
from vivant.portrait import prominent
from vivant.profiles import PROFILES, find_profile
from vivant.roles import Image, Matter, Matting
from vivant.store import EngineStore, open_store
from vivant.studio import WORKING_SIDE, Studio, reduce_to

WARMUP = 3
COLD_STARTS = 3

Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Setting:
    """What is composed, and with what.

    Attributes:
        profile: the name of the profile.
        store: of the engines, and which of them are used.
        photo: the content of a picture file.
        artwork: what it is composed into.
        matting: what takes the place of an untrained matte; ``None`` where it is trained.
    """

    profile: str
    store: EngineStore
    photo: bytes
    artwork: Artwork
    matting: Matting | None


@dataclass(frozen=True)
class Measured:
    """Milliseconds of every run by stage, the process's peak memory, the picture's size."""

    runs: dict[str, list[float]]
    peak_mb: float
    size: str


def main() -> None:
    """Print the table; write it as JSON and as a plot where asked."""
    arguments = _parser().parse_args()
    # Inherited by the processes that measure, before any library in them counts processors.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = _report_soak if arguments.soak else _report_stages
            report(_setting(arguments, Path(folder)), arguments)
        except VivantError as error:
            sys.exit(f"error: {error}")


def _report_stages(setting: Setting, arguments: argparse.Namespace) -> None:
    measured = _in_new_process(measure, setting, arguments.rounds)
    if arguments.only not in {None, *measured.runs}:
        sys.exit(f"error: no stage '{arguments.only}'; there are {', '.join(measured.runs)}")
    chosen = {
        stage: times for stage, times in measured.runs.items() if arguments.only in {None, stage}
    }
    engines = _engines(setting)
    rows = []
    for stage, times in chosen.items():
        facts = engines.get(stage, {})
        if stage == "end-to-end":
            facts = {**_joined(engines), **_cold_start(setting)}
        rows.append(_row(stage, times, measured, arguments, facts))
    _print(rows, measured)
    if arguments.json:
        write_json(arguments.json, rows)
    if arguments.plot:
        plot(arguments.plot, chosen, f"{setting.profile} profile, {arguments.threads} threads")


def _report_soak(setting: Setting, arguments: argparse.Namespace) -> None:
    resident = _in_new_process(soak, setting, arguments.soak)
    warm = max(1, len(resident) // 10)  # by then allocators have what they keep
    before, after = resident[warm - 1], resident[-1]
    result = row(
        "end-to-end",
        peak_mb=round(max(resident)),
        threads=arguments.threads,
        **_joined(_engines(setting)),
        profile=_profile(arguments),
        pictures=len(resident),
        resident_mb=[round(before, 1), round(after, 1)],
        growth_percent=round((after / before - 1) * 100, 2),
    )
    print(f"{setting.profile} profile, {len(resident)} pictures in a row")
    print(f"  resident after {warm} pictures {before:8.1f} MB")
    print(f"  resident at the end      {after:8.1f} MB, {result['growth_percent']:+.2f} %")
    if arguments.json:
        write_json(arguments.json, [result])
    if arguments.plot:
        title = f"{setting.profile} profile, memory over {len(resident)} pictures"
        plot_course(arguments.plot, resident, title, "resident MB")


# In a process of its own --------------------------------------------------------------------------


def first_picture(setting: Setting, started: float) -> dict[str, float]:
    """Return milliseconds from ``started``, when the process was, to its first picture, by part."""
    imported = time.monotonic()
    compose = _open(setting)
    opened = time.monotonic()
    compose()
    end = time.monotonic()
    return {
        "cold_start_ms": (end - started) * 1000,
        "cold_import_ms": (imported - started) * 1000,
        "cold_open_ms": (opened - imported) * 1000,
        "cold_picture_ms": (end - opened) * 1000,
    }


def measure(setting: Setting, rounds: int) -> Measured:
    """Compose ``rounds`` times, and a few times before that do not count."""
    compose = _open(setting)
    runs: dict[str, list[float]] = {}
    for turn in range(WARMUP + rounds):
        stages, size = compose()
        show_progress(turn + 1, WARMUP + rounds)
        if turn >= WARMUP:
            for stage, seconds in stages.items():
                runs.setdefault(stage, []).append(seconds * 1000)
    return Measured(runs, peak_mb(), size)


def soak(setting: Setting, pictures: int) -> list[float]:
    """Return the resident memory in MB after each of ``pictures`` pictures."""
    compose = _open(setting)
    resident = []
    for turn in range(pictures):
        compose()
        resident.append(_resident_mb())
        show_progress(turn + 1, pictures)
    return resident


def _open(setting: Setting) -> Callable[[], tuple[dict[str, float], str]]:
    """Return a function that composes once, and returns the seconds by stage and the size."""
    store = setting.store
    profile = find_profile(setting.profile, store)
    seconds: dict[str, float] = {}
    harmonizer = models.open_model(models.HARMONIZERS, profile.harmonizer, store)
    scorer = models.open_model(models.SCORERS, profile.scorer, store)
    studio = Studio(
        models.open_model(models.FACES, profile.faces, store),
        _matter(profile.matte, store, setting.matting),
        # The studio has one clock for both.
        SimpleNamespace(harmonize=_timed("harmonize", harmonizer.harmonize, seconds)),
        SimpleNamespace(score=_timed("score", scorer.score, seconds)),
        profile=profile,
    )

    def compose() -> tuple[dict[str, float], str]:
        seconds.clear()
        start = time.perf_counter()
        result = studio.compose(setting.photo, setting.artwork)
        composed = time.perf_counter()
        encode_image(result.image, "jpeg")
        end = time.perf_counter()
        last = {"encode": end - composed, "end-to-end": end - start}
        height, width = result.image.shape[:2]
        return {**result.timings, **seconds, **last}, f"{width}x{height}"

    return compose


def _timed(
    stage: str, function: Callable[..., Returned], seconds: dict[str, float]
) -> Callable[..., Returned]:
    def call(*arguments: Any, **named: Any) -> Returned:
        start = time.perf_counter()
        returned = function(*arguments, **named)
        seconds[stage] = seconds.get(stage, 0) + time.perf_counter() - start
        return returned

    return call


def _matter(name: str, store: EngineStore, stand_in: Matting | None) -> Matter:
    matter = models.open_model(models.MATTES, name, store)
    if stand_in is None:
        return matter

    def matte(photo: Image, faces: Sequence[Any]) -> Matting:
        with suppress(SubjectError):  # what it sees means nothing
            matter.matte(photo, faces)
        return stand_in

    return SimpleNamespace(matte=matte)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# What is reported ---------------------------------------------------------------------------------


def _in_new_process(function: Callable[..., Returned], *arguments: Any) -> Returned:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _setting(arguments: argparse.Namespace, folder: Path) -> Setting:
    photo = (
        arguments.photo.read_bytes() if arguments.photo else encode_image(sample_frame(), "jpeg")
    )
    store = _store(arguments)
    profile = find_profile(arguments.profile, store)
    trained = _facts("matte", profile.matte, store).get("weights") != "untrained"
    return Setting(
        profile=profile.name,
        store=store,
        photo=photo,
        artwork=load_artwork(arguments.artwork) if arguments.artwork else sample_artwork(folder),
        matting=None if trained else _grabcut(photo, store),
    )


def _grabcut(photo: bytes, store: EngineStore) -> Matting:
    image = reduce_to(load_image(photo), WORKING_SIDE)
    faces = models.open_model(models.FACES, "mtcnn", store).detect(image)
    return GrabCutMatter().matte(image, prominent(faces))


def _store(arguments: argparse.Namespace) -> EngineStore:
    """Return the named store as it is; without one, that of untrained engines, completed."""
    if arguments.store:
        return open_store(arguments.store, allow_untrained=True)
    profile = PROFILES[arguments.profile]
    names = [
        name
        for role, known in models.ROLES.items()
        if models.find(known, name := getattr(profile, role)).needs_engine
    ]
    return measured_store(None, [(name, "fp32") for name in names])


def _profile(arguments: argparse.Namespace) -> str:
    """Return the profile's name, and whether it ran as a named store was tuned."""
    tuned = arguments.store and open_store(arguments.store).choices
    return f"{arguments.profile} tuned" if tuned else str(arguments.profile)


def _engines(setting: Setting) -> dict[str, Row]:
    """Return, by stage, what its model runs on; its name alone for one without an engine."""
    store = setting.store
    profile = find_profile(setting.profile, store)
    stages = {"faces": "faces", "matte": "matte", "harmonize": "harmonizer", "score": "scorer"}
    return {stage: _facts(role, getattr(profile, role), store) for stage, role in stages.items()}


def _facts(role: str, name: str, store: EngineStore) -> Row:
    if not models.find(models.ROLES[role], name).needs_engine:
        return {"model": name}
    engine = store.engine(name)
    return {
        "model": name,
        "backend": engine.choice.backend,
        "precision": engine.choice.variant,
        "weights": engine.manifest.weights.kind,
    }


def _joined(engines: dict[str, Row]) -> Row:
    """Return what all engines run on, each once."""
    return {
        key: " + ".join(sorted({facts[key] for facts in engines.values() if key in facts}))
        for key in ("backend", "precision")
    }


def _cold_start(setting: Setting) -> dict[str, int]:
    """Return the median milliseconds of some first pictures, each in a new process."""
    cold = [_in_new_process(first_picture, setting, time.monotonic()) for _ in range(COLD_STARTS)]
    return {key: round(statistics.median(start[key] for start in cold)) for key in cold[0]}


def _row(
    stage: str,
    times: Sequence[float],
    measured: Measured,
    arguments: argparse.Namespace,
    facts: Row,
) -> Row:
    return row(
        stage,
        ours_ms=median(times),
        peak_mb=round(measured.peak_mb),
        threads=arguments.threads,
        p95_ms=percentile(times, 0.95),
        p99_ms=percentile(times, 0.99),
        profile=_profile(arguments),
        size=measured.size,
        rounds=len(times),
        **facts,
    )


def _print(rows: Sequence[Row], measured: Measured) -> None:
    first, last = rows[0], rows[-1]
    print(f"{first['profile']} profile, picture {measured.size}, {first['threads']} threads")
    header = ("stage", "p50", "p95", "p99 ms", "backend", "precision")
    keys = ("stage", "ours_ms", "p95_ms", "p99_ms", "backend", "precision")
    print(table(header, [[each[key] for key in keys] for each in rows]))
    print(f"  {first['rounds']} runs, peak memory {measured.peak_mb:.0f} MB")
    if "cold_start_ms" in last:
        print(
            "  cold start to first picture {cold_start_ms} ms (import {cold_import_ms}, "
            "open {cold_open_ms}, picture {cold_picture_ms})".format(**last)
        )


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__, rounds=20)
    options.add_argument("--profile", choices=list(PROFILES)[::-1], default="classic")
    options.add_argument("--photo", type=Path, help="a photo instead of the 1920x1080 sample")
    options.add_argument("--artwork", type=Path, help="an artwork instead of the 1920x1080 sample")
    options.add_argument(
        "--soak", type=int, metavar="N", help="compose N times in a row and watch the memory"
    )
    return options


if __name__ == "__main__":
    main()
