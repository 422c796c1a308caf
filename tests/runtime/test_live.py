"""The live preview: threads, states, and what is left of a visitor afterwards."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from vivant.artwork import load_artwork
from vivant.errors import ImageError, ModelError, PlacementError, PreviewError, SubjectError
from vivant.live import LivePreview
from vivant.live.models import Roles
from vivant.live.painter import Frame, Painter, State
from vivant.roles import Face, Matting
from vivant_samples import ARTWORKS

SOON = 10.0  # seconds after which a thread that should have come never will


def frame(value=90, shape=(360, 640)):
    """A camera frame that can be told from others by its colour."""
    return np.full((*shape, 3), value, np.uint8)


def face(x=160.0, y=55.0, size=40.0):
    left, top = x - size / 2, y - size / 2
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    landmarks = tuple((left + a * size, top + b * size) for a, b in points)
    return Face((left, top, left + size, top + size), 0.999, landmarks)


def half_body(shape):
    matte = np.zeros(shape[:2], np.uint8)
    matte[25:90, 135:185] = 255
    matte[90:, 100:220] = 255
    return matte


def two_half_bodies(photo, faces):
    matte = half_body(photo.shape)
    return Matting(np.roll(matte, -80, axis=1) | np.roll(matte, 80, axis=1), 0.9)


class Detector:
    faces = (face(),)  # in a frame of 320x180, which is what a preview of 270 rows works on

    def detect(self, photo, *, min_face=40):
        return self.faces


@dataclass
class SlowMatter:
    """Waits for ``go`` before every matte; keeps of a photo what outlives it."""

    is_open: bool = True
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    values: list = field(default_factory=list)
    photos: list = field(default_factory=list)
    error: Exception | None = None

    def matte(self, photo, faces):
        self.values.append(int(photo[0, 0, 0]))
        self.photos.append(weakref.ref(photo))
        self.entered.release()
        if not self.is_open:
            assert self.go.acquire(timeout=SOON)
        if self.error is not None:
            raise self.error
        return Matting(half_body(photo.shape), 0.9)

    def alive(self):
        return [photo for photo in self.photos if photo() is not None]


class Untouched:
    def harmonize(self, composite, mask, strengths):
        return tuple(composite.copy() for _ in strengths)


@pytest.fixture(scope="module")
def artwork():
    return replace(load_artwork(ARTWORKS / "night-harbour"), people="together")


@pytest.fixture
def detector():
    return Detector()


@pytest.fixture
def matter():
    return SlowMatter()


@pytest.fixture
def preview(detector, matter):
    with LivePreview(Roles(detector, matter, Untouched()), height=270) as preview:
        yield preview
        matter.is_open = True
        matter.go.release(1000)


@pytest.fixture
def uncollected():
    """Without the cycle collector: what remains is held by somebody."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def see(preview, picture, after=None):
    """Submit a frame and return the preview that follows."""
    number = preview.latest().number if after is None else after
    preview.submit(picture)
    seen = preview.wait(after=number, timeout=SOON)
    assert seen is not None
    return seen


def begin(matter):
    assert matter.entered.acquire(timeout=SOON)


class TestFrames:
    def test_a_visitor_comes_into_the_picture(self, preview, artwork):
        preview.show(artwork)
        painting = preview.latest()
        assert (painting.state, painting.image.shape[0]) == (State.WAITING, 270)
        seen = see(preview, frame(255))
        assert seen.state is State.VISITOR
        assert seen.slots == ("by-the-table",)
        assert not seen.message
        assert seen.number > painting.number
        assert 0.01 < (seen.image != painting.image).any(axis=2).mean() < 0.5
        assert {"faces", "matte", "foreground", "composite", "harmonize"} <= set(seen.timings)
        assert seen.latency_s >= sum(seen.timings.values()) * 0.9
        assert preview.latest() is seen

    def test_the_latest_frame_wins(self, preview, artwork, matter):
        matter.is_open = False
        preview.show(artwork)
        preview.submit(frame(1))
        begin(matter)
        for value in range(2, 200):
            preview.submit(frame(value))
        matter.go.release(2)
        begin(matter)
        number = preview.latest().number
        while preview.wait(after=number, timeout=0.2) is not None:
            number = preview.latest().number
        assert matter.values == [1, 199]

    @pytest.mark.parametrize("shape", [(180, 320), (360, 640)])
    def test_the_camera_may_use_its_memory_again(self, preview, artwork, matter, shape):
        matter.is_open = False
        preview.show(artwork)
        preview.submit(frame(1))
        begin(matter)
        memory = frame(7, shape)
        preview.submit(memory)
        memory[:] = 99
        matter.go.release(2)
        begin(matter)
        assert matter.values == [1, 7]

    @pytest.mark.parametrize(
        "shape", [(720, 1280), (1080, 1920), (721, 1283), (1280, 720), (90, 160)]
    )
    def test_large_frames_are_worked_on_reduced(self, preview, artwork, matter, shape):
        preview.show(artwork)
        sizes = []
        whole = matter.matte
        matter.matte = lambda photo, faces: sizes.append(photo.shape) or whole(photo, faces)
        preview.submit(frame(shape=shape)[..., ::-1])  # a view of BGR
        begin(matter)
        assert max(sizes[0]) < 640
        assert sizes[0][0] / sizes[0][1] == pytest.approx(shape[0] / shape[1], rel=0.02)

    @pytest.mark.parametrize(
        "wrong",
        [None, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    )
    def test_what_is_no_picture_is_refused(self, preview, wrong):
        with pytest.raises(ImageError, match=r"camera frame: .* uint8 \[H,W,3\] RGB"):
            preview.submit(wrong)

    def test_several_cameras_and_pages(self, preview, artwork, matter):
        preview.show(artwork)
        seen: list = []

        def camera(first):
            for value in range(first, first + 50):
                preview.submit(frame(value))

        def page():
            number, end = 0, time.monotonic() + 0.5
            while time.monotonic() < end:
                if new := preview.wait(after=number, timeout=0.05):
                    seen.append((number, new.number))
                    number = new.number

        threads = [threading.Thread(target=camera, args=(n,)) for n in (0, 60, 120, 180)]
        threads += [threading.Thread(target=page) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert seen
        assert all(after < number for after, number in seen)
        assert see(preview, frame(255)).state is State.VISITOR

    def test_without_an_artwork_nothing_is_done(self, preview, matter):
        preview.submit(frame())
        assert preview.latest() is None
        assert preview.wait(timeout=0.05) is None
        assert not matter.values

    def test_a_slot_can_be_named(self, preview, artwork):
        preview.show(artwork, "by-the-water")
        assert see(preview, frame()).slots == ("by-the-water",)
        with pytest.raises(PlacementError, match="no slot 'nowhere'"):
            preview.show(artwork, "nowhere")

    def test_people_apart_are_harmonized_in_one_go(self, preview, artwork, detector, matter):
        detector.faces, matter.matte = (face(80), face(240)), two_half_bodies
        strengths: list = []
        harmonizer = preview._roles.harmonizer
        harmonizer.harmonize = lambda image, mask, s: strengths.append(s) or (image.copy(),)
        preview.show(replace(artwork, people="apart"))
        seen = see(preview, frame(255))
        assert seen.state is State.VISITOR
        assert set(seen.slots) == {"by-the-table", "by-the-water"}
        assert strengths == [[1.0]]

    def test_another_artwork_can_be_shown(self, preview, artwork):
        preview.show(artwork)
        see(preview, frame())
        garden = load_artwork(ARTWORKS / "spring-garden")
        preview.show(garden)
        assert preview.latest().state is State.WAITING
        seen = see(preview, frame())
        assert seen.slots[0] in {slot.name for slot in garden.slots}


class TestStates:
    def test_nobody_is_a_state_and_passes(self, preview, artwork, detector, matter):
        preview.show(artwork)
        painting = preview.latest().image
        detector.faces = ()
        seen = see(preview, frame())
        assert seen.state is State.NOBODY
        assert "face" in seen.message
        np.testing.assert_array_equal(seen.image, painting)
        assert not matter.values  # nobody to cut out
        detector.faces = Detector.faces
        assert see(preview, frame()).state is State.VISITOR

    def test_advice_is_given_before_the_shutter(self, preview, artwork, detector, matter):
        detector.faces, matter.matte = (face(80), face(240)), two_half_bodies
        together = replace(artwork.slots[0], people=(1, 9))
        preview.show(replace(artwork, people="apart", slots=(together,)))
        seen = see(preview, frame())
        assert seen.state is State.VISITOR
        assert "placed together" in seen.message

    def test_too_many_people_are_a_state(self, preview, artwork, detector, matter):
        preview.show(artwork)
        detector.faces = tuple(face(30 + 20 * i, size=19) for i in range(12))
        matter.matte = lambda photo, faces: Matting(np.full(photo.shape[:2], 255, np.uint8), 1)
        seen = see(preview, frame())
        assert seen.state is State.NO_PLACE
        assert "no slot takes" in seen.message

    def test_a_failure_surfaces_and_does_not_end_it(self, preview, artwork, matter):
        preview.show(artwork)
        matter.error = ZeroDivisionError("a bug")
        preview.submit(frame())
        with pytest.raises(PreviewError, match=r"ZeroDivisionError: a bug.*doctor") as caught:
            preview.wait(after=preview.latest().number, timeout=SOON)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(PreviewError):
            preview.latest()
        matter.error = None
        matter.entered.acquire(timeout=0)
        preview.submit(frame())
        begin(matter)
        with preview.paused():  # when the frame is done
            assert preview.latest().state is State.VISITOR


class TestPainter:
    """What one frame makes of another, without threads and with a clock of our own."""

    @pytest.fixture
    def painter(self, detector, matter, artwork):
        roles = Roles(detector, matter, Untouched())
        return Painter(roles, replace(artwork, output_height=270))

    def test_a_face_missed_for_a_moment_leaves_the_picture_alone(self, painter, detector):
        assert painter.paint(Frame(frame(), 10.0)).state is State.VISITOR
        detector.faces = ()
        assert painter.paint(Frame(frame(), 10.3)) is None
        assert painter.paint(Frame(frame(), 10.8)).state is State.NOBODY
        assert painter.paint(Frame(frame(), 10.9)).state is State.NOBODY

    def test_nobody_in_the_first_frame_is_said_at_once(self, painter, matter):
        matter.error = SubjectError("too dark; more light")
        seen = painter.paint(Frame(frame(), 10.0))
        assert (seen.state, seen.message) == (State.NOBODY, "too dark; more light")

    def test_a_figure_without_colours_to_move_is_no_place(self, painter, matter):
        def refuse(*_):
            raise ImageError("mask: marks no foreground")

        painter._roles.harmonizer.harmonize = refuse
        seen = painter.paint(Frame(frame(), 10.0))
        assert seen.state is State.NO_PLACE
        assert "marks no foreground" in seen.message


class TestPause:
    def test_frames_are_dropped_meanwhile(self, preview, artwork, matter):
        preview.show(artwork)
        seen = see(preview, frame(1))
        with preview.paused():
            preview.submit(frame(2))
            assert preview.latest() is seen
            assert preview.wait(after=seen.number, timeout=0.05) is None
        assert see(preview, frame(3)).number > seen.number
        assert matter.values == [1, 3]

    def test_it_begins_when_the_frame_at_work_is_done(self, preview, artwork, matter):
        matter.is_open = False
        preview.show(artwork)
        preview.submit(frame(1))
        begin(matter)
        preview.submit(frame(2))
        order = []

        def pause():
            with preview.paused():
                order.append(list(matter.values))

        thread = threading.Thread(target=pause)
        thread.start()
        thread.join(0.05)
        assert not order
        matter.go.release(10)
        thread.join(SOON)
        assert order == [[1]]


class TestPrivacy:
    def test_clear_leaves_nothing_of_a_visitor(self, preview, artwork, matter, uncollected):
        matter.is_open = False
        preview.show(artwork)
        preview.submit(frame(1))
        begin(matter)
        preview.submit(frame(2))
        threading.Timer(0.05, matter.go.release, (10,)).start()
        preview.clear()
        assert not matter.alive()
        assert preview.latest() is None
        preview.submit(frame(3))
        assert preview.wait(timeout=0.05) is None
        assert matter.values == [1]

    def test_only_the_last_picture_is_left_after_a_frame(
        self, preview, artwork, matter, uncollected
    ):
        preview.show(artwork)
        pictures = [weakref.ref(see(preview, frame(value)).image) for value in range(5)]
        with preview.paused():
            assert not matter.alive()
            assert [picture() is not None for picture in pictures] == [False] * 4 + [True]
        preview.clear()
        assert pictures[-1]() is None

    @pytest.mark.parametrize("error", [ValueError("a bug"), SubjectError("nobody")])
    def test_errors_keep_no_frame(self, preview, artwork, matter, uncollected, error):
        preview.show(artwork)
        matter.error = type(error)
        preview.submit(frame())
        begin(matter)
        with preview.paused():
            assert not matter.alive()

    def test_close_ends_the_thread_and_leaves_nothing(self, detector, matter, artwork, uncollected):
        before = threading.active_count()
        preview = LivePreview(Roles(detector, matter, Untouched()), height=270)
        preview.show(artwork)
        picture = weakref.ref(see(preview, frame()).image)
        preview.close()
        preview.close()
        assert threading.active_count() == before
        assert not matter.alive()
        assert picture() is None
        for use in (preview.latest, preview.wait, lambda: preview.submit(frame())):
            with pytest.raises(PreviewError, match="closed"):
                use()

    def test_close_wakes_who_waits(self, detector, matter):
        preview = LivePreview(Roles(detector, matter, Untouched()))
        woken = []

        def page():
            with pytest.raises(PreviewError, match="closed"):
                preview.wait(timeout=SOON)
            woken.append(True)

        thread = threading.Thread(target=page)
        thread.start()
        preview.close()
        thread.join(SOON)
        assert woken


class TestModels:
    def test_classic_with_real_models(self, store, astronaut, artwork):
        before = threading.active_count()
        with LivePreview.open("classic", store=store) as preview:
            preview.show(artwork)
            painting = preview.latest().image
            seen = see(preview, astronaut)
        assert seen.state is State.VISITOR
        assert seen.slots == ("by-the-table",)
        assert seen.image.shape == painting.shape
        changed = (seen.image != painting).any(axis=2)
        assert 0.02 < changed.mean() < 0.4
        assert threading.active_count() == before

    def test_the_deep_ones_say_what_they_lack(self, store):
        with pytest.raises(ModelError, match="profile 'deep' cannot run here"):
            LivePreview.open("deep", store=store)
