"""MTCNN: a cascade of three small networks that finds faces and five landmarks on each.

Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks". The result is that of ``detect`` in timesler/facenet-pytorch: the same faces, boxes
and landmarks to a hundredth of a pixel. Where this file looks odd (a missing +1, a float32
division), the original is odd there, and the networks were trained with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vivant.backends import Engine, open_engine
from vivant.closing import Closing
from vivant.faces.area import AreaSampler
from vivant.roles import MIN_FACE, Face, Image
from vivant.store import EngineStore

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Heads: TypeAlias = Mapping[str, Floats]
"""What a network says, by the name of the output."""

_CELL = 12  # P-Net looks at 12x12 pixels and moves by 2
_STRIDE = 2
_SCALE_STEP = 0.709
_PROPOSAL = np.float32(0.6)
_BLOCK = 128  # boxes compared at once: bounds the memory, not the result

BATCH = 256
"""Crops that R-Net and O-Net see at once: bounds the memory, not the result."""


@dataclass(frozen=True)
class Judge:
    """A network that looks at crops.

    Attributes:
        graph: its name in the manifest.
        side: of the square crops, in pixels.
        threshold: probability above which a crop passes.
        heads: its outputs, with how many numbers each gives for a crop.
    """

    graph: str
    side: int
    threshold: np.float32
    heads: Mapping[str, int]


REFINER = Judge("rnet", 24, np.float32(0.7), {"probability": 1, "regression": 4})
FINISHER = Judge("onet", 48, np.float32(0.7), {"probability": 1, "regression": 4, "landmarks": 10})


class Networks(Protocol):
    """The three networks before one picture of ``height`` by ``width`` pixels.

    They see it reduced as ``AreaSampler`` does.
    """

    height: int
    width: int

    def propose(self, sizes: Sequence[tuple[int, int]]) -> Iterable[Heads]:
        """Run P-Net on the whole picture at each of the sizes, height and width.

        Returns:
            For each, "probability" [rows,columns] and "regression" [rows,columns,4].
        """
        ...

    def judge(self, judge: Judge, boxes: Indices) -> Heads:
        """Run R-Net or O-Net on crops.

        Args:
            judge: which of the two.
            boxes: [N,4], N at least 1, as ``AreaSampler.crops`` takes them.

        Returns:
            Each of the judge's heads, [N,K].
        """
        ...


class MtcnnDetector(Closing):
    """Satisfies ``vivant.roles.FaceDetector``."""

    def __init__(self, pnet: Engine, rnet: Engine, onet: Engine) -> None:
        self._engines = {"pnet": pnet, "rnet": rnet, "onet": onet}

    @classmethod
    def open(cls, store: EngineStore, *, threads: int | None = None) -> MtcnnDetector:
        """Open the engine ``mtcnn`` of ``store``.

        Args:
            store: where it is looked for.
            threads: to compute with; all usable cores unless told otherwise.

        Raises:
            EngineError: the engine is missing, altered or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine("mtcnn")
        pnet, rnet, onet = (
            open_engine(folder, name, threads=threads) for name in ("pnet", "rnet", "onet")
        )
        return cls(pnet, rnet, onet)

    def close(self) -> None:
        """Close the three engines."""
        for engine in self._engines.values():
            engine.close()

    def detect(self, photo: Image, *, min_face: int = MIN_FACE) -> tuple[Face, ...]:
        """Return every face that passes the three networks, largest box first.

        Args:
            photo: uint8 [H,W,3] RGB; one with a side below ``min_face`` shows no face.
            min_face: side in pixels of the smallest face looked for, 1 or more. Half of it
                takes four times as long.
        """
        return find_faces(_HostNetworks(self._engines, photo), min_face)


class _HostNetworks:
    """Satisfies ``Networks`` with engines that take arrays."""

    def __init__(self, engines: Mapping[str, Engine], photo: Image) -> None:
        self._engines, self._sampler = engines, AreaSampler(photo)
        self.height, self.width = photo.shape[:2]

    def propose(self, sizes: Sequence[tuple[int, int]]) -> Iterator[Heads]:
        for height, width in sizes:
            heads = self._engines["pnet"].run({"image": self._sampler.resize(height, width)})
            yield {
                "probability": heads["probability"][0, :, :, 0],
                "regression": heads["regression"][0],
            }

    def judge(self, judge: Judge, boxes: Indices) -> Heads:
        engine = self._engines[judge.graph]
        batches = [
            engine.run({"image": self._sampler.crops(boxes[i : i + BATCH], judge.side)})
            for i in range(0, len(boxes), BATCH)
        ]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in judge.heads}


def find_faces(networks: Networks, min_face: int) -> tuple[Face, ...]:
    """Return every face that passes the three networks, largest box first.

    Args:
        networks: before the picture.
        min_face: side in pixels of the smallest face looked for, 1 or more.
    """
    boxes = _refine(_propose(networks, min_face), networks)
    boxes, scores, landmarks = _finish(boxes, networks)
    order = np.argsort((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[::-1]
    return tuple(
        Face(
            box=tuple(boxes[i].tolist()),
            probability=float(scores[i]),
            landmarks=tuple(map(tuple, landmarks[i].tolist())),
        )
        for i in order
    )


def _propose(networks: Networks, min_face: int) -> Floats:
    """P-Net over the pyramid: square candidate boxes [N,4]."""
    levels = list(_pyramid(networks.height, networks.width, min_face))
    if not levels:
        return np.empty((0, 4), np.float32)
    results = networks.propose([(height, width) for height, width, _ in levels])
    found = [
        _candidates(heads, scale) for heads, (_, _, scale) in zip(results, levels, strict=True)
    ]
    boxes, scores, offsets = (np.concatenate(part) for part in zip(*found, strict=True))
    keep = _suppress(boxes, scores, 0.7)
    return _square(_move(boxes[keep], offsets[keep], plus=0))


def _candidates(heads: Heads, scale: float) -> tuple[Floats, Floats, Floats]:
    """Boxes [N,4], scores [N] and offsets [N,4] of one level, best first."""
    probability = heads["probability"]
    rows, columns = np.nonzero(probability >= _PROPOSAL)
    cells = np.stack([columns, rows], axis=1).astype(np.float32) * _STRIDE
    # In float32: 5 / 0.2 must come out as 25 and not as 24.999..., the floor is next.
    first = np.floor((cells + 1) / np.float32(scale))
    last = np.floor((cells + _CELL) / np.float32(scale))
    boxes = np.concatenate([first, last], axis=1)
    scores = probability[rows, columns]
    keep = _suppress(boxes, scores, 0.5)
    return boxes[keep], scores[keep], heads["regression"][rows, columns][keep]


def _refine(boxes: Floats, networks: Networks) -> Floats:
    """R-Net on every candidate: fewer, better square boxes [N,4]."""
    boxes, heads = _passing(REFINER, boxes, networks)
    keep = _suppress(boxes, heads["probability"][:, 0], 0.7)
    return _square(_move(boxes[keep], heads["regression"][keep], plus=1))


def _finish(boxes: Floats, networks: Networks) -> tuple[Floats, Floats, Floats]:
    """O-Net: final boxes [N,4], probabilities [N] and landmarks [N,5,2]."""
    boxes, heads = _passing(FINISHER, boxes, networks)
    scores, points = heads["probability"][:, 0], heads["landmarks"].reshape(-1, 2, 5)
    size = boxes[:, 2:] - boxes[:, :2] + 1
    landmarks = points.transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2]
    boxes = _move(boxes, heads["regression"], plus=1)
    keep = _suppress_contained(boxes, scores, 0.7)
    return boxes[keep], scores[keep], landmarks[keep] - 1


def _passing(judge: Judge, boxes: Floats, networks: Networks) -> tuple[Floats, Heads]:
    """Return the boxes that a judge lets pass, and what it says of them.

    A box that does not touch the picture is dropped.
    """
    pixels = np.trunc(boxes).astype(np.intp)
    pixels[:, :2] = np.maximum(pixels[:, :2], 1) - 1  # 1-based, both ends inside, in the original
    pixels[:, 2:] = np.minimum(pixels[:, 2:], [networks.width, networks.height])
    inside = (pixels[:, 2:] > pixels[:, :2]).all(axis=1)
    boxes, pixels = boxes[inside], pixels[inside]
    if not len(boxes):
        return boxes, {name: np.empty((0, n), np.float32) for name, n in judge.heads.items()}
    heads = networks.judge(judge, pixels)
    keep = heads["probability"][:, 0] > judge.threshold
    return boxes[keep], {name: head[keep] for name, head in heads.items()}


def _pyramid(height: int, width: int, min_face: int) -> Iterator[tuple[int, int, float]]:
    """Height, width and scale of every level, as far as the shorter side holds a cell."""
    scale = _CELL / min_face
    shorter = min(height, width) * scale
    while shorter >= _CELL:
        yield int(height * scale + 1), int(width * scale + 1), scale
        scale *= _SCALE_STEP
        shorter *= _SCALE_STEP


def _move(boxes: Floats, offsets: Floats, *, plus: int) -> Floats:
    """Shift each corner by its offset, in shares of the box's size (``plus`` 1: inclusive)."""
    size = boxes[:, 2:] - boxes[:, :2] + np.float32(plus)
    moved: Floats = boxes + offsets * np.concatenate([size, size], axis=1)
    return moved


def _square(boxes: Floats) -> Floats:
    """Grow the shorter side of each box about its centre."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    start = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([start, start + side], axis=1)


def _suppress(boxes: Floats, scores: Floats, threshold: float) -> Indices:
    """Non-maximum suppression by intersection over union; indices of what stays, best first.

    Block by block: overlaps are computed for many boxes at once, and memory stays bounded.
    """
    order = np.argsort(-scores, kind="stable")
    keep = []
    while order.size:
        block = min(_BLOCK, order.size)
        overlaps = _overlap_over_union(boxes[order[:block]], boxes[order]) > threshold
        alive = np.ones(order.size, bool)
        for i in range(block):
            if alive[i]:
                keep.append(order[i])
                alive[i + 1 :] &= ~overlaps[i, i + 1 :]
        order = order[block:][alive[block:]]
    return np.array(keep, np.intp)


def _overlap_over_union(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union [N,M]; not a number where two boxes have no area."""
    areas, other_areas = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, others))
    shared = _intersection(boxes[:, None], others, plus=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(shared / (areas[:, None] + other_areas - shared), np.float32)


def _suppress_contained(boxes: Floats, scores: Floats, threshold: float) -> Indices:
    """Non-maximum suppression by intersection over the smaller box, both ends inclusive."""
    order = np.argsort(scores)
    size = boxes[:, 2:] - boxes[:, :2] + 1
    areas = size[:, 0] * size[:, 1]
    keep = []
    while order.size:
        best, order = order[-1], order[:-1]
        keep.append(best)
        overlap = _intersection(boxes[best], boxes[order], plus=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # boxes without area
            shared = overlap / np.minimum(areas[best], areas[order])
        order = order[shared <= threshold]
    return np.array(keep, np.intp)


def _intersection(boxes: Floats, others: Floats, *, plus: int) -> Floats:
    """Area shared by boxes and others, [...,4] each, broadcast."""
    start = np.maximum(boxes[..., :2], others[..., :2])
    size = np.maximum(np.minimum(boxes[..., 2:], others[..., 2:]) - start + np.float32(plus), 0)
    area: Floats = size[..., 0] * size[..., 1]
    return area
