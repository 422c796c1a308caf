"""``vivant tune``: time engines and backends on this machine, and use the fastest from now on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from vivant.backends import BACKENDS
from vivant.commands.options import Json, Store, Untrained, print_json
from vivant.errors import ModelError
from vivant.images import load_image
from vivant.machine import processor, version
from vivant.roles import Image
from vivant.store import EngineStore, open_store
from vivant.trials import Trial, best, try_all, tunable
from vivant.tuning import key, write_tuning


def tune(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Such as rmbg-1.4 [default: all in the store].", show_default=False),
    ] = None,
    photo: Annotated[
        Path | None,
        typer.Option(
            help="One as the camera takes it [default: the sample portrait at 1080x1080]."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs that count, of each.")] = 7,
    store: Store = None,
    allow_untrained: Untrained = False,
    json: Json = False,
) -> None:
    """Time every engine in every backend here, and use the fastest from now on.

    Each runs in turn with FP32 in ONNX Runtime. One whose result differs by too much is not used.
    The choice is written to tuning.json in the store; models that were not named keep theirs.
    """
    engines = open_store(store, allow_untrained=allow_untrained)
    picture = _sample() if photo is None else load_image(photo)
    choices, measured = dict(engines.choices), []
    for model, size in _wanted(engines, models or []):
        trials = []
        for trial in try_all(engines, model, picture, size=size, rounds=rounds):
            trials.append(trial)
            measured.append({"model": key(model, size), **_facts(trial)})
            if not json:
                typer.echo(_line(key(model, size), trial))
        choices[key(model, size)] = chosen = best(trials).choice
        if not json:
            typer.echo(f"{key(model, size):20} -> {chosen.variant} in {chosen.backend}\n")
    libraries = {backend.library: version(backend.library) for backend in BACKENDS.values()}
    record = {"processor": processor(), "libraries": libraries, "trials": measured}
    file = write_tuning(engines.root, choices, record)
    if json:
        print_json(
            {"choices": {name: asdict(choice) for name, choice in choices.items()}, **record}
        )
    else:
        typer.echo(f"{file}  is followed from now on")


def _sample() -> Image:
    from vivant_samples import PORTRAIT

    portrait = cv2.resize(load_image(PORTRAIT), (1080, 1080), interpolation=cv2.INTER_CUBIC)
    return np.asarray(portrait, np.uint8)


def _wanted(store: EngineStore, names: Sequence[str]) -> list[tuple[str, int | None]]:
    there = list(tunable(store))
    known = dict.fromkeys(model for model, _ in there)
    for name in names:
        if name not in known:
            raise ModelError(f"model '{name}': no engine to tune in {store.root}; export it first")
    if not there:
        raise ModelError(f"{store.root}: no engine to tune; run 'vivant export' first")
    return [(model, size) for model, size in there if not names or model in names]


def _facts(trial: Trial) -> dict[str, Any]:
    facts = {**asdict(trial.choice), "refusal": trial.refusal}
    if trial.milliseconds:
        facts |= {
            "milliseconds": round(trial.milliseconds, 2),
            "ratio": round(trial.ratio, 2),
            "deviation": float(f"{trial.deviation:.2g}"),
        }
    return facts


def _line(name: str, trial: Trial) -> str:
    choice = f"{name:20} {trial.choice.variant:10} {trial.choice.backend:14}"
    if not trial.milliseconds:
        return f"{choice} not here: {trial.refusal}"
    measured = f"{trial.milliseconds:8.1f} ms {trial.ratio:6.2f}x  deviation {trial.deviation:.1e}"
    return f"{choice} {measured}" + (f"  not used: {trial.refusal}" if trial.refusal else "")
