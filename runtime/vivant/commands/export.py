"""``vivant export`` and ``vivant verify``: the door to the exporter.

Neither is needed to run anything: engines are copied to where they run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from vivant.commands.options import Json, Store, errors, print_json
from vivant.errors import ModelError
from vivant.store import EngineFolder, open_store

Name = Annotated[
    str, typer.Argument(help="The model; 'vivant models' lists them.", show_default=False)
]
WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="Checkpoint to take [default: what 'vivant fetch' has put here]."
    ),
]


def export(
    model: Name,
    weights: WeightsFile = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Seeded weights, for tests and benchmarks.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the untrained weights.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    size: Annotated[
        int | None, typer.Option(help="Side of the network's input in pixels, for mattes.")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="cpu: ONNX Runtime, OpenVINO; tensorrt; rtx: TensorRT-RTX. Decides the scheme "
            "of INT8 and how deformable convolutions are written."
        ),
    ] = "cpu",
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures for INT8 [default: made from the samples]."),
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Build a model's engine, prove that it computes what was published, and store it."""
    if untrained and weights is not None:
        raise typer.BadParameter("either --untrained or --weights, not both")
    folder: EngineFolder = _exporter().export_model(
        model,
        open_store(store),
        weights=weights,
        seed=seed if untrained else None,
        precision=precision,
        size=size,
        target=target,
        calibration=calibration,
        step=_step,
    )
    if json:
        print_json({"engine": str(folder.path), "parity": dict(folder.manifest.parity)})
        return
    megabytes = sum(file.stat().st_size for file in folder.path.iterdir()) / 1e6
    typer.echo(f"{folder.path}  {folder.manifest.weights.kind} weights, {megabytes:.1f} MB")
    _print_parity(folder.manifest.parity)


def verify(
    model: Name,
    variant: Annotated[
        str | None, typer.Option(help="The engine's variant [default: the only one, or fp32].")
    ] = None,
    weights: WeightsFile = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Hold a stored engine against its network again, and print how far it is off."""
    folder = open_store(store, allow_untrained=True).engine(model, variant)
    parity = _exporter().verify_engine(folder, weights=weights, step=_step)
    if json:
        print_json({"engine": str(folder.path), "parity": dict(parity)})
        return
    typer.echo(f"{folder.path}  holds")
    _print_parity(parity)


def _print_parity(parity: Any) -> None:
    for quantity, value in parity.items():
        typer.echo(f"  {quantity:24} {value:.1e}")


def _exporter() -> ModuleType:
    try:
        from vivant_export import cli
    except ImportError as error:
        raise ModelError(
            f"exporting needs '{error.name}'; run pip install 'vivant[export]' "
            "('vivant[mtcnn]' is enough for MTCNN)"
        ) from error
    return cli


@contextmanager
def _step(title: str) -> Iterator[None]:
    """Show a step of the work: a spinner while it lasts, then its seconds."""
    start = time.perf_counter()
    with errors.status(title):
        yield
    errors.print(f"{title:32} {time.perf_counter() - start:6.1f} s", style="dim")
