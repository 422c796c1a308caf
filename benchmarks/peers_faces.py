"""MTCNN beside facenet-pytorch 2.6.0 as published.

That package imports torchvision for non-maximum suppression only; the one function is supplied
here, so that torchvision itself, which comes with gigabytes of CUDA, need not be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparison import Parity, Settings, compare
from interleave import Contender, interleave
from pictures import sample_frame
from report import Row
from standins import supply, unused
from vivant.faces.mtcnn import MtcnnDetector
from vivant.roles import MIN_FACE, Face, Image
from vivant.store import EngineStore

ENGINES = (("mtcnn", "fp32"),)
_SMALLEST = 60  # side of the smallest face looked for, pixels


def rows(settings: Settings) -> Iterator[Row]:
    """Compare on one 1920x1080 picture."""
    photo, threads = sample_frame(), settings.threads
    timings = interleave(
        {
            "vivant": Contender(
                ours, {"store": settings.store, "photo": photo, "threads": threads}
            ),
            "facenet-pytorch": Contender(facenet, {"photo": photo, "threads": threads}),
        },
        processors=threads,
        rounds=settings.rounds,
    )
    own, peer = timings["vivant"], timings["facenet-pytorch"]
    yield compare(
        "faces",
        "facenet-pytorch 2.6.0",
        own,
        peer,
        size="1920x1080",
        parity=_parity(own.result, peer.result),
        threads=threads,
    )


def ours(store: EngineStore, photo: Image, threads: int) -> Callable[[], tuple[Face, ...]]:
    """Vivant's detector."""
    import cv2

    cv2.setNumThreads(threads)
    detector = MtcnnDetector.open(store, threads=threads)
    return lambda: detector.detect(photo, min_face=_SMALLEST)


def facenet(photo: Image, threads: int) -> Callable[[], tuple[Face, ...]]:
    """The peer's detector, in float32 on the CPU."""
    import torch

    torch.set_num_threads(threads)
    detector = FacenetDetector()
    return lambda: detector.detect(photo, min_face=_SMALLEST)


class FacenetDetector:
    """facenet-pytorch's MTCNN as a ``vivant.roles.FaceDetector``."""

    def __init__(self) -> None:
        _supply_torchvision()
        from facenet_pytorch import MTCNN

        self._detector = MTCNN(keep_all=True)

    def detect(self, photo: Image, *, min_face: int = MIN_FACE) -> tuple[Face, ...]:
        """Return the faces that its ``detect`` returns."""
        self._detector.min_face_size = min_face
        boxes, probabilities, landmarks = self._detector.detect(photo, landmarks=True)
        if boxes is None:
            return ()
        return tuple(
            Face(tuple(box), float(probability), tuple(map(tuple, points)))  # type: ignore[arg-type]
            for box, probability, points in zip(
                boxes.tolist(), probabilities, landmarks.tolist(), strict=True
            )
        )


def _parity(own: tuple[Face, ...], peer: tuple[Face, ...]) -> Parity:
    if len(own) != len(peer):
        return Parity(None, f"{len(own)} faces, the peer finds {len(peer)}")
    differences = [
        float(np.abs(np.subtract(a, b)).max())
        for mine, other in zip(own, peer, strict=True)
        for a, b in ((mine.box, other.box), (mine.landmarks, other.landmarks))
    ]
    return Parity(
        max(differences, default=0.0), f"largest difference in pixels; {len(own)} face(s)"
    )


def _supply_torchvision() -> None:
    """Stand in for the names that facenet-pytorch imports from torchvision."""
    supply(
        {
            "torchvision.transforms.functional": unused(()),
            "torchvision.ops.boxes": {"batched_nms": _batched_nms},
        }
    )


def _batched_nms(boxes: Any, scores: Any, _groups: Any, threshold: float) -> Any:
    """Torchvision's semantics for one group: best first, suppress above the threshold."""
    import torch

    array: NDArray[np.float32] = boxes.numpy()
    order = np.argsort(-scores.numpy(), kind="stable")
    areas = (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])
    keep = []
    while order.size:
        best, order = order[0], order[1:]
        keep.append(best)
        start = np.maximum(array[best, :2], array[order, :2])
        size = np.maximum(np.minimum(array[best, 2:], array[order, 2:]) - start, 0)
        overlap = size[:, 0] * size[:, 1]
        order = order[~(overlap / (areas[best] + areas[order] - overlap) > threshold)]
    return torch.as_tensor(np.array(keep, np.int64))
