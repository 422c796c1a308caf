"""Which models this version can run, by role, and how each is opened.

A model's file is imported when the model is opened, so that looking a name up costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vivant.errors import ModelError
from vivant.roles import FaceDetector, Harmonizer, Matter, Scorer
from vivant.store import EngineStore

Role = TypeVar("Role")


@dataclass(frozen=True)
class Model(Generic[Role]):
    """A model: what it is in a line, how it is opened, and what it cannot do without.

    ``needs_faces``: it separates the people whose faces it is given, and nobody without.
    """

    summary: str
    open: Callable[[EngineStore], Role]
    needs_engine: bool = False
    needs_faces: bool = False


def _mtcnn(store: EngineStore) -> FaceDetector:
    from vivant.faces.mtcnn import MtcnnDetector

    return MtcnnDetector.open(store)


def _grabcut(_: EngineStore) -> Matter:
    from vivant.mattes.grabcut import GrabCutMatter

    return GrabCutMatter()


def _rmbg(name: str) -> Callable[[EngineStore], Matter]:
    def open_engine(store: EngineStore) -> Matter:
        from vivant.mattes.rmbg import RmbgMatter

        return RmbgMatter.open(store, name)

    return open_engine


def _inr(store: EngineStore) -> Harmonizer:
    from vivant.harmonizers.inr import InrHarmonizer

    return InrHarmonizer.open(store)


def _reinhard(_: EngineStore) -> Harmonizer:
    from vivant.harmonizers.reinhard import ReinhardHarmonizer

    return ReinhardHarmonizer()


def _bargainnet(store: EngineStore) -> Scorer:
    from vivant.scorers.bargainnet import BargainNetScorer

    return BargainNetScorer.open(store)


def _colour_distance(_: EngineStore) -> Scorer:
    from vivant.scorers.colour_distance import ColourDistanceScorer

    return ColourDistanceScorer()


FACES: Mapping[str, Model[FaceDetector]] = {
    "mtcnn": Model("a cascade of three small networks (MIT)", _mtcnn, needs_engine=True),
}
MATTES: Mapping[str, Model[Matter]] = {
    "grabcut": Model("colour statistics and a body prior, no weights", _grabcut, needs_faces=True),
    **{
        name: Model(summary, _rmbg(name), needs_engine=True)
        for name, summary in {
            "rmbg-1.4": "IS-Net by BRIA (non-commercial)",
            "isnet-general-use": "the same network, weights free for any use (Apache-2.0)",
            "rmbg-2.0": "BiRefNet by BRIA, the finest and slowest (non-commercial)",
            "birefnet": "the same network, weights free for any use (MIT)",
            "birefnet-portrait": "the same, trained on portraits (MIT)",
            "birefnet-lite": "the same with a backbone of a fifth of the size (MIT)",
        }.items()
    },
}
HARMONIZERS: Mapping[str, Model[Harmonizer]] = {
    "inr-harmonization": Model(
        "a network's colours at full resolution (Apache-2.0)", _inr, needs_engine=True
    ),
    "reinhard": Model("colour statistics of the nearby background, no weights", _reinhard),
}
SCORERS: Mapping[str, Model[Scorer]] = {
    "bargainnet": Model("a network's judgement (MIT)", _bargainnet, needs_engine=True),
    "colour-distance": Model("a stand-in for BargainNet, no weights", _colour_distance),
}
ROLES: Mapping[str, Mapping[str, Model[Any]]] = {
    "faces": FACES,
    "matte": MATTES,
    "harmonizer": HARMONIZERS,
    "scorer": SCORERS,
}
"""All models, by role as manifests and profiles name it."""


def find(models: Mapping[str, Model[Role]], name: str) -> Model[Role]:
    """Return the model called ``name``.

    Raises ``ModelError``, which lists the names there are.
    """
    try:
        return models[name]
    except KeyError:
        known = ", ".join(models)
        raise ModelError(
            f"model '{name}': this version cannot run it in this role; it can run {known}"
        ) from None


def open_model(models: Mapping[str, Model[Role]], name: str, store: EngineStore) -> Role:
    """Open the model called ``name``; its engine, if it needs one, comes from ``store``.

    Raises ``ModelError`` for an unknown name, ``EngineError`` for an engine that is missing or
    not to be trusted, ``BackendError`` where the inference library is missing.
    """
    return find(models, name).open(store)
