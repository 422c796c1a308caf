"""What becomes of a visitor's photo, and that it is forgotten."""

from __future__ import annotations

import gc
import json
import weakref
from datetime import datetime

import pytest

from vivant.artwork import load_artwork
from vivant_kiosk import compositions as module
from vivant_kiosk.compositions import Compositions, Options, Picture, Stage, State
from vivant_kiosk.problems import problem
from vivant_samples import ARTWORKS

PICTURE = Picture(b"a picture", 30, 20)


@pytest.fixture(scope="module")
def artwork():
    return load_artwork(ARTWORKS / "night-harbour")


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def kept():
    return Compositions(retention_s=120.0)


@pytest.fixture
def composition(kept, artwork):
    return kept.add(artwork, Options())


def finished(composition):
    composition.start("classic", None)
    composition.finish({"score": 0.5, "size": [30, 20]}, {Stage.DONE: PICTURE})
    return composition


def names(composition, after=0):
    events, over = composition.events(after)
    return [event.name for event in events], over


def test_a_picture_comes_about(composition):
    composition.wait(2)
    composition.wait(2)  # which is no news
    composition.wait(1)
    assert composition.facts()["position"] == 1
    composition.start("deep", None)
    composition.show(Stage.MATTE, PICTURE)
    assert names(composition) == (["queued", "queued", "running", "matte"], False)
    composition.finish({"score": 0.5}, {Stage.COMPOSITE: PICTURE, Stage.DONE: PICTURE})
    assert names(composition, after=4) == (["done"], True)
    assert composition.picture(Stage.DONE) is PICTURE
    assert composition.picture(Stage.HARMONIZED) is None


def test_facts_are_ready_for_json(composition):
    facts = json.loads(json.dumps(finished(composition).facts()))
    assert facts["state"] == "done"
    assert facts["stages"] == ["done"]
    assert facts["score"] == 0.5
    assert 119 < facts["expires_in_s"] <= 120
    lasts = datetime.fromisoformat(facts["expires"].replace("Z", "+00:00")) - composition.created
    assert 118 < lasts.total_seconds() < 122


def test_what_failed_says_why(composition):
    composition.start("classic", None)
    composition.fail(problem("nobody", "nobody was found; step closer"))
    facts = composition.facts()
    assert (facts["state"], facts["error"]["type"]) == ("failed", "urn:vivant:problem:nobody")
    (event,), over = composition.events(after=1)
    assert event.data == facts["error"]
    assert over


def test_nothing_happens_to_what_is_finished(composition):
    composition.cancel()
    assert not composition.start("classic", None)
    assert not composition.show(Stage.MATTE, PICTURE)
    composition.finish({"score": 1.0}, {Stage.DONE: PICTURE})
    composition.fail(problem("failed", "no"))
    assert composition.state is State.CANCELLED
    assert composition.facts()["error"] is None
    assert composition.picture(Stage.DONE) is None
    assert names(composition) == (["cancelled"], True)


def test_listeners_hear_of_every_event_until_they_have_enough(composition):
    heard = []
    end = composition.subscribe(lambda: heard.append(names(composition)[0][-1]))
    composition.start("classic", None)
    composition.show(Stage.MATTE, PICTURE)
    end()
    end()  # twice is once
    composition.cancel()
    assert heard == ["running", "matte"]


def test_a_finished_picture_expires(kept, composition, clock):
    clock.now += 10_000  # what is not finished does not expire
    assert kept.find(composition.id) is composition
    assert kept.next_expiry_s() is None
    finished(composition)
    clock.now += 119
    assert kept.sweep() == 0
    assert kept.next_expiry_s() == pytest.approx(1.0)
    assert kept.find(composition.id) is composition
    clock.now += 1
    assert kept.find(composition.id) is None
    assert kept.held() == 1
    assert kept.sweep() == 1
    assert kept.held() == 0
    assert composition.picture(Stage.DONE) is None


def test_what_is_deleted_is_nowhere(kept, artwork):
    class Bytes(bytes):
        pass

    composition = kept.add(artwork, Options())
    picture = Picture(Bytes(b"me"), 1, 1)
    gone = weakref.ref(picture)
    composition.finish({}, {Stage.DONE: picture})
    link = kept.link(composition, uses=3)
    assert kept.delete(composition.id)
    assert not kept.delete(composition.id)
    assert kept.find(composition.id) is None
    assert kept.look_up(link.token) is kept.redeem(link.token) is None
    del picture
    gc.collect()
    assert gone() is None


def test_deleting_ends_what_runs(kept, composition):
    composition.start("classic", None)
    kept.delete(composition.id)
    assert composition.state is State.CANCELLED


def test_a_link_is_dead_after_its_uses(kept, composition):
    finished(composition)
    link = kept.link(composition, uses=2)
    assert kept.look_up(link.token) is PICTURE
    assert kept.redeem(link.token) is PICTURE
    assert kept.link(composition, uses=2).uses_left == 1
    assert kept.redeem(link.token) is PICTURE
    assert kept.look_up(link.token) is kept.redeem(link.token) is None


def test_a_picture_has_one_link(kept, artwork, composition):
    link = kept.link(finished(composition), uses=2)
    kept.redeem(link.token)
    again = kept.link(composition, uses=2)
    assert (again.token, again.uses_left) == (link.token, 1)
    other = kept.link(finished(kept.add(artwork, Options())), uses=2)
    assert other.token != link.token


def test_a_link_expires_with_its_picture(kept, composition, clock):
    link = kept.link(finished(composition), uses=2)
    clock.now += 120
    assert kept.look_up(link.token) is kept.redeem(link.token) is None


def test_ids_and_tokens_cannot_be_guessed(kept, artwork):
    ids = {kept.add(artwork, Options()).id for _ in range(100)}
    assert len(ids) == 100
    assert {len(each) for each in ids} == {22}  # 128 bits in base64
    assert len(kept.link(kept.find(ids.pop()), 1).token) == 22


def test_closing_forgets_everything(kept, composition):
    finished(composition)
    kept.close()
    assert kept.held() == 0
    assert composition.picture(Stage.DONE) is None
