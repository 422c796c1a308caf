"""What ``vivant export`` and ``vivant verify`` run; torch is imported only where it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from vivant.errors import ModelError
from vivant.store import EngineFolder, EngineStore
from vivant_export import mtcnn, origin
from vivant_export.catalogue import TARGETS, Model, find_model
from vivant_export.origin import Origin

if TYPE_CHECKING:
    from vivant_export.exporter import Step


def export_model(
    name: str,
    store: EngineStore,
    *,
    weights: Path | None = None,
    seed: int | None = None,
    precision: str = "fp32",
    size: int | None = None,
    target: str = "cpu",
    calibration: Path | None = None,
    step: Step = nullcontext,
) -> EngineFolder:
    """Build an engine and put it into ``store``.

    Args:
        name: of a model of the catalogue.
        store: where the engine goes.
        weights: a checkpoint; without it, the published weights on this machine.
        seed: untrained weights instead.
        precision: "fp32", "fp16" or "int8".
        size: side of a matte's input; without it, the published one.
        target: "cpu", "tensorrt" or "rtx": the library that the engine is for.
        calibration: a folder of pictures for INT8; without it, the default set.
        step: shows each step of the work.

    Raises:
        ModelError: an unknown model, or one that is not to be had as asked for.
        EngineError: the engine does not compute what was published; nothing is stored.
        OutputError: the store cannot be written to.
    """
    model = find_model(name)
    source = _origin(model, weights, seed)
    _check_offer(model, precision, size, target)
    if model.architecture == "mtcnn":
        with step("build and verify"):
            return mtcnn.export(store, source)
    exporter = _exporter(name)
    side = size or model.size
    assert side is not None  # noqa: S101 - true of every model but MTCNN
    choice = exporter.Choice(model, precision, side, target, calibration)
    folder: EngineFolder = exporter.export(choice, source, store, step)
    return folder


def verify_engine(
    folder: EngineFolder, *, weights: Path | None = None, step: Step = nullcontext
) -> Mapping[str, float]:
    """Hold an engine of the store against its network again; return the measured parity.

    Raises:
        ModelError: the weights that it was made from are not here.
        EngineError: the engine deviates too far, or was altered.
    """
    manifest = folder.manifest
    model = find_model(manifest.model)
    source = _origin(model, weights, manifest.weights.seed)
    if source.weights.sha256 != manifest.weights.sha256:
        raise ModelError(
            f"{folder.path}: was made from other weights ({manifest.weights.source}) than "
            f"{source.weights.source}; name the file that it was made from with --weights"
        )
    if model.architecture == "mtcnn":
        with step("verify"):
            return mtcnn.check(folder, source)
    exporter = _exporter(model.name)
    choice = exporter.Choice(model, manifest.precision, int(manifest.preprocessing["size"]))
    parity: Mapping[str, float] = exporter.check(choice, source, folder, step)
    return parity


def _exporter(model: str) -> ModuleType:
    try:
        from vivant_export import exporter
    except ImportError as error:
        raise ModelError(
            f"{model}: its export needs '{error.name}'; run pip install 'vivant[export]'"
        ) from error
    return exporter


def _origin(model: Model, weights: Path | None, seed: int | None) -> Origin:
    if weights is not None:
        return origin.from_file(model, weights)
    if seed is not None:
        return origin.untrained(model, seed)
    return mtcnn.published() if model.architecture == "mtcnn" else origin.fetched(model)


def _check_offer(model: Model, precision: str, size: int | None, target: str) -> None:
    offers = (
        ("precision", precision, model.precisions),
        ("target", target, TARGETS),
        ("size", size, (None, *model.sizes)),
    )
    for what, asked, there in offers:
        if asked not in there:
            known = ", ".join(str(item) for item in there if item is not None) or "none to choose"
            raise ModelError(f"{model.name}: no {what} '{asked}'; there is {known}")
