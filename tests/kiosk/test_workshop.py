"""The thread that composes: order, the queue's end, what breaks, what stands in."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from vivant.artwork import load_artwork
from vivant.errors import EngineError, SubjectError
from vivant.images import load_image
from vivant_kiosk import workshop as module
from vivant_kiosk.compositions import Compositions, Options, Stage, State
from vivant_kiosk.room import Room, cut_out
from vivant_kiosk.settings import Settings
from vivant_kiosk.workshop import BusyError, NotReadyError, Workshop
from vivant_samples import ARTWORKS

WAIT_S = 60.0  # that something has to happen in; nothing here is timed


@pytest.fixture(scope="module")
def artwork():
    return load_artwork(ARTWORKS / "night-harbour")


@pytest.fixture
def settings(store):
    return Settings(profile="classic", store=store.root, queue=2, preview=False)


class Bench:
    """A workshop that has been started, and what it finished."""

    def __init__(self, settings):
        self.finished = []
        self.compositions = Compositions(settings.retention_s)
        self.workshop = Workshop(settings, self.compositions, on_finished=self.finished.append)
        self.workshop.start()

    def until(self, condition):
        wait = threading.Event()
        for _ in range(int(WAIT_S / 0.01)):
            if condition():
                return
            wait.wait(0.01)
        pytest.fail("it did not happen")

    def until_ready(self):
        self.until(lambda: self.workshop.status().ready)
        return self

    def finish(self, composition):
        self.until(lambda: composition.finished)
        return composition

    def close(self):
        self.workshop.close()


@pytest.fixture
def bench():
    opened = []

    def make(settings):
        opened.append(Bench(settings))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


class StandIn:
    """A room that does as the test says, and keeps nothing."""

    preview, engines = None, ()

    def __init__(self, name="classic", error=None):
        self.name, self.error, self.closed = name, error, False
        self.go, self.entered = threading.Event(), threading.Event()
        self.go.set()

    def compose(self, image, composition, limit_s):
        self.entered.set()
        self.go.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        composition.finish({}, {})

    def close(self):
        self.closed = True


@pytest.fixture
def rooms(monkeypatch):
    """What opens in turn: rooms, or errors; by profile."""
    known = {}

    def open_room(settings, profile, device):
        found = known[profile]
        found = found.pop(0) if isinstance(found, list) else found
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(module.Room, "open", open_room)
    return known


@pytest.fixture
def photo():
    return np.zeros((8, 8, 3), np.uint8)


def test_a_photo_becomes_a_picture(bench, settings, artwork, astronaut):
    bench = bench(settings).until_ready()
    composition = bench.workshop.submit(astronaut, artwork, Options())
    bench.finish(composition)
    assert composition.state is State.DONE
    names = [event.name for event in composition.events()[0]]
    assert names == ["queued", "running", "matte", "composite", "harmonized", "done"]
    for stage in Stage:
        picture = composition.picture(stage)
        decoded = load_image(picture.jpeg)
        assert decoded.shape == (picture.height, picture.width, 3)
    facts = composition.facts()
    assert (facts["profile"], facts["degraded"]) == ("classic", None)
    assert facts["figures"][0]["placement"]["slot"] == "by-the-table"
    assert bench.finished == [composition]


def test_the_visitor_is_cut_out_over_a_dark_ground(store, astronaut):
    from vivant.studio import Studio

    with Studio.open("classic", store=store) as studio:
        portrait = studio.prepare(astronaut)
    picture = cut_out(portrait)
    assert picture.shape == portrait.photo.shape  # smaller than the most
    outside = portrait.matting.matte == 0
    assert (picture[outside] == (28, 26, 23)).all()
    inside = portrait.matting.matte == 255
    assert (picture[inside] == portrait.foreground[inside]).all()


def test_what_is_in_use_is_told(bench, settings):
    status = bench(settings).until_ready().workshop.status()
    assert status.alive
    assert status.profile == "classic"
    told = {engine.role: (engine.model, engine.backend) for engine in status.engines}
    assert told["faces"] == ("mtcnn", "onnxruntime")
    assert told["matte"] == ("grabcut", None)


def test_a_photo_of_nobody_is_the_visitors_to_mend(bench, settings, rooms, artwork, photo):
    rooms["classic"] = StandIn(error=SubjectError("nobody was found; step closer"))
    bench = bench(settings).until_ready()
    composition = bench.finish(bench.workshop.submit(photo, artwork, Options()))
    assert composition.error.code == "nobody"
    assert composition.error.detail == "nobody was found; step closer"
    assert bench.workshop.status().degraded is None


def test_a_queue_has_an_end(bench, settings, rooms, artwork, photo):
    room = rooms["classic"] = StandIn()
    room.go.clear()
    bench = bench(settings).until_ready()
    running = bench.workshop.submit(photo, artwork, Options())
    room.entered.wait(WAIT_S)
    waiting = [bench.workshop.submit(photo, artwork, Options()) for _ in range(2)]
    assert [each.facts()["position"] for each in waiting] == [1, 2]
    with pytest.raises(BusyError, match="2 pictures wait already") as caught:
        bench.workshop.submit(photo, artwork, Options())
    assert caught.value.retry_after_s >= 1
    waiting[0].cancel()  # which makes room, and lets the next one up
    assert waiting[1].facts()["position"] == 1
    another = bench.workshop.submit(photo, artwork, Options())
    room.go.set()
    for each in (running, waiting[1], another):
        assert bench.finish(each).state is State.DONE
    assert bench.finished == [waiting[0], running, waiting[1], another]


def test_only_so_many_are_kept(bench, settings, rooms, artwork, photo):
    rooms["classic"] = StandIn()
    bench = bench(settings.model_copy(update={"held": 1})).until_ready()
    kept = bench.finish(bench.workshop.submit(photo, artwork, Options()))
    with pytest.raises(BusyError, match="too many pictures are kept") as caught:
        bench.workshop.submit(photo, artwork, Options())
    assert 110 <= caught.value.retry_after_s <= 120
    bench.compositions.delete(kept.id)
    bench.finish(bench.workshop.submit(photo, artwork, Options()))


def test_a_profile_that_breaks_is_stood_in_for_and_the_visitor_gets_a_picture(
    bench, settings, rooms, artwork, photo
):
    deep = StandIn("deep", error=RuntimeError("the device was lost"))
    rooms |= {"deep": deep, "classic": StandIn()}
    bench = bench(settings.model_copy(update={"profile": "deep"})).until_ready()
    composition = bench.finish(bench.workshop.submit(photo, artwork, Options()))
    assert composition.state is State.DONE
    facts, status = composition.facts(), bench.workshop.status()
    assert facts["profile"] == status.profile == "classic"
    assert facts["degraded"] == status.degraded == "deep does not run now; classic stands in"
    assert status.ready
    assert deep.closed


def test_a_profile_that_does_not_open_is_stood_in_for_and_tried_again(
    bench, settings, rooms, artwork, photo, monkeypatch
):
    monkeypatch.setattr(module, "RETRY_S", (0.05, 0.1))
    deep = StandIn("deep")
    broken = EngineError("engines/rmbg: altered")
    rooms |= {"deep": [broken, broken, broken, deep], "classic": [StandIn()]}
    bench = bench(settings.model_copy(update={"profile": "deep"}))
    bench.until(lambda: bench.workshop.status().profile == "deep")
    assert rooms["deep"] == []
    status = bench.workshop.status()
    assert (status.ready, status.degraded) == (True, None)
    composition = bench.finish(bench.workshop.submit(photo, artwork, Options()))
    assert composition.facts()["profile"] == "deep"


def test_nothing_opens(bench, settings, rooms, artwork, photo):
    rooms["classic"] = EngineError("no engine 'mtcnn'")
    bench = bench(settings)
    with pytest.raises(NotReadyError, match="not open yet; try again"):
        bench.workshop.submit(photo, artwork, Options())
    assert not bench.workshop.status().ready
    assert bench.workshop.status().alive


def test_nothing_opens_any_more(bench, settings, rooms, artwork, photo):
    settings = settings.model_copy(update={"profile": "deep"})
    room = rooms["deep"] = StandIn("deep", MemoryError())
    rooms["classic"] = EngineError("no engine 'mtcnn'")
    room.go.clear()
    bench = bench(settings).until_ready()
    running, waiting = (bench.workshop.submit(photo, artwork, Options()) for _ in range(2))
    room.go.set()
    assert bench.finish(running).error.code == "failed"
    assert bench.finish(waiting).error.code == "not-ready"
    assert not bench.workshop.status().ready


def test_the_classic_profile_breaks_and_goes_on(bench, settings, rooms, artwork, photo):
    room = rooms["classic"] = StandIn(error=MemoryError())
    bench = bench(settings).until_ready()
    composition = bench.finish(bench.workshop.submit(photo, artwork, Options()))
    assert composition.error.code == "failed"
    room.error = None
    composition = bench.finish(bench.workshop.submit(photo, artwork, Options()))
    assert composition.state is State.DONE


def test_what_takes_too_long_is_given_up(bench, settings, artwork, astronaut):
    settings = settings.model_copy(update={"composition_s": 1e-3})
    bench = bench(settings).until_ready()
    composition = bench.workshop.submit(astronaut, artwork, Options())
    assert bench.finish(composition).error.code == "gave-up"


def test_what_is_cancelled_is_not_gone_on_with(bench, settings, artwork, astronaut):
    bench = bench(settings).until_ready()
    composition = bench.workshop.submit(astronaut, artwork, Options())
    composition.subscribe(composition.cancel)  # at its next stage
    bench.finish(composition)
    another = bench.finish(bench.workshop.submit(astronaut, artwork, Options()))
    assert (composition.state, another.state) == (State.CANCELLED, State.DONE)
    assert composition.picture(Stage.DONE) is None


def test_a_stuck_thread_is_not_alive(bench, settings, rooms, artwork, photo):
    room = rooms["classic"] = StandIn()
    room.go.clear()
    bench = bench(settings).until_ready()
    bench.workshop.submit(photo, artwork, Options())
    room.entered.wait(WAIT_S)
    assert bench.workshop.status().alive
    bench.workshop._busy_until = 0.0
    assert not bench.workshop.status().alive
    room.go.set()


def test_stopping_finishes_what_runs_and_cancels_what_waits(bench, settings, rooms, artwork, photo):
    room = rooms["classic"] = StandIn()
    room.go.clear()
    bench = bench(settings).until_ready()
    running = bench.workshop.submit(photo, artwork, Options())
    room.entered.wait(WAIT_S)
    waiting = bench.workshop.submit(photo, artwork, Options())
    waiting.subscribe(room.go.set)
    bench.workshop.close()
    assert (running.state, waiting.state) == (State.DONE, State.CANCELLED)
    assert room.closed
    assert not bench.workshop.status().alive
    with pytest.raises(NotReadyError, match="stopping"):
        bench.workshop.submit(photo, artwork, Options())


def test_stopping_waits_no_longer_than_it_may(bench, settings, rooms, artwork, photo, monkeypatch):
    monkeypatch.setattr(module, "STOP_S", 0.05)
    room = rooms["classic"] = StandIn()
    room.go.clear()
    bench = bench(settings).until_ready()
    running = bench.workshop.submit(photo, artwork, Options())
    room.entered.wait(WAIT_S)
    bench.workshop.close()
    assert running.state is State.CANCELLED
    room.go.set()


def test_a_trial_waits_for_its_picture_and_is_nobody_elses(bench, settings, rooms, artwork, photo):
    rooms["classic"] = StandIn()
    bench = bench(settings).until_ready()
    composition = bench.workshop.trial(photo, artwork, Options(), timeout_s=WAIT_S)
    assert composition.state is State.DONE
    assert bench.compositions.held() == 0


def test_a_trial_gives_up(bench, settings, rooms, artwork, photo):
    room = rooms["classic"] = StandIn()
    room.go.clear()
    bench = bench(settings).until_ready()
    composition = bench.workshop.trial(photo, artwork, Options(), timeout_s=0.01)
    assert composition.state is State.CANCELLED
    room.go.set()


def test_photos_are_let_go_of(bench, settings, rooms, artwork, photo):
    room = rooms["classic"] = StandIn()
    room.go.clear()
    bench = bench(settings).until_ready()
    bench.workshop.submit(photo, artwork, Options())
    room.entered.wait(WAIT_S)
    waiting = bench.workshop.submit(photo, artwork, Options())
    job = bench.workshop._jobs[0]
    assert job.image is photo
    bench.compositions.delete(waiting.id)
    assert job.image is None
    room.go.set()


def test_a_composition_that_nobody_holds_is_gone(bench, settings, rooms, artwork, photo):
    rooms["classic"] = StandIn()
    bench = bench(settings).until_ready()
    composition = bench.workshop.trial(photo, artwork, Options(), timeout_s=WAIT_S)
    bench.until(lambda: bench.workshop._running is None)
    kept, composition = weakref.ref(composition), None
    bench.finished.clear()

    def gone():
        gc.collect()
        return kept() is None

    bench.until(gone)


def test_a_room_is_closed_where_a_part_of_it_does_not_open(settings, monkeypatch):
    from vivant.studio import Studio

    closed = []
    monkeypatch.setattr(Studio, "close", lambda self: closed.append(True))
    monkeypatch.setattr(Studio, "warm_up", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Room.open(settings, "classic", None)
    assert closed == [True]
