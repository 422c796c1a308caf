"""The workshop: one thread that composes one picture after the other, and a short queue before it.

A visitor gets a picture where one can be had: where the chosen profile does not open, or breaks in
the middle of one, the classic profile stands in, and the chosen one is tried again later, at
longer and longer intervals.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from vivant.artwork import Artwork
from vivant.closing import Closing
from vivant.errors import ArtworkError, ImageError, PlacementError, SubjectError, VivantError
from vivant.live import LivePreview
from vivant.profiles import CLASSIC
from vivant.roles import Image
from vivant_kiosk.compositions import Composition, Compositions, Options
from vivant_kiosk.problems import problem, problem_of
from vivant_kiosk.room import EndedError, Engine, Room, TooSlowError
from vivant_kiosk.settings import Settings

RETRY_S = (60.0, 3600.0)
"""Seconds until a profile that broke is tried again: the first time, and at most."""

STOP_S = 5.0
"""Seconds that a picture is given to be finished when the service stops."""

_OPENING_S = 900.0  # a GPU that compiles its kernels takes minutes
_NICENESS = 10  # of 19: pages and answers come first
_USUAL_S = 3.0  # for a picture, while nothing is known

_log = logging.getLogger(__name__)


class BusyError(VivantError):
    """Others come first; ``retry_after_s`` is when to ask again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = max(math.ceil(retry_after_s), 1)


class NotReadyError(VivantError):
    """The models are not open: not yet, or not any more."""


@dataclass(frozen=True)
class Status:
    """What the workshop is in a state to do.

    Attributes:
        ready: it takes photos.
        alive: its thread goes on; where not, the process should be started anew.
        profile: that is open.
        degraded: which profile another one stands in for, one line; or None.
        engines: in use.
        waiting: compositions that wait.
    """

    ready: bool
    alive: bool
    profile: str | None
    degraded: str | None
    engines: tuple[Engine, ...]
    waiting: int


@dataclass(eq=False)
class _Job:
    composition: Composition
    image: Image | None
    told: bool = False  # that it is finished


class Workshop(Closing):
    """Composes photos in the order in which they came.

    Every method may be called from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        compositions: Compositions,
        *,
        on_finished: Callable[[Composition], None] | None = None,
    ) -> None:
        """Take the settings; nothing is opened before ``start``.

        Args:
            settings: of the service.
            compositions: where what is submitted is kept.
            on_finished: is told of every composition that is finished.
        """
        self._settings, self._compositions = settings, compositions
        self._on_finished = on_finished or (lambda _: None)
        self._changed = threading.Condition()  # guards all of the following
        self._jobs: deque[_Job] = deque()
        self._running: _Job | None = None
        self._stopping = False
        self._busy_until = math.inf
        self._spent: deque[float] = deque(maxlen=9)
        self._room: Room | None = None
        self._degraded: str | None = None
        self._retry_at, self._retry_s = math.inf, RETRY_S[0]
        self._thread = threading.Thread(target=self._work, name="vivant-workshop", daemon=True)

    def start(self) -> None:
        """Open the models, warm them up, and begin, all in a thread of its own."""
        self._busy_until = time.monotonic() + _OPENING_S
        self._thread.start()

    def status(self) -> Status:
        """Return what it is in a state to do."""
        with self._changed:
            room, late = self._room, time.monotonic() > self._busy_until
            return Status(
                ready=room is not None and not self._stopping,
                alive=self._thread.is_alive() and not late,
                profile=room.name if room else None,
                degraded=self._degraded,
                engines=room.engines if room else (),
                waiting=len(self._jobs),
            )

    @property
    def preview(self) -> LivePreview | None:
        """The live preview, or None where there is none now."""
        room = self._room
        return room.preview if room else None

    def submit(self, image: Image, artwork: Artwork, options: Options) -> Composition:
        """Put a photo into the queue.

        Args:
            image: uint8 [H,W,3] RGB, reduced to ``vivant.studio.WORKING_SIDE``; it is let go of
                as soon as it is not needed any more.
            artwork: to compose it into.
            options: of the client.

        Raises:
            BusyError: too many wait, or are kept until they expire.
            NotReadyError: the models are not open.
        """
        with self._changed:
            self.check()
            composition = self._compositions.add(artwork, options)
            self._append(_Job(composition, image))
        return composition

    def check(self) -> None:
        """See whether a photo would be taken now.

        Raises:
            BusyError, NotReadyError: as ``submit``.
        """
        if self._compositions.held() >= self._settings.held:
            wait = self._compositions.next_expiry_s()
            raise BusyError("too many pictures are kept; wait for one to expire", wait or _USUAL_S)
        with self._changed:
            self._check_queue()

    def trial(
        self, image: Image, artwork: Artwork, options: Options, timeout_s: float
    ) -> Composition:
        """Compose a photo, in its turn, for the caller alone, and wait for it.

        Returns:
            The composition, finished: done, failed, or cancelled after ``timeout_s``.

        Raises:
            BusyError, NotReadyError: as ``submit``.
        """
        composition, done = Composition(artwork, options, timeout_s), threading.Event()
        composition.subscribe(lambda: done.set() if composition.finished else None)
        with self._changed:
            self._check_queue()
            self._append(_Job(composition, image))
        done.wait(timeout_s)
        composition.cancel()
        return composition

    def close(self) -> None:
        """Take nothing more, finish what runs or cancel it after some seconds, close the models."""
        with self._changed:
            self._stopping = True
            waiting, running = list(self._jobs), self._running
            self._changed.notify_all()
        for job in waiting:
            job.composition.cancel()
        if not self._thread.is_alive():
            return
        self._thread.join(STOP_S)
        if running is not None:
            running.composition.cancel()
        self._thread.join(STOP_S)

    # The queue ----------------------------------------------------------------------------------

    def _check_queue(self) -> None:
        if self._stopping:
            raise NotReadyError("the service is stopping; try again in a minute")
        if self._room is None:
            raise NotReadyError("the models are not open yet; try again in a minute")
        if len(self._jobs) + (self._running is not None) > self._settings.queue:
            usual = statistics.median(self._spent) if self._spent else _USUAL_S
            raise BusyError(f"{len(self._jobs)} pictures wait already; try again soon", usual)

    def _append(self, job: _Job) -> None:
        job.composition.subscribe(lambda: self._let_go(job))
        self._jobs.append(job)
        self._tell_positions()
        self._changed.notify_all()

    def _let_go(self, job: _Job) -> None:
        """Forget the photo of what is finished, and its place in the queue."""
        with self._changed:
            if job.told or not job.composition.finished:
                return
            job.told, job.image = True, None
            if job in self._jobs:
                self._jobs.remove(job)
                self._tell_positions()
        self._on_finished(job.composition)

    def _tell_positions(self) -> None:
        first = int(self._running is not None)
        for position, job in enumerate(tuple(self._jobs), start=first):
            job.composition.wait(position)

    def _next(self) -> _Job | None:
        """Wait for a job, or until a broken profile is to be tried again: then None."""
        with self._changed:
            self._running, self._busy_until = None, math.inf
            wait = max(self._retry_at - time.monotonic(), 0)
            self._changed.wait_for(
                lambda: self._stopping or self._jobs, None if wait == math.inf else wait
            )
            if self._stopping or not self._jobs:
                return None
            self._running = job = self._jobs.popleft()
            # Stages that cannot be interrupted get half as much again.
            self._busy_until = time.monotonic() + 1.5 * self._settings.composition_s + 10
            self._tell_positions()
            return job

    # The thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        _yield_to_others()
        self._open()
        while not self._stopping:
            job = self._next()
            if job is not None:
                self._do(job)
                del job  # it would keep the visitor until the next one comes
            elif not self._stopping:
                self._open()
        room, self._room = self._room, None
        if room is not None:
            room.close()

    def _do(self, job: _Job) -> None:
        """Compose a picture; whatever goes wrong ends in the composition."""
        began = time.monotonic()
        for _ in range(2):  # the second time with the profile that stands in
            room, composition, image = self._room, job.composition, job.image
            if room is None:
                composition.fail(problem("not-ready", "the models do not open; call the staff"))
                return
            if image is None or not composition.start(room.name, self._degraded):
                return
            try:
                room.compose(image, composition, self._settings.composition_s)
            except EndedError:
                return
            except TooSlowError:
                composition.fail(problem("gave-up", "the picture took too long; try again"))
            except (SubjectError, PlacementError) as error:
                composition.fail(problem_of(error))
            # Whatever a model raises must not end the thread.
            except Exception as error:  # noqa: BLE001
                _log.exception("a composition failed", extra={"profile": room.name})
                if not isinstance(error, (ImageError, ArtworkError)) and self._stand_in():
                    continue
                composition.fail(problem("failed", "the picture could not be made; try again"))
            self._spent.append(time.monotonic() - began)
            return

    # The models ---------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the chosen profile; where that fails, see that the classic one is open."""
        settings = self._settings
        with self._changed:
            self._busy_until = time.monotonic() + _OPENING_S
        try:
            room = Room.open(settings, settings.profile, settings.device)
        # Libraries raise what they like when a file or a driver is broken.
        except Exception:  # noqa: BLE001
            _log.exception("the profile does not open")
            self._stand_in()
        else:
            self._enter(room, None)
            self._retry_at, self._retry_s = math.inf, RETRY_S[0]
            _log.info("ready", extra={"profile": room.name})

    def _stand_in(self) -> bool:
        """Let the classic profile serve; return whether it had not done so before."""
        wanted = self._settings.profile or "the best profile"
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_S[1])
        if self._room is not None and self._room.name == CLASSIC.name:
            return False
        try:
            room = Room.open(self._settings, CLASSIC.name, None)
        except Exception:  # noqa: BLE001
            _log.exception("the classic profile does not open either")
            self._enter(None, None)
            return False
        self._enter(room, f"{wanted} does not run now; {CLASSIC.name} stands in")
        _log.warning("degraded", extra={"profile": CLASSIC.name})
        return True

    def _enter(self, room: Room | None, degraded: str | None) -> None:
        with self._changed:
            old, self._room, self._degraded = self._room, room, degraded
        if old is not None:
            with suppress(Exception):  # it may be broken
                old.close()


def _yield_to_others() -> None:
    """Let this thread, and those that it starts, take what processor time others leave."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    except OSError as error:
        _log.warning("pages may be slow while a picture is composed: %s", error.strerror)
