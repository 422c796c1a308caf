"""The visitor inside the painting before the shutter: camera frames in, small previews out.

The latest frame wins: while one is computed, newer ones replace the one that waits. At most these
two are held, both reduced, and nothing is logged or written: they show visitors.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np

from vivant.artwork import Artwork
from vivant.closing import Closing
from vivant.errors import ImageError, PreviewError
from vivant.live.models import Roles, open_roles
from vivant.live.painter import Frame, Painter, Preview, State
from vivant.profiles import find_profile
from vivant.roles import Image
from vivant.store import EngineStore, open_store

HEIGHT = 540
"""Rows of a preview, unless told otherwise."""

IDLE_S = 0.2
"""Seconds between looks at an empty scene: a kiosk stands before nobody most of its day."""

_FRAME_PER_ROW = 1.2  # longest side at which a frame is worked on, in rows of the preview


class LivePreview(Closing):
    """Composes camera frames into an artwork as fast as the machine can, in a thread of its own.

    Every method may be called from any thread::

        with LivePreview.open() as preview:
            preview.show(artwork)
            preview.submit(frame)  # by the camera, as often as it has one
            preview.wait(after=number)  # by the page
            with preview.paused():
                studio.compose(photo, artwork)
            preview.clear()  # the visitor has gone
    """

    def __init__(self, roles: Roles, *, height: int = HEIGHT) -> None:
        """Start with opened models, which stay the caller's to close.

        Args:
            roles: the models.
            height: rows of a preview; of artworks with fewer rows, theirs.
        """
        self._roles, self._height = roles, height
        self._opened: tuple[Closing, ...] = ()
        self._changed = threading.Condition()  # guards all of the following
        self._painter: Painter | None = None
        self._waiting: Frame | None = None
        self._outcome: Preview | Exception | None = None
        self._number = 0
        self._pauses = 0
        self._rest_until = 0.0
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._work, name="vivant-preview", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        profile: str | None = None,
        *,
        store: EngineStore | str | os.PathLike[str] | None = None,
        height: int = HEIGHT,
    ) -> LivePreview:
        """Open the quick relatives of a profile's models.

        For "deep" and "best" these are RMBG-1.4 (or IS-Net) at 512x512 and INR-Harmonization's
        colour table, for "classic" GrabCut on a small picture.

        Args:
            profile: "classic", "deep" or "best"; without it, the best that can run here.
            store: the engine store, or its folder; without it, the default one.
            height: rows of a preview.

        Raises:
            ModelError: the profile is unknown or lacks something here; the message says what.
            EngineError: an engine is missing, altered or untrained.
        """
        store = store if isinstance(store, EngineStore) else open_store(store)
        chosen = find_profile(profile, store)
        roles = open_roles(chosen, store)
        preview = cls(roles, height=height)
        opened = (roles.detector, roles.matter, roles.harmonizer)
        preview._opened = tuple(model for model in opened if isinstance(model, Closing))
        return preview

    def show(self, artwork: Artwork, slot: str | None = None) -> None:
        """Compose the frames from now on into ``artwork``; ``latest`` is it alone at first.

        Args:
            artwork: reduced to the preview's rows here and now.
            slot: where to stand, by name; without it, what suits best.

        Raises:
            ImageError: a picture of the artwork was damaged or removed.
            PlacementError: it has no slot of this name.
            PreviewError: the preview is closed.
        """
        rows = min(self._height, artwork.output_height)
        painter = Painter(self._roles, replace(artwork, output_height=rows), slot)
        with self._at_rest():
            self._check_open()
            self._forget()
            self._painter = painter
            self._publish(painter.empty())

    def submit(self, frame: Image) -> None:
        """Take a camera frame in; it replaces one that waits.

        It is dropped while paused and while no artwork is shown. Its memory may be used again
        as soon as this returns.

        Args:
            frame: uint8 [H,W,3] RGB, upright, of any size.

        Raises:
            ImageError: it is no picture.
            PreviewError: the preview is closed.
        """
        arrived = time.monotonic()
        _check_frame(frame)
        with self._changed:
            if not self._takes_frames():
                return
        photo = _reduced(frame, round(_FRAME_PER_ROW * self._height))
        with self._changed:
            if self._takes_frames():
                self._waiting = Frame(photo, arrived)
                self._changed.notify_all()

    def latest(self) -> Preview | None:
        """Return the newest preview, or ``None`` where no artwork is shown.

        Raises:
            PreviewError: the newest frame failed in a way that no visitor can mend, or the preview
                is closed. The frames after it are computed all the same.
        """
        with self._changed:
            return self._result()

    def wait(self, after: int = 0, timeout: float | None = None) -> Preview | None:
        """Return the newest preview as soon as its number exceeds ``after``.

        Returns:
            ``None`` where there was none within ``timeout`` seconds.

        Raises:
            PreviewError: see ``latest``.
        """

        def is_newer() -> bool:
            failed = isinstance(self._outcome, Exception)
            return self._closed or failed or (self._outcome is not None and self._number > after)

        with self._changed:
            return self._result() if self._changed.wait_for(is_newer, timeout) else None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the machine to others: drop all frames meanwhile, and keep the last preview.

        Begins when the frame that is computed is done.
        """
        with self._at_rest():
            self._pauses += 1
            self._waiting = None
        try:
            yield
        finally:
            with self._changed:
                self._pauses -= 1

    def clear(self) -> None:
        """Forget the visitor and the artwork: take no frame until the next ``show``.

        When this returns no frame, and no picture made of one, is referred to.
        """
        with self._at_rest():
            self._forget()

    def close(self) -> None:
        """Forget everything, end the thread, and close the models that ``open`` opened."""
        with self._at_rest():
            self._forget()
            self._closed = True
        self._thread.join()
        opened, self._opened = self._opened, ()
        for model in opened:
            model.close()

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Hold the lock while no frame is computed."""
        with self._changed:
            self._pauses += 1  # or the worker could take one frame after the other
            try:
                self._changed.wait_for(lambda: not self._busy)
                yield
            finally:
                self._pauses -= 1
                self._changed.notify_all()

    def _forget(self) -> None:
        self._painter = self._waiting = self._outcome = None
        self._roles.forget()

    def _check_open(self) -> None:
        if self._closed:
            raise PreviewError("the live preview is closed; open another")

    def _takes_frames(self) -> bool:
        self._check_open()
        return self._painter is not None and not self._pauses

    def _result(self) -> Preview | None:
        self._check_open()
        if isinstance(self._outcome, Exception):
            reason = f"{type(self._outcome).__name__}: {self._outcome}"
            raise PreviewError(
                f"the newest frame failed ({reason}); if others do, run 'vivant doctor'"
            ) from self._outcome
        return self._outcome

    def _publish(self, preview: Preview) -> None:
        self._number += 1
        self._outcome = replace(preview, number=self._number)
        self._changed.notify_all()

    # The worker ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while self._step():
            pass  # what a step knows of a frame is gone when it returns

    def _step(self) -> bool:
        """Compute one frame; return whether there will be another."""
        task = self._take()
        if task is None:
            return False
        outcome: Preview | Exception | None
        try:
            outcome = task[0].paint(task[1])
        # Whatever a model raises is for the page to hear of, and no reason to stop.
        except Exception as error:  # noqa: BLE001
            outcome = _without_locals(error)
        del task
        with self._changed:
            self._busy = False
            if isinstance(outcome, Preview):
                self._publish(outcome)
                if outcome.state is State.NOBODY:
                    self._rest_until = time.monotonic() + IDLE_S
            elif outcome is not None:
                self._outcome = outcome
            del outcome  # before anybody can clear what is left
            self._changed.notify_all()
        return True

    def _take(self) -> tuple[Painter, Frame] | None:
        """Wait for a frame; ``None`` when closed."""
        with self._changed:
            rest = max(self._rest_until - time.monotonic(), 0)
            self._changed.wait_for(lambda: self._closed, rest)
            self._changed.wait_for(lambda: self._closed or self._is_due())
            if self._painter is None or self._waiting is None:
                return None
            frame, self._waiting, self._busy = self._waiting, None, True
            return self._painter, frame

    def _is_due(self) -> bool:
        return self._waiting is not None and not self._pauses


def _check_frame(frame: Image) -> None:
    """Refuse what is no picture; cameras and their drivers are not typed."""
    kind = type(frame).__name__
    if isinstance(frame, np.ndarray):
        if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size:
            return
        kind = f"{frame.dtype} {list(frame.shape)}"
    raise ImageError(f"camera frame: found {kind}; submit uint8 [H,W,3] RGB")


def _reduced(frame: Image, longest: int) -> Image:
    """Return a copy, reduced by a whole number: that takes a tenth of the time of others."""
    by = max(round(max(frame.shape[:2]) / longest), 1)
    if by == 1:
        return np.array(frame)
    height, width = (max(side // by, 1) for side in frame.shape[:2])
    whole = np.ascontiguousarray(frame[: height * by, : width * by])
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _without_locals(error: Exception) -> Exception:
    """Return the error without what its functions knew, which includes a visitor's picture."""
    linked: list[BaseException | None] = [error]
    for each in linked:
        if each is not None:
            traceback.clear_frames(each.__traceback__)
            linked += [other for other in (each.__cause__, each.__context__) if other not in linked]
    # The first function is the worker's own and still running.
    return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
