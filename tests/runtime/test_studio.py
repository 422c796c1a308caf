"""The whole way, with real models, on the sample portrait and the sample artworks."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from vivant.artwork import load_artwork
from vivant.errors import EngineError, ImageError, ModelError, PlacementError, SubjectError
from vivant.images import load_image
from vivant.portrait import ShotType
from vivant.profiles import CLASSIC, PROFILES, find_profile, obstacles
from vivant.sheet import stages
from vivant.store import EngineStore
from vivant.studio import WORKING_SIDE, Studio, reduce_to
from vivant_samples import ARTWORKS


@pytest.fixture(scope="module")
def studio(store):
    return Studio.open("classic", store=store)


@pytest.fixture(scope="module")
def portrait(studio, astronaut):
    return studio.prepare(astronaut)


@pytest.fixture(scope="module")
def result(studio, portrait):
    return studio.compose(portrait, ARTWORKS / "night-harbour")


def test_the_visitor_is_in_the_painting(result):
    artwork = load_artwork(ARTWORKS / "night-harbour")
    painting = artwork.picture()
    in_front = artwork.occluder(result.figures[0].placement.slot)[..., 3] > 0
    assert result.image.shape == painting.shape
    assert result.image.dtype == np.uint8
    inside, outside = result.mask > 200, (result.mask == 0) & ~in_front
    assert 0.02 < inside.mean() < 0.4
    changed = np.abs(result.image.astype(int) - painting).max(axis=2)
    assert (changed[inside] > 10).mean() > 0.8
    assert not changed[outside].any()


def test_the_result_says_how_it_came_about(result):
    (figure,) = result.figures
    assert result.profile == "classic"
    assert figure.shot.type is ShotType.HALF_BODY
    assert figure.shot.cut
    assert figure.placement.slot.name == "by-the-table"
    assert [c.strength for c in figure.candidates] == [0.0, 0.35, 0.5, 0.65]
    assert figure.best.score == max(c.score for c in figure.candidates)
    assert result.score == figure.best.score
    assert {"faces", "matte", "placement", "composite", "harmonize"} <= set(result.timings)


def test_the_same_input_gives_the_same_picture(studio, astronaut, result):
    again = studio.compose(astronaut, ARTWORKS / "night-harbour")
    np.testing.assert_array_equal(again.image, result.image)
    assert again.figures == result.figures


def test_no_candidates_leave_the_composite_untouched(studio, portrait):
    result = studio.compose(portrait, ARTWORKS / "spring-garden", candidates=0)
    assert result.figures[0].best.strength == 0
    np.testing.assert_array_equal(result.image, result.composite)


def test_alternative_slots_compete(studio, portrait):
    result = studio.compose(portrait, ARTWORKS / "spring-garden", alternatives=2, candidates=1)
    (figure,) = result.figures
    assert len({c.placement for c in figure.candidates}) == 2


def test_time_that_is_spent_is_said(studio, portrait):
    result = studio.compose(portrait, ARTWORKS / "spring-garden", alternatives=2, budget_s=0)
    assert any("not tried" in warning for warning in result.warnings)
    assert result.figures[0].best.score is not None


def test_a_slot_can_be_named(studio, portrait):
    named = studio.compose(portrait, ARTWORKS / "night-harbour", slot="by-the-water")
    assert named.figures[0].placement.slot.name == "by-the-water"
    with pytest.raises(PlacementError, match="no slot 'nowhere'"):
        studio.compose(portrait, ARTWORKS / "night-harbour", slot="nowhere")


@pytest.fixture(scope="module")
def couple(studio, astronaut):
    """The portrait and its mirror image, shoulder to shoulder."""
    return studio.prepare(np.hstack([astronaut, astronaut[:, ::-1]]))


@pytest.fixture(scope="module")
def apart(studio, couple):
    return studio.compose(couple, ARTWORKS / "night-harbour", candidates=1)


class TestSeveralPeople:
    def test_each_has_a_slot_of_their_own(self, apart):
        slots = [figure.placement.slot.name for figure in apart.figures]
        assert slots == ["by-the-table", "by-the-water"]
        assert [figure.shot.people for figure in apart.figures] == [1, 1]
        assert apart.score == min(figure.best.score for figure in apart.figures)

    def test_both_are_in_the_mask_and_the_composite(self, apart):
        painting = load_artwork(ARTWORKS / "night-harbour").picture()
        changed = np.abs(apart.composite.astype(int) - painting).max(axis=2) > 10
        for figure in apart.figures:
            x, y, width, height = figure.placement.target
            box = np.s_[y : y + height, max(x, 0) : x + width]
            assert (apart.mask[box] > 200).mean() > 0.2
            assert changed[box][apart.mask[box] > 200].mean() > 0.8

    def test_the_stages_show_who_is_who(self, couple, apart):
        pictures = stages(couple, apart)
        matte = pictures["matte"]
        left, right = matte[:, :512].reshape(-1, 3), matte[:, 512:].reshape(-1, 3)
        assert list(pictures) == ["photo", "faces", "matte", "composite", "harmonized"]
        assert (left.max(axis=0) != right.max(axis=0)).any()

    def test_where_the_artwork_keeps_them_together_they_stay(self, studio, couple):
        result = studio.compose(couple, ARTWORKS / "spring-garden", candidates=0)
        (figure,) = result.figures
        assert figure.shot.people == 2
        assert figure.placement.slot.people[1] >= 2


@pytest.mark.parametrize("shape", [(1, 1), (100, 8000), (300, 300)])
def test_a_photo_without_a_face_is_refused(studio, shape):
    with pytest.raises(SubjectError, match="face"):
        studio.prepare(np.full((*shape, 3), 90, np.uint8))


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_array_that_is_no_picture_is_refused(studio, array):
    with pytest.raises(ImageError, match="uint8 \\[H,W,3\\] RGB"):
        studio.prepare(array)


def test_large_photos_are_reduced_and_small_ones_kept():
    assert reduce_to(np.zeros((5000, 10, 3), np.uint8), WORKING_SIDE).shape == (2400, 5, 3)
    small = np.zeros((50, 40, 3), np.uint8)
    assert reduce_to(small, WORKING_SIDE) is small


class TestProfiles:
    def test_classic_is_chosen_where_nothing_better_runs(self, store):
        assert find_profile(None, store).name == CLASSIC.name

    def test_the_better_ones_say_what_they_lack(self, store):
        for name in ("deep", "best"):
            assert any("inr-harmonization" in r for r in obstacles(PROFILES[name], store))
            with pytest.raises(ModelError, match=f"profile '{name}' cannot run here"):
                find_profile(name, store)

    def test_untrained_engines_do_not_make_a_profile_able(self, store, tmp_path):
        mtcnn = store.engine("mtcnn")
        files = {f"{name}.onnx": mtcnn.read(name) for name in mtcnn.manifest.graphs}
        copy = EngineStore(tmp_path)
        copy.write(mtcnn.manifest, files)
        untrained = replace(mtcnn.manifest.weights, kind="untrained")
        for name in ("rmbg-1.4", "inr-harmonization", "bargainnet"):
            copy.write(replace(mtcnn.manifest, model=name, weights=untrained), files)
        assert find_profile(None, copy).name == CLASSIC.name
        reasons = obstacles(PROFILES["deep"], copy)
        assert len(reasons) == 3
        assert all("weights are untrained" in reason for reason in reasons)
        assert find_profile(None, replace(copy, allow_untrained=True)).name == "deep"

    def test_without_engines_the_command_is_named(self, tmp_path):
        with pytest.raises(ModelError, match="vivant export mtcnn"):
            find_profile(None, EngineStore(tmp_path))

    def test_an_unknown_profile_lists_the_known(self, store):
        with pytest.raises(ModelError, match="best, deep, classic"):
            find_profile("clasic", store)

    def test_an_altered_engine_stops_the_studio(self, store, tmp_path):
        source = store.engine("mtcnn")
        files = {f"{name}.onnx": source.read(name) for name in source.manifest.graphs}
        copy = EngineStore(tmp_path)
        altered = copy.write(source.manifest, {**files, "onet.onnx": b"something else"})
        with pytest.raises(EngineError, match=r"onet\.onnx.*SHA-256"):
            Studio.open("classic", store=copy)
        assert altered.path.exists()


def test_a_hidden_face_is_said_where_no_slot_is_better(studio, portrait, tmp_path):
    folder = tmp_path / "behind-a-wall"
    shutil.copytree(ARTWORKS / "night-harbour", folder)
    toml = folder / "artwork.toml"
    slots = toml.read_text().split("[[slot]]")
    fallback = slots[-1][slots[-1].index("[fallback]") :]
    toml.write_text(f"{slots[0]}[[slot]]{slots[1]}\n{fallback}")
    wall = np.full((*artwork_size(folder), 4), 255, np.uint8)
    wall[: round(0.43 * len(wall))] = 0  # the wall reaches up to her eyes
    PIL.Image.fromarray(wall).save(folder / "table.webp", lossless=True)

    result = studio.compose(portrait, folder)

    assert any("hides a face" in warning for warning in result.warnings)


def artwork_size(folder):
    return load_image(folder / "painting.webp").shape[:2]


def test_warming_up_runs_every_model_once(store):
    ran = []

    class Models:
        """Every role in one, none of which sees anybody."""

        def detect(self, photo, *, min_face=40):
            ran.append("faces")
            return ()

        def matte(self, photo, faces):
            ran.append("matte")
            raise SubjectError("nobody is here")

        def harmonize(self, composite, mask, strengths):
            ran.append("harmonize")
            return tuple(composite for _ in strengths)

        def score(self, composites, masks):
            ran.append("score")
            assert 0 < np.count_nonzero(masks[0]) < masks[0].size
            return (1.0,) * len(composites)

    models = Models()
    Studio(models, models, models, models, profile=CLASSIC).warm_up()
    assert ran == ["faces", "matte", "harmonize", "score"]
    Studio.open("classic", store=store).warm_up()


def test_who_watches_sees_the_picture_come_about(studio, portrait, result):
    seen = []
    studio.compose(
        portrait, ARTWORKS / "night-harbour", watch=lambda stage, image: seen.append((stage, image))
    )
    assert [stage for stage, _ in seen] == ["composite", "harmonized"]
    assert np.array_equal(seen[0][1], result.composite)
    assert np.array_equal(seen[1][1], result.image)


def test_who_watches_may_end_it(studio, portrait):
    def stop(stage, image):
        raise KeyboardInterrupt(stage)

    with pytest.raises(KeyboardInterrupt, match="composite"):
        studio.compose(portrait, ARTWORKS / "night-harbour", watch=stop)
