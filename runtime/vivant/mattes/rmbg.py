"""RMBG and its relatives: networks that see the whole photo at one fixed size.

RMBG-1.4 and isnet-general-use (IS-Net), RMBG-2.0 and the BiRefNets. They differ in their engines
and in what the engines' manifests say about resizing; each is used as its authors use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vivant.backends import Engine, open_engine
from vivant.closing import Closing
from vivant.errors import EngineError, SubjectError
from vivant.resampling import METHODS, resample
from vivant.roles import Face, Image, Matte, Matting
from vivant.store import EngineFolder, EngineStore

Alpha = NDArray[np.float32]

_LEAST_ALPHA = 0.5  # that the surest pixel must have
_LEAST_COVERAGE = 0.5  # share of a face's box that must be person

LEAST_CONTRAST = 0.1
"""Between the surest pixel of the person and the surest of the background, in the alpha."""


@dataclass(frozen=True)
class Pipe:
    """What happens to a photo before its engine and to the alpha after it; see ``resampling``.

    Attributes:
        size: side of the engine's square input; the aspect is not kept.
        resize: the method down to it.
        resize_back: the method back to the photo's size.
        min_max: stretch the result to 0..1, on floats; without it the alpha becomes bytes before
            it is resized.
    """

    size: int
    resize: str
    resize_back: str
    min_max: bool


class RmbgMatter(Closing):
    """Satisfies ``vivant.roles.Matter``."""

    def __init__(self, engine: Engine, pipe: Pipe) -> None:
        self._engine, self._pipe = engine, pipe

    @classmethod
    def open(
        cls,
        store: EngineStore,
        model: str,
        *,
        size: int | None = None,
        threads: int | None = None,
    ) -> RmbgMatter:
        """Open the engine of ``model``.

        Args:
            store: where it is looked for.
            model: such as "rmbg-1.4".
            size: side of the network's input in pixels, where it is not the model's own.
            threads: to compute with; all usable cores unless told otherwise.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine(model, size=size)
        pipe = read_pipe(folder)
        return cls(open_engine(folder, threads=threads), pipe)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def matte(self, photo: Image, faces: Sequence[Face]) -> Matting:
        """Return the matte of what stands out in ``photo``, and a confidence.

        The confidence is how far the network is from undecided, ``|2a - 1|`` averaged over the
        foreground, times the share of the faces' boxes that is foreground.

        Args:
            photo: uint8 [H,W,3] RGB.
            faces: of the people who should stand out; without any, nobody is looked for.

        Raises:
            SubjectError: nothing stands out, or none of the faces does, or the whole frame does.
            EngineError: the engine does not return numbers.
        """
        side = self._pipe.size
        small = resample(photo, side, side, self._pipe.resize)
        alpha: Alpha = self._engine.run({"image": small[np.newaxis]})["alpha"][0]
        check(float(alpha.min()), float(alpha.max()))
        confidence = _sureness(alpha) * coverage(covered(alpha, faces, photo.shape))
        return Matting(_to_matte(alpha, photo.shape, self._pipe), confidence)


def read_pipe(folder: EngineFolder) -> Pipe:
    """Return what the manifest of an engine says.

    Raises:
        EngineError: it lacks a word, or has one that this version does not know.
    """
    known = folder.manifest.preprocessing
    again = f"run 'vivant export {folder.manifest.model}' again"
    missing = [field.name for field in fields(Pipe) if field.name not in known]
    if missing:
        raise EngineError(f"{folder.path}: preprocessing lacks {', '.join(missing)}; {again}")
    pipe = Pipe(**{field.name: known[field.name] for field in fields(Pipe)})
    for method in (pipe.resize, pipe.resize_back):
        if method not in METHODS:
            raise EngineError(f"{folder.path}: this version cannot resize {method!r}; {again}")
    return pipe


def check(low: float, high: float) -> None:
    """Refuse what a stretch to 0..1 would turn into a picture of noise.

    Args:
        low: the least alpha; not a number where any is none.
        high: the largest.

    Raises:
        SubjectError: nothing stands out, or everything does.
        EngineError: they are no numbers.
    """
    if not math.isfinite(low + high):
        raise EngineError("the matte is not a number; run 'vivant doctor', or export in fp32")
    if high < _LEAST_ALPHA:
        raise SubjectError(
            "nobody stands out from the background; step closer to the camera, with more light"
        )
    if high - low < LEAST_CONTRAST:
        raise SubjectError(
            "person and background could not be told apart; step back from the camera"
        )


def _sureness(alpha: Alpha) -> float:
    """Return ``|2a - 1|`` averaged over the foreground, 0..1."""
    decided = 2 * alpha
    decided -= 1
    np.abs(decided, out=decided)
    return float(np.vdot(decided, alpha) / alpha.sum())


def covered(
    plane: Alpha | Matte,
    faces: Sequence[Face],
    shape: tuple[int, ...],
    *,
    low: float = 0.0,
    step: float = 1.0,
) -> tuple[float, ...]:
    """Return the mean alpha in the box of each face; 0 for one outside the photo.

    Args:
        plane: [h,w], of any size.
        faces: in a photo of ``shape``.
        shape: of that photo, height first.
        low: the alpha that 0 in ``plane`` stands for.
        step: what 1 more stands for.
    """
    rows, columns = plane.shape[0] / shape[0], plane.shape[1] / shape[1]
    means = []
    for face in faces:
        left, top, right, bottom = face.box
        inside = plane[
            max(0, math.floor(top * rows)) : max(0, math.ceil(bottom * rows)),
            max(0, math.floor(left * columns)) : max(0, math.ceil(right * columns)),
        ]
        means.append(low + step * float(inside.mean()) if inside.size else 0.0)
    return tuple(means)


def coverage(alphas: Sequence[float]) -> float:
    """Return the mean of the ``alphas`` that the faces' boxes have, 0..1; 1 without faces.

    Raises:
        SubjectError: no face is covered.
    """
    if not alphas:
        return 1.0
    if max(alphas) < _LEAST_COVERAGE:
        raise SubjectError(
            "what stands out in the photo is not the face in it; step before a calm background"
        )
    return sum(alphas) / len(alphas)


def _to_matte(alpha: Alpha, shape: tuple[int, ...], pipe: Pipe) -> Matte:
    height, width = shape[:2]
    if not pipe.min_max:
        # Truncated, as in the authors' code, and so is the stretched one below.
        return resample((alpha * 255).astype(np.uint8), height, width, pipe.resize_back)
    full = resample(alpha, height, width, pipe.resize_back)
    low, high = full.min(), full.max()
    full = full - low  # a new array: Pillow's may not be written to
    full /= max(high - low, np.float32(LEAST_CONTRAST))
    full *= 255
    return np.asarray(full, np.uint8)
