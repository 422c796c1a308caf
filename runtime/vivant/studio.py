"""The whole way: a photo and an artwork in, the visitor inside the painting out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from vivant import models
from vivant.artwork import Artwork, load_artwork
from vivant.casting import Part, cast
from vivant.closing import Closing
from vivant.errors import ImageError, SubjectError
from vivant.foreground import estimate_foreground
from vivant.images import load_image
from vivant.portrait import Portrait, classify, prominent
from vivant.profiles import Profile, find_profile
from vivant.roles import FaceDetector, Harmonizer, Image, Matte, Matter, Scorer
from vivant.scene import Figure, empty, lay, paint
from vivant.selection import select
from vivant.store import EngineStore, open_store

WORKING_SIDE = 2400
"""Longest side in pixels at which photos are worked on: more than any artwork shows of them."""

LOW_CONFIDENCE = 0.35
"""Confidence of a matte below which the result carries a warning."""

Photo: TypeAlias = "Image | bytes | str | os.PathLike[str]"

Watch: TypeAlias = Callable[[str, Image], None]
"""Is shown the picture after a stage, "composite" or "harmonized", once a figure.

What it raises ends the composing."""


def _nobody_watches(_stage: str, _image: Image) -> None:
    pass


@dataclass(frozen=True)
class Result:
    """A finished picture, and how it came about.

    Attributes:
        image: uint8 [H,W,3] RGB, of the artwork's output size.
        mask: uint8 [H,W], where the visitors are visible.
        composite: ``image`` before harmonizing.
        figures: in the order in which they were painted, the farthest first; one, unless the
            artwork places the people of a group apart.
        profile: the name of the profile that ran.
        timings: seconds by stage.
        warnings: what a visitor or curator might want to know, one line each.
    """

    image: Image
    mask: Matte
    composite: Image
    figures: tuple[Figure, ...]
    profile: str
    timings: Mapping[str, float]
    warnings: tuple[str, ...]

    @property
    def score(self) -> float:
        """The lowest of the figures' scores, 0 (pasted) .. 1 (one picture)."""
        return min(figure.best.score or 0.0 for figure in self.figures)


class Studio(Closing):
    """Four models that compose portraits into artworks, opened once and used all day.

    Not for several threads at once: one studio composes one picture at a time.
    """

    def __init__(
        self,
        detector: FaceDetector,
        matter: Matter,
        harmonizer: Harmonizer,
        scorer: Scorer,
        *,
        profile: Profile,
    ) -> None:
        self.profile = profile
        self._detector, self._matter = detector, matter
        self._harmonizer, self._scorer = harmonizer, scorer

    @classmethod
    def open(
        cls,
        profile: str | None = None,
        *,
        store: EngineStore | str | os.PathLike[str] | None = None,
    ) -> Studio:
        """Open the models of a profile.

        Args:
            profile: "classic", "deep" or "best"; without it, the best that can run here.
            store: the engine store, or its folder; without it, the default one.

        Raises:
            ModelError: the profile is unknown or lacks something here; the message says what.
            EngineError: an engine is altered or untrained.
        """
        store = store if isinstance(store, EngineStore) else open_store(store)
        chosen = find_profile(profile, store)
        return cls(
            models.open_model(models.FACES, chosen.faces, store),
            models.open_model(models.MATTES, chosen.matte, store),
            models.open_model(models.HARMONIZERS, chosen.harmonizer, store),
            models.open_model(models.SCORERS, chosen.scorer, store),
            profile=chosen,
        )

    def close(self) -> None:
        """Close the models."""
        for model in (self._detector, self._matter, self._harmonizer, self._scorer):
            if isinstance(model, Closing):
                model.close()

    def warm_up(self) -> None:
        """Run every model once, so that the first visitor waits no longer than the next.

        Libraries allocate their buffers when a graph first runs.
        """
        photo = np.full((1080, 1920, 3), 127, np.uint8)
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[270:, 640:1280] = 255
        self._detector.detect(photo)
        with suppress(SubjectError):  # nobody is on it
            self._matter.matte(photo, ())
        self._scorer.score(self._harmonizer.harmonize(photo, mask, [1.0]), [mask])

    def prepare(self, photo: Photo) -> Portrait:
        """Take a photo apart, once for any number of artworks.

        Args:
            photo: a file, its bytes, or uint8 [H,W,3] RGB; a longest side above
                ``WORKING_SIDE`` is reduced to it.

        Raises:
            ImageError: it is no picture.
            SubjectError: it shows nobody.
        """
        clock = Clock()
        with clock("decode"):
            image = reduce_to(as_image(photo), WORKING_SIDE)
        with clock("faces"):
            faces = prominent(self._detector.detect(image))
        with clock("matte"):
            matting = self._matter.matte(image, faces)
        with clock("foreground"):
            foreground = estimate_foreground(image, matting.matte)
        return Portrait(image, matting, foreground, classify(matting.matte, faces), clock.seconds)

    def compose(
        self,
        portrait: Portrait | Photo,
        artwork: Artwork | str | os.PathLike[str],
        *,
        slot: str | None = None,
        candidates: int = 3,
        alternatives: int = 1,
        budget_s: float = 10.0,
        watch: Watch = _nobody_watches,
    ) -> Result:
        """Compose a portrait into an artwork.

        Figures are painted one by one, the farthest first: each is laid into what was painted
        so far, and harmonized and scored there.

        Args:
            portrait: a photo (see ``prepare``) or what ``prepare`` made of it.
            artwork: an artwork or its folder.
            slot: where to stand, by name, a group together; without it, what suits best.
            candidates: how many strengths of harmonizing are tried beside the untouched
                composite.
            alternatives: how many slots are tried; people placed apart have one each.
            budget_s: seconds after which no further slot is tried.
            watch: is shown how the picture comes about.

        Raises:
            ImageError, SubjectError: the photo cannot be used.
            ArtworkError, PlacementError: the artwork cannot, or has no place for this portrait.
        """
        if not isinstance(portrait, Portrait):
            portrait = self.prepare(portrait)
        clock = Clock(portrait.timings)
        with clock("artwork"):
            artwork = artwork if isinstance(artwork, Artwork) else load_artwork(Path(artwork))
            scene = empty(artwork)
        with clock("placement"):
            parts = cast(portrait, artwork, slot=slot, alternatives=alternatives)
        for part in parts:
            with clock("composite"):
                composites = lay(scene, part)
            watch("composite", composites[0].image)
            with clock("harmonize"):
                selection = select(
                    composites,
                    self._harmonizer,
                    self._scorer,
                    strengths=self.profile.strengths[:candidates],
                    budget_s=budget_s,
                )
            with clock("composite"):
                scene = paint(scene, part, composites, selection)
            watch("harmonized", scene.image)
        return Result(
            image=scene.image,
            mask=scene.mask,
            composite=scene.composite,
            figures=scene.figures,
            profile=self.profile.name,
            timings=clock.seconds,
            warnings=warnings_about(portrait, parts, scene.figures),
        )


def reduce_to(image: Image, longest: int) -> Image:
    """Return ``image`` with a longest side of at most ``longest`` pixels, area-averaged."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def as_image(photo: Photo) -> Image:
    """Return a photo's pixels, uint8 [H,W,3] RGB.

    Raises:
        ImageError: it is no picture.
    """
    if not isinstance(photo, np.ndarray):
        return load_image(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ImageError(
            f"array of {photo.dtype} {list(photo.shape)}: not a picture; pass uint8 [H,W,3] RGB"
        )
    return photo


def warnings_about(
    portrait: Portrait, parts: Sequence[Part], figures: Sequence[Figure]
) -> tuple[str, ...]:
    """Return what a visitor or curator might want to know of a picture, one line each."""
    warnings = [warning for part in parts for warning in part.warnings]
    for figure in figures:
        where = f"{figure.placement.slot.name}: " if len(figures) > 1 else ""
        warnings += [where + warning for warning in figure.placement.warnings]
    if portrait.matting.confidence < LOW_CONFIDENCE:
        warnings.append(
            f"the matte is uncertain (confidence {portrait.matting.confidence:.2f}); "
            "a plain background and arms near the body help"
        )
    skipped = [c.name for figure in figures for c in figure.candidates if c.score is None]
    if skipped:
        warnings.append(f"not tried, the time was spent: {', '.join(skipped)}")
    return tuple(warnings)


class Clock:
    """Seconds by stage, in the order of the stages."""

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds = dict(seconds or {})

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time spent inside ``with`` to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
