import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from vivant_samples import ARTWORKS, PORTRAIT
from vivant_samples.paint.__main__ import save
from vivant_samples.paint.scenes import SCENES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SIZES = {
    "evening-path": (1920, 1280),
    "night-harbour": (1920, 1280),
    "spring-garden": (1152, 1440),
}
SHOTS = {"close-up", "half-body", "full-body"}


def description(name):
    return tomllib.loads((ARTWORKS / name / "artwork.toml").read_text(encoding="utf-8"))


def occluder(name, file):
    return np.asarray(Image.open(ARTWORKS / name / file))


def hidden(slots):
    return [slot for slot in slots if "occluder" in slot]


def below(slot, alpha):
    """Return the occluder's alpha at the slot's bottom edge, where the visitor is cropped."""
    x, y, width, height = slot["box"]
    rows, columns = alpha.shape
    row = min(round((y + height) * rows), rows) - 1
    return alpha[row, round(x * columns) : round((x + width) * columns)]


def test_the_folder_holds_exactly_the_painted_scenes():
    assert {path.name for path in ARTWORKS.iterdir()} == set(SCENES) == set(SIZES)


def test_portrait_opens():
    with Image.open(PORTRAIT) as portrait:
        assert portrait.size == (512, 512)


def test_painting_is_the_same_every_time(tmp_path):
    paint, _ = SCENES["spring-garden"]
    first, second = paint(64), paint(64)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.occluders.keys() == second.occluders.keys()
    for name, alpha in first.occluders.items():
        assert alpha.tobytes() == second.occluders[name].tobytes()


def test_a_scene_keeps_its_composition_at_another_size(tmp_path):
    paint, _ = SCENES["spring-garden"]
    small = paint(96).image
    published = np.asarray(Image.open(ARTWORKS / "spring-garden" / "painting.webp").convert("RGB"))
    published = cv2.resize(published, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    smooth = [cv2.GaussianBlur(picture, (0, 0), 4).astype(int) for picture in (small, published)]
    assert np.abs(smooth[0] - smooth[1]).mean() < 8


def test_saved_files_match_each_other(tmp_path):
    painting = SCENES["spring-garden"][0](128)
    save(painting, tmp_path)
    image = np.asarray(Image.open(tmp_path / "painting.webp"))
    front = np.asarray(Image.open(tmp_path / "irises.webp"))
    assert image.shape == painting.image.shape
    np.testing.assert_array_equal(front[..., 3], painting.occluders["irises.webp"])


@pytest.mark.parametrize("name", SIZES)
def test_pictures_have_the_promised_size(name):
    files = list((ARTWORKS / name).glob("*.webp"))
    assert len(files) >= 2
    for file in files:
        with Image.open(file) as picture:
            assert picture.size == SIZES[name]
        assert file.stat().st_size < 900_000
    assert SCENES[name][1] == SIZES[name][1]


@pytest.mark.parametrize("name", SIZES)
def test_occluders_wear_the_paintings_own_colours(name):
    image = np.asarray(Image.open(ARTWORKS / name / "painting.webp").convert("RGB")).astype(int)
    for file in {slot["occluder"] for slot in hidden(description(name)["slot"])}:
        front = occluder(name, file)
        assert front.shape == (*image.shape[:2], 4)
        solid = front[..., 3] == 255
        assert 0.03 < solid.mean() < 0.4
        difference = np.abs(front[..., :3].astype(int) - image)[solid]
        assert difference.mean() < 4
        assert np.abs((front[..., :3].astype(int) - image)[solid].mean(axis=0)).max() < 1


@pytest.mark.parametrize("name", SIZES)
def test_every_visitor_finds_a_slot(name):
    artwork = description(name)
    slots = artwork["slot"]
    assert artwork["schema"] == 1
    assert artwork["artwork"]["id"] == name
    assert (ARTWORKS / name / artwork["artwork"]["image"]).is_file()
    assert set(artwork["fallback"]["order"]) == SHOTS
    assert len({slot["name"] for slot in slots}) == len(slots)
    for shot in SHOTS:
        for people in (1, 2, 3):
            assert any(
                shot in slot["shot"] and slot["people"][0] <= people <= slot["people"][1]
                for slot in slots
            ), f"{shot} of {people}"


@pytest.mark.parametrize("name", SIZES)
def test_crop_lines_are_hidden(name):
    for slot in description(name)["slot"]:
        x, y, width, height = slot["box"]
        assert min(x, y) >= 0
        assert max(x + width, y + height) <= 1 + 1e-9
        if "full-body" in slot["shot"] or y + height >= 0.999:
            continue
        assert below(slot, occluder(name, slot["occluder"])[..., 3]).min() > 240, slot["name"]


@pytest.mark.parametrize("name", SIZES)
def test_figures_fit_their_boxes(name):
    for slot in description(name)["slot"]:
        heads = {"full-body": 7.5, "half-body": 4.0, "close-up": 2.2}[slot["shot"][0]]
        assert heads * slot["head_height"] <= slot["box"][3], slot["name"]
