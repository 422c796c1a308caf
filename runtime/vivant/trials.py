"""Which of a model's engines, in which backend, is the fastest here: measured in its role.

Each candidate runs in turn with the reference, FP32 in ONNX Runtime, on the same photo: where other
things run too, only the ratio of two that run side by side means something.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant import models
from vivant.backends import BACKENDS, lacking
from vivant.closing import Closing
from vivant.errors import ModelError, VivantError
from vivant.roles import Image
from vivant.store import DEFAULT_BACKEND, EngineStore
from vivant.tuning import Choice, key

SIMILAR = 0.9
"""Of those that reach this share of the best speed, the most exact is used."""

ALLOWED = {
    "faces": (0.01, 0.5),
    "matte": (1e-3, 1e-2),
    "harmonizer": (1e-3, 4e-3),
    "scorer": (1e-4, 1e-3),
}
"""How far a result may be from the reference's, by role: where both compute in FP32, and where one
does not. The mean difference of boxes in pixels, of alpha and colours 0..1, or of the score."""

_PRECISIONS = ("fp32", "fp16", "int8")  # the one to compare with first
_VARIANT = re.compile(rf"({'|'.join(_PRECISIONS)})(?:-(\d+))?")  # others are for some backends
_DIALECTS = {"-tensorrt": ("tensorrt", "tensorrt-rtx"), "-rtx": ("tensorrt-rtx",)}
"""How the name of an engine ends that only these backends take."""

_Result: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """What a choice did.

    Attributes:
        choice: of engine and backend.
        milliseconds: the median run.
        ratio: how many times faster than the reference, the median over pairs of runs.
        deviation: of its result from the reference's; see ``ALLOWED``.
        refusal: why it cannot be used, or None.
    """

    choice: Choice
    milliseconds: float = 0.0
    ratio: float = 0.0
    deviation: float = 0.0
    refusal: str | None = None


def tunable(store: EngineStore) -> Iterator[tuple[str, int | None]]:
    """Yield the model and input size of each group of engines of which one is used at a time.

    The size is None where it is the model's own.
    """
    for model in store.models():
        if any(model in known for known in models.ROLES.values()):
            parsed = map(_VARIANT.fullmatch, store.variants(model))
            for size in sorted({int(match[2] or 0) for match in parsed if match}):
                yield model, size or None


def try_all(
    store: EngineStore, model: str, photo: Image, *, size: int | None = None, rounds: int = 7
) -> Iterator[Trial]:
    """Time a model with each of its engines in each backend; the reference comes first.

    Args:
        store: where the engines are.
        model: its name.
        photo: uint8 [H,W,3] RGB, of a person, of the size that is used.
        size: of the engines' input, where it is not the model's own.
        rounds: counted runs of each.

    Raises:
        ModelError: there is no engine of this model and size for this kind of machine.
        EngineError, BackendError, SubjectError: the reference cannot run.
    """
    named = [f"{precision}-{size}" if size else precision for precision in _PRECISIONS]
    variants = [name for name in named if name in store.variants(model)]
    if not variants:
        raise ModelError(f"model '{key(model, size)}': no engine to tune in {store.root}")
    variants += [name + end for end in _DIALECTS for name in named]
    reference, *others = (
        Choice(variant, backend)
        for variant in variants
        if variant in store.variants(model)
        for backend in backends_here()
        if _takes(backend, variant)
    )
    times, _ = _runs(store, model, [reference], photo, rounds)
    yield Trial(reference, statistics.median(times[0]), 1.0)
    for choice in others:
        yield _try(store, model, choice, reference, photo, rounds)


def backends_here() -> list[str]:
    """Return the backends to try, the reference's first; those of a GPU only where there is one."""
    names = sorted(BACKENDS, key=DEFAULT_BACKEND.__ne__)
    return [name for name in names if not BACKENDS[name].gpu or lacking(name) is None]


def _takes(backend: str, variant: str) -> bool:
    """Return whether an engine was exported for ``backend``."""
    for end, takers in _DIALECTS.items():
        if variant.endswith(end):
            return backend in takers
    # Of INT8 there are two schemes, and this one is the processors'.
    return not (variant.startswith("int8") and BACKENDS[backend].gpu)


def best(trials: Sequence[Trial]) -> Trial:
    """Return the fastest usable one, or of several that are about as fast the most exact."""
    usable = [trial for trial in trials if trial.refusal is None]
    needed = SIMILAR * max(trial.ratio for trial in usable)
    return min((t for t in usable if t.ratio >= needed), key=lambda trial: trial.deviation)


def _try(
    store: EngineStore, model: str, choice: Choice, reference: Choice, photo: Image, rounds: int
) -> Trial:
    try:
        (slow, fast), results = _runs(store, model, [reference, choice], photo, rounds)
    except VivantError as error:
        return Trial(choice, refusal=str(error))
    deviation = _deviation(*results)
    return Trial(
        choice,
        milliseconds=statistics.median(fast),
        ratio=statistics.median(a / b for a, b in zip(slow, fast, strict=True)),
        deviation=deviation,
        refusal=_judge(store, model, choice, deviation),
    )


def _judge(store: EngineStore, model: str, choice: Choice, deviation: float) -> str | None:
    same = choice.variant.startswith("fp32") and not choice.backend.endswith("bf16")
    manifest = store.engine(model, choice.variant).manifest
    if not same and manifest.weights.kind == "untrained":
        return None  # nothing can be judged by what they compute; only tests and benchmarks use it
    allowed = ALLOWED[manifest.role][not same]
    return None if deviation <= allowed else f"deviates by {deviation:.1e}, allowed is {allowed:g}"


def _deviation(expected: _Result, got: _Result) -> float:
    if expected.shape != got.shape:
        return float("inf")  # not even the same faces
    return float(np.abs(expected - got).mean()) if expected.size else 0.0


def _runs(
    store: EngineStore, model: str, choices: Sequence[Choice], photo: Image, rounds: int
) -> tuple[list[list[float]], list[_Result]]:
    """Return each choice's milliseconds, run in turn after a warm-up, and its result."""
    with ExitStack() as opened:
        contenders = [_open(store, model, choice, photo, opened) for choice in choices]
        results = [run() for run in contenders]
        times: list[list[float]] = [[] for _ in choices]
        for _ in range(rounds):
            for run, own in zip(contenders, times, strict=True):
                start = time.perf_counter()
                run()
                own.append((time.perf_counter() - start) * 1000)
    return times, results


def _open(
    store: EngineStore, model: str, choice: Choice, photo: Image, opened: ExitStack
) -> Callable[[], _Result]:
    """Return a run of the model in its role; the middle of the photo stands for a figure."""
    store = replace(store, choices={model: choice})
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 4, height // 3), 0, 0, 360, 255, -1)
    name, known = next((name, known) for name, known in models.ROLES.items() if model in known)
    role: Any = models.open_model(known, model, store)
    if isinstance(role, Closing):
        opened.enter_context(role)
    runs: dict[str, Callable[[], Any]] = {
        "faces": lambda: [face.box for face in role.detect(photo)],
        "matte": lambda: role.matte(photo, ()).matte / 255,
        "harmonizer": lambda: role.harmonize(photo, mask, [1.0])[0][mask > 0] / 255,
        "scorer": lambda: role.score([photo], [mask]),
    }
    return lambda: np.asarray(runs[name](), np.float64)
