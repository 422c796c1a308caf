"""Compositions: what becomes of a visitor's photo, in memory alone, for as long as was agreed.

Everything here may be used from any thread. Pictures are kept as JPEG, for a settable time after
the composition is finished; what is deleted or has expired is not found any more, and gone with
the next ``sweep``.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

from vivant.artwork import Artwork
from vivant_kiosk.problems import Problem


class State(str, Enum):
    """What a composition is doing."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


class Stage(str, Enum):
    """What a picture shows: the visitor cut out, laid in, harmonized; the finished picture."""

    MATTE = "matte"
    COMPOSITE = "composite"
    HARMONIZED = "harmonized"
    DONE = "done"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Options:
    """What a client may choose; see ``vivant.Studio.compose``."""

    slot: str | None = None
    candidates: int = 3
    alternatives: int = 1


@dataclass(frozen=True)
class Picture:
    """A picture as JPEG, and its size in pixels."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Event:
    """Something that happened to a composition; numbers count from 1.

    ``data`` of "done" is empty: the facts are those at the time of asking.
    """

    number: int
    name: str
    data: Mapping[str, Any]


_FINISHED = {State.DONE, State.FAILED, State.CANCELLED}


class Composition:
    """One visitor's picture while it comes about, and until it is forgotten."""

    def __init__(self, artwork: Artwork, options: Options, retention_s: float) -> None:
        self.id = secrets.token_urlsafe(16)
        self.artwork, self.options = artwork, options
        self.created = datetime.now(timezone.utc)
        self._began = time.monotonic()
        self._retention_s = retention_s
        self._lock = threading.Lock()  # guards all of the following
        self._state = State.QUEUED
        self._position = 0
        self._pictures: dict[Stage, Picture] = {}
        self._events: list[Event] = []
        self._facts: Mapping[str, Any] = {}
        self._profile: str | None = None
        self._degraded: str | None = None
        self._error: Problem | None = None
        self._finished_s: float | None = None
        self._listeners: list[Callable[[], None]] = []

    # For clients --------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self._state in _FINISHED

    @property
    def error(self) -> Problem | None:
        """What went wrong, of one that failed."""
        return self._error

    @property
    def expires_in_s(self) -> float | None:
        """Seconds until it is forgotten, at least 0; None while it is not finished."""
        if self._finished_s is None:
            return None
        return max(self._finished_s + self._retention_s - time.monotonic(), 0.0)

    def facts(self) -> dict[str, Any]:
        """Return what a client may know of it, without its pictures, ready for JSON."""
        with self._lock:
            left = self.expires_in_s
            expires = None if left is None else datetime.now(timezone.utc) + timedelta(seconds=left)
            return {
                "id": self.id,
                "artwork": self.artwork.id,
                "state": str(self._state),
                "position": self._position,
                "stages": [str(stage) for stage in self._pictures],
                "profile": self._profile,
                "degraded": self._degraded,
                "score": self._facts.get("score"),
                "figures": self._facts.get("figures", []),
                "size": self._facts.get("size"),
                "timings": self._facts.get("timings", {}),
                "warnings": self._facts.get("warnings", []),
                "error": self._error and self._error.as_json(),
                "created": _iso(self.created),
                "expires": expires and _iso(expires),
                "expires_in_s": left and round(left, 1),
            }

    def picture(self, stage: Stage) -> Picture | None:
        """Return the newest picture of a stage, or None where there is none yet."""
        with self._lock:
            return self._pictures.get(stage)

    def events(self, after: int = 0) -> tuple[tuple[Event, ...], bool]:
        """Return the events with a number above ``after``, and whether these were the last."""
        with self._lock:
            return tuple(self._events[max(after, 0) :]), self.finished

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener``, from any thread, whenever there are new events.

        Returns:
            What ends it.
        """
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def cancel(self) -> None:
        """End it, unless it is finished: whoever works on it notices at the next stage."""
        self._advance("cancelled", {}, state=State.CANCELLED)

    # For the workshop ---------------------------------------------------------------------------

    def wait(self, position: int) -> None:
        """Tell that ``position`` others come first, the running one included."""
        with self._lock:
            if position == self._position and self._events:
                return
            self._position = position
        self._advance("queued", {"position": position})

    def start(self, profile: str, degraded: str | None) -> bool:
        """Tell that it is worked on; return whether it still has to be."""
        with self._lock:
            self._position, self._profile, self._degraded = 0, profile, degraded
        return self._advance("running", {}, state=State.RUNNING)

    def show(self, stage: Stage, picture: Picture) -> bool:
        """Take the picture of a stage; return whether more of them are wanted."""
        elapsed = round(time.monotonic() - self._began, 3)
        data = {"stage": str(stage), "width": picture.width, "height": picture.height}
        return self._advance(str(stage), {**data, "elapsed_s": elapsed}, {stage: picture})

    def finish(self, facts: Mapping[str, Any], pictures: Mapping[Stage, Picture]) -> None:
        """Take the finished picture and the facts about it (``vivant.facts``)."""
        with self._lock:
            self._facts = dict(facts)
        self._advance("done", {}, pictures, state=State.DONE)

    def fail(self, error: Problem) -> None:
        """Take what went wrong."""
        with self._lock:
            if not self.finished:
                self._error = error
        self._advance("failed", error.as_json(), state=State.FAILED)

    def forget(self) -> None:
        """End it and let go of every picture."""
        self.cancel()
        with self._lock:
            self._pictures.clear()
            self._facts = {}

    def _advance(
        self,
        event: str,
        data: Mapping[str, Any],
        pictures: Mapping[Stage, Picture] | None = None,
        state: State | None = None,
    ) -> bool:
        """Change all at once, tell the listeners; return whether it was not finished before."""
        with self._lock:
            if self.finished:
                return False
            self._pictures.update(pictures or {})
            self._state = state or self._state
            if self.finished:
                self._finished_s = time.monotonic()
            self._events.append(Event(len(self._events) + 1, event, data))
            listeners = list(self._listeners)
        for listener in listeners:
            listener()
        return True


@dataclass(frozen=True)
class Link:
    """A link to a finished picture, for a visitor's phone."""

    token: str
    composition: Composition
    uses_left: int


class Compositions:
    """All compositions that are not forgotten yet, and the links to them."""

    def __init__(self, retention_s: float) -> None:
        self._retention_s = retention_s
        self._lock = threading.Lock()  # guards all of the following
        self._known: dict[str, Composition] = {}
        self._links: dict[str, Link] = {}

    def add(self, artwork: Artwork, options: Options) -> Composition:
        """Return a new composition, with an id that nobody can guess."""
        composition = Composition(artwork, options, self._retention_s)
        with self._lock:
            self._known[composition.id] = composition
        return composition

    def find(self, composition_id: str) -> Composition | None:
        """Return the composition of this id, unless it was deleted or has expired."""
        with self._lock:
            found = self._known.get(composition_id)
        return None if found is None or found.expires_in_s == 0 else found

    def delete(self, composition_id: str) -> bool:
        """Cancel and forget a composition and its links; return whether it was there."""
        found = self.find(composition_id)
        with self._lock:
            known = self._known.pop(composition_id, None)
            self._links = {
                token: link
                for token, link in self._links.items()
                if link.composition.id != composition_id
            }
        if known is not None:
            known.forget()
        return found is not None

    def sweep(self) -> int:
        """Forget what has expired; return how many that were."""
        with self._lock:
            expired = [each.id for each in self._known.values() if each.expires_in_s == 0]
        for composition_id in expired:
            self.delete(composition_id)
        return len(expired)

    def held(self) -> int:
        """Return how many compositions there are."""
        with self._lock:
            return len(self._known)

    def next_expiry_s(self) -> float | None:
        """Return the seconds until a composition is forgotten; None where none is finished."""
        with self._lock:
            left = [each.expires_in_s for each in self._known.values()]
        return min((each for each in left if each is not None), default=None)

    def link(self, composition: Composition, uses: int) -> Link:
        """Return the one link to a composition, made when first asked for; it dies with it."""
        with self._lock:
            for link in self._links.values():
                if link.composition is composition:
                    return link
            link = Link(secrets.token_urlsafe(16), composition, uses)
            self._links[link.token] = link
            return link

    def look_up(self, token: str) -> Picture | None:
        """Return a link's picture without using the link; None where the link is dead."""
        return self._follow(token, uses=0)

    def redeem(self, token: str) -> Picture | None:
        """Use a link once; return its picture, or None where the link is dead."""
        return self._follow(token, uses=1)

    def _follow(self, token: str, uses: int) -> Picture | None:
        with self._lock:
            link = self._links.get(token)
            if link is None or link.uses_left < 1:
                return None
            self._links[token] = replace(link, uses_left=link.uses_left - uses)
        found = self.find(link.composition.id)
        return None if found is None else found.picture(Stage.DONE)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            known = list(self._known)
        for composition_id in known:
            self.delete(composition_id)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
