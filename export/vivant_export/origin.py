"""Where an engine's numbers come from: the published file, the user's own, or a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vivant.errors import ModelError
from vivant.manifest import Weights
from vivant_export.catalogue import Model
from vivant_export.seeded import seeded_state

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
State: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Origin:
    """Weights: what the manifest says of them, and how they are read.

    ``read`` takes the shapes that the network wants, by official key, and returns the arrays or
    tensors by key; it has not checked them against the shapes.
    """

    weights: Weights
    read: Callable[[Shapes], State]


def untrained(model: Model, seed: int) -> Origin:
    """Return seeded weights, for tests and benchmarks."""
    return Origin(
        Weights("untrained", "seeded, not trained", model.licence.name, seed=seed),
        lambda shapes: seeded_state(shapes, seed),
    )


def from_file(model: Model, path: Path) -> Origin:
    """Return the weights in a file of the user's.

    They are official where the file is one of the catalogue's by its SHA-256, else custom.

    Raises ``ModelError`` where the file cannot be read.
    """
    from vivant_export.weights import sha256_of

    if not path.is_file():
        raise ModelError(f"{path}: no such file; name the checkpoint of '{model.name}'")
    digest = sha256_of(path)
    published = digest in {source.sha256 for source in model.sources}
    return Origin(
        Weights(
            "official" if published else "custom",
            path.name,
            model.licence.name,
            {path.name: digest},
        ),
        lambda _: _read(path),
    )


def fetched(model: Model) -> Origin:
    """Return the published weights that ``vivant fetch`` has put on this machine.

    Raises ``ModelError`` where they are not here (it names the command), were altered, or their
    licence was not accepted.
    """
    from vivant_export.weights import fetch, read_receipt, weights_path

    if weights_path(model) is None:
        accept = "" if model.licence.commercial else " --accept-license"
        raise ModelError(
            f"{model.name}: its weights are not here; run 'vivant fetch {model.name}{accept}', "
            "or name a file with --weights"
        )
    path = fetch(model, offline=True)
    receipt = read_receipt(model)
    assert receipt is not None  # noqa: S101 - fetching has written one
    weights = Weights(
        "official", receipt.source, model.licence.name, {receipt.file: receipt.sha256}
    )
    return Origin(weights, lambda _: _read(path))


def _read(path: Path) -> State:
    from vivant_export.checkpoints import read_state

    return read_state(path)
