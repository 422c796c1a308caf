"""The whole way, from the bytes of a 1080p JPEG photo to those of a 1080p picture.

The deep profile on our FP32 engines in ONNX Runtime, beside the same way over the originals:
facenet-pytorch's MTCNN, RMBG-1.4's official pipe, INR-Harmonization's *arbitrary* script and
BargainNet's two passes for each candidate, all in torch with the same weights. What lies between
the models, such as decoding, placement and composition, is ours in both. The originals take
minutes, so that they have few rounds.

Untrained weights separate nobody. So both matters run, and then both ways go on with one matte,
made beforehand by colour statistics.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from comparison import Parity, Settings, compare
from interleave import Contender, interleave
from peers_faces import FacenetDetector
from peers_harmonize import AuthorsHarmonizer
from peers_matte import TorchMatter
from peers_score import TorchScorer
from pictures import sample_artwork, sample_frame
from report import Row
from vivant.artwork import Artwork
from vivant.faces.mtcnn import MtcnnDetector
from vivant.harmonizers.inr import InrHarmonizer
from vivant.images import encode_image, load_image
from vivant.mattes.grabcut import GrabCutMatter
from vivant.mattes.rmbg import RmbgMatter
from vivant.portrait import prominent
from vivant.profiles import DEEP
from vivant.roles import Face, Image, Matter, Matting
from vivant.scorers.bargainnet import BargainNetScorer
from vivant.store import EngineStore
from vivant.studio import Studio

ENGINES = tuple(
    (model, "fp32") for model in ("mtcnn", "rmbg-1.4", "inr-harmonization", "bargainnet")
)


@dataclass(frozen=True)
class Visit:
    """What is composed: the photo's file, the person's matte in it, and the artwork."""

    photo: bytes
    matting: Matting
    artwork: Artwork


def rows(settings: Settings) -> Iterator[Row]:
    """Compare on one photo and one artwork."""
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "store": settings.store,
            "visit": _visit(settings.store, Path(folder)),
            "threads": settings.threads,
        }
        timings = interleave(
            {
                "vivant": Contender(ours, given, repeats=3),
                "originals": Contender(originals, given, warmup=0),
            },
            processors=settings.threads,
            rounds=settings.rounds_over(10),
        )
    own, peer = timings["vivant"], timings["originals"]
    difference = np.abs(own.result.astype(np.int16) - peer.result)
    yield compare(
        "end-to-end",
        "the originals of all four models in torch",
        own,
        peer,
        size="1920x1080",
        parity=Parity(float(difference.mean() / 255), "mean difference of the pictures, 0..1"),
        threads=settings.threads,
    )


def ours(store: EngineStore, visit: Visit, threads: int) -> Callable[[], Image]:
    """The deep profile."""
    roles = {
        "detector": MtcnnDetector.open(store, threads=threads),
        "matter": _Settled(RmbgMatter.open(store, DEEP.matte, threads=threads), visit.matting),
        "harmonizer": InrHarmonizer.open(store, threads=threads),
        "scorer": BargainNetScorer.open(store, threads=threads),
    }
    return _composing(roles, visit, threads)


def originals(store: EngineStore, visit: Visit, threads: int) -> Callable[[], Image]:
    """The same over the originals."""
    roles = {
        "detector": FacenetDetector(),
        "matter": _Settled(TorchMatter(store, threads), visit.matting),
        "harmonizer": AuthorsHarmonizer(store, threads),
        "scorer": TorchScorer(store, threads),
    }
    return _composing(roles, visit, threads)


class _Settled:
    """A matter that runs, and whose result is known already."""

    def __init__(self, matter: Matter, matting: Matting) -> None:
        self._matter, self._matting = matter, matting

    def matte(self, photo: Image, _faces: Sequence[Face]) -> Matting:
        self._matter.matte(photo, ())
        return self._matting


def _composing(roles: Mapping[str, Any], visit: Visit, threads: int) -> Callable[[], Image]:
    cv2.setNumThreads(threads)
    studio = Studio(**roles, profile=DEEP)

    def run() -> Image:
        picture = studio.compose(visit.photo, visit.artwork).image
        encode_image(picture, "jpeg")
        return picture

    return run


def _visit(store: EngineStore, folder: Path) -> Visit:
    photo = encode_image(sample_frame(), "jpeg")
    image = load_image(photo)
    with MtcnnDetector.open(store) as detector:
        faces = prominent(detector.detect(image))
    return Visit(
        photo,
        GrabCutMatter().matte(image, faces),
        sample_artwork(folder),
    )
