"""What ``vivant export`` runs, by model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vivant.errors import ModelError
from vivant.store import EngineFolder, EngineStore
from vivant_export import mtcnn

EXPORTERS: Mapping[str, Callable[[EngineStore], EngineFolder]] = {"mtcnn": mtcnn.export}


def export_model(model: str, store: EngineStore) -> EngineFolder:
    """Build the engine of ``model`` and put it into ``store``.

    Raises ``ModelError`` for a model that cannot be exported, and what its exporter raises.
    """
    if model not in EXPORTERS:
        raise ModelError(f"model '{model}': no exporter; there are {', '.join(EXPORTERS)}")
    return EXPORTERS[model](store)
