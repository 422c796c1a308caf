"""The engines that are measured, and the networks they were made from.

Without engines of one's own, they are made from seeded, untrained weights: neither speed nor
parity depends on training.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from vivant.store import EngineStore
from vivant.tuning import Choice

if TYPE_CHECKING:
    from torch import nn

UNTRAINED = Path(__file__).parents[1] / "engines" / "untrained"
"""Where engines are made for measuring; beside the real ones, which they never replace."""

SEED = 1


def measured_store(root: Path | None, engines: Collection[tuple[str, str]]) -> EngineStore:
    """Return a store of ``engines``, (model, precision), that runs FP32 ones in ONNX Runtime.

    Args:
        root: of a store that has them. Without it, ``UNTRAINED``, where they are made if need be.
        engines: which.

    Raises:
        EngineError: the store lacks one.
    """
    choices = {model: Choice("fp32", "onnxruntime") for model, _ in engines}
    store = EngineStore(root or UNTRAINED, allow_untrained=True, choices=choices)
    for model, precision in engines:
        if root is None and precision not in store.variants(model):
            _export(store, model, precision)
        store.engine(model, precision)
    return store


def network_of(store: EngineStore, model: str) -> nn.Module:
    """Return the torch network that the FP32 engine of ``model`` was made from, in eval mode."""
    from vivant_export import origin
    from vivant_export.architectures import build_network
    from vivant_export.catalogue import find_model
    from vivant_export.checkpoints import load_strictly

    weights = store.engine(model, "fp32").manifest.weights
    known = find_model(model)
    source = (
        origin.fetched(known) if weights.seed is None else origin.untrained(known, weights.seed)
    )
    network = build_network(known)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    load_strictly(network, source.read(shapes), source=source.weights.source)
    return network


def _export(store: EngineStore, model: str, precision: str) -> None:
    from vivant_export.cli import export_model

    print(f"{store.root}: making {model} {precision}", flush=True)
    seed = None if model == "mtcnn" else SEED  # whose weights come in a wheel
    export_model(model, store, seed=seed, precision=precision)
