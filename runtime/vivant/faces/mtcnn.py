"""MTCNN: a cascade of three small networks that finds faces and five landmarks on each.

Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks". The result is that of ``detect`` in timesler/facenet-pytorch: the same faces, boxes
and landmarks to a hundredth of a pixel. Where this file looks odd (a missing +1, a float32
division), the original is odd there, and the networks were trained with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vivant.backends import Closing, Engine, open_engine
from vivant.faces.area import AreaSampler
from vivant.roles import MIN_FACE, Face, Image
from vivant.store import EngineStore

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

_CELL = 12  # P-Net looks at 12x12 pixels and moves by 2
_STRIDE = 2
_SCALE_STEP = 0.709
_PROPOSAL, _REFINED, _FINAL = np.float32(0.6), np.float32(0.7), np.float32(0.7)
_BATCH = 256  # crops run at once: bounds the memory, not the result
_BLOCK = 128  # boxes compared at once: the same


class MtcnnDetector(Closing):
    """Satisfies ``vivant.roles.FaceDetector``."""

    def __init__(self, pnet: Engine, rnet: Engine, onet: Engine) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet

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
        for engine in (self._pnet, self._rnet, self._onet):
            engine.close()

    def detect(self, photo: Image, *, min_face: int = MIN_FACE) -> tuple[Face, ...]:
        """Return every face that passes the three networks, largest box first.

        Args:
            photo: uint8 [H,W,3] RGB; one with a side below ``min_face`` shows no face.
            min_face: side in pixels of the smallest face looked for, 1 or more. Half of it
                takes four times as long.
        """
        sampler = AreaSampler(photo)
        boxes = self._propose(sampler, min_face)
        boxes = self._refine(boxes, sampler)
        boxes, scores, landmarks = self._finish(boxes, sampler)
        order = np.argsort((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[::-1]
        return tuple(
            Face(
                box=tuple(boxes[i].tolist()),
                probability=float(scores[i]),
                landmarks=tuple(map(tuple, landmarks[i].tolist())),
            )
            for i in order
        )

    def _propose(self, sampler: AreaSampler, min_face: int) -> Floats:
        """P-Net over the pyramid: square candidate boxes [N,4]."""
        levels = [
            self._propose_level(sampler, *level)
            for level in _pyramid(sampler.height, sampler.width, min_face)
        ]
        if not levels:
            return np.empty((0, 4), np.float32)
        boxes, scores, offsets = (np.concatenate(part) for part in zip(*levels, strict=True))
        keep = _suppress(boxes, scores, 0.7)
        return _square(_move(boxes[keep], offsets[keep], plus=0))

    def _propose_level(
        self, sampler: AreaSampler, height: int, width: int, scale: float
    ) -> tuple[Floats, Floats, Floats]:
        """Boxes [N,4], scores [N] and offsets [N,4] of one level, best first."""
        result = self._pnet.run({"image": sampler.resize(height, width)})
        probability = result["probability"][0, :, :, 0]
        rows, columns = np.nonzero(probability >= _PROPOSAL)
        cells = np.stack([columns, rows], axis=1).astype(np.float32) * _STRIDE
        # In float32: 5 / 0.2 must come out as 25 and not as 24.999..., the floor is next.
        first = np.floor((cells + 1) / np.float32(scale))
        last = np.floor((cells + _CELL) / np.float32(scale))
        boxes = np.concatenate([first, last], axis=1)
        scores = probability[rows, columns]
        keep = _suppress(boxes, scores, 0.5)
        return boxes[keep], scores[keep], result["regression"][0, rows, columns][keep]

    def _refine(self, boxes: Floats, sampler: AreaSampler) -> Floats:
        """R-Net on every candidate: fewer, better square boxes [N,4]."""
        boxes, (scores, offsets) = _run_crops(self._rnet, boxes, sampler, 24, _REFINED, _R_HEADS)
        keep = _suppress(boxes, scores[:, 0], 0.7)
        return _square(_move(boxes[keep], offsets[keep], plus=1))

    def _finish(self, boxes: Floats, sampler: AreaSampler) -> tuple[Floats, Floats, Floats]:
        """O-Net: final boxes [N,4], probabilities [N] and landmarks [N,5,2]."""
        boxes, (scores, offsets, points) = _run_crops(
            self._onet, boxes, sampler, 48, _FINAL, _O_HEADS
        )
        size = boxes[:, 2:] - boxes[:, :2] + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2]
        boxes = _move(boxes, offsets, plus=1)
        keep = _suppress_contained(boxes, scores[:, 0], 0.7)
        return boxes[keep], scores[keep, 0], landmarks[keep] - 1


def _pyramid(height: int, width: int, min_face: int) -> Iterator[tuple[int, int, float]]:
    """Height, width and scale of every level, as far as the shorter side holds a cell."""
    scale = _CELL / min_face
    shorter = min(height, width) * scale
    while shorter >= _CELL:
        yield int(height * scale + 1), int(width * scale + 1), scale
        scale *= _SCALE_STEP
        shorter *= _SCALE_STEP


_R_HEADS = ("probability", "regression")
_O_HEADS = ("probability", "regression", "landmarks")


def _run_crops(
    engine: Engine,
    boxes: Floats,
    sampler: AreaSampler,
    side: int,
    threshold: np.float32,
    heads: tuple[str, ...],
) -> tuple[Floats, tuple[Floats, ...]]:
    """Run ``engine`` on the picture inside ``boxes``; return the boxes that pass, and its heads.

    A box that does not touch the picture is dropped.
    """
    pixels = np.trunc(boxes).astype(np.intp)
    pixels[:, :2] = np.maximum(pixels[:, :2], 1) - 1  # 1-based, both ends inside, in the original
    pixels[:, 2:] = np.minimum(pixels[:, 2:], [sampler.width, sampler.height])
    inside = (pixels[:, 2:] > pixels[:, :2]).all(axis=1)
    boxes, pixels = boxes[inside], pixels[inside]
    if not len(boxes):
        return boxes, tuple(np.empty((0, _HEAD_SIZES[name]), np.float32) for name in heads)
    results = [
        engine.run({"image": sampler.crops(pixels[i : i + _BATCH], side)})
        for i in range(0, len(boxes), _BATCH)
    ]
    outputs = tuple(np.concatenate([result[name] for result in results]) for name in heads)
    keep = outputs[0][:, 0] > threshold
    return boxes[keep], tuple(output[keep] for output in outputs)


_HEAD_SIZES = {"probability": 1, "regression": 4, "landmarks": 10}


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
