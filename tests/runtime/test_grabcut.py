from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vivant.errors import SubjectError
from vivant.mattes.grabcut import GrabCutMatter
from vivant.roles import Face, Matter
from vivant_samples import PORTRAIT

ASTRONAUT = Face(
    (178.76, 60.98, 269.29, 176.35),
    0.99994,
    ((204.58, 100.46), (247.20, 103.54), (224.16, 129.01), (201.32, 140.67), (243.85, 142.77)),
)


def face_at(x, chin, height):
    return Face((x - 0.38 * height, chin - height, x + 0.38 * height, chin), 0.99, ())


def mannequin(height, width, people, top=0.05):
    """Skin-coloured heads over blue bodies before a noisy green wall; picture, truth, faces."""
    rng = np.random.default_rng(0)
    photo = np.empty((height, width, 3), np.uint8)
    photo[:] = (90, 140, 80)
    truth = np.zeros((height, width), np.uint8)
    faces = []
    for x, unit in people:
        chin = top * height + 1.4 * unit
        half = [(0.3, -0.3), (0.3, 0.3), (0.9, 0.6), (0.95, 20)]
        body = [*half, *((-u, v) for u, v in reversed(half))]
        outline = np.array([(x + u * unit, chin + v * unit) for u, v in body]).astype(np.int32)
        ellipse = ((x, chin - 0.55 * unit), (0.85 * unit, 1.2 * unit), 0)
        for canvas, cloth, skin in ((photo, (40, 50, 150), (215, 160, 130)), (truth, 255, 255)):
            cv2.fillPoly(canvas, [outline], cloth)
            cv2.ellipse(canvas, ellipse, skin, -1)
        faces.append(face_at(x, chin, unit))
    noisy = cv2.GaussianBlur(photo, (3, 3), 0) + rng.normal(0, 4, photo.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), truth, faces


def iou(matte, truth):
    a, b = matte > 127, truth > 127
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(scope="module")
def astronaut():
    photo = np.array(Pillow.open(PORTRAIT).convert("RGB"))
    return photo, GrabCutMatter().matte(photo, [ASTRONAUT])


def test_is_a_matter():
    matter: Matter = GrabCutMatter()
    assert callable(matter.matte)


def test_astronaut_is_kept_and_her_background_is_not(astronaut):
    photo, matting = astronaut
    matte = matting.matte
    assert matte.dtype == np.uint8
    assert matte.shape == photo.shape[:2]
    people = {"face": (223, 118), "hair": (225, 35), "hair at the side": (160, 80)}
    people |= {"suit": (200, 350), "sleeve": (90, 400), "collar": (223, 200)}
    for name, (x, y) in people.items():
        assert matte[y, x] > 240, name
    for name, (x, y) in {"flag": (25, 60), "rocket": (430, 100), "wall": (340, 60)}.items():
        assert matte[y, x] < 10, name
    assert matting.confidence > 0.5


def test_the_edge_of_hair_is_soft(astronaut):
    _, matting = astronaut
    head = matting.matte[10:110, 130:320]
    soft = ((head > 12) & (head < 243)).mean()
    assert 0.01 < soft < 0.15


def test_the_same_photo_gives_the_same_matte(astronaut):
    photo, matting = astronaut
    cv2.setRNGSeed(99)
    again = GrabCutMatter().matte(photo, [ASTRONAUT])
    np.testing.assert_array_equal(again.matte, matting.matte)
    assert again.confidence == matting.confidence


def test_the_photo_stays_as_it_was(astronaut):
    photo, _ = astronaut
    np.testing.assert_array_equal(photo, np.array(Pillow.open(PORTRAIT).convert("RGB")))


@pytest.mark.parametrize(
    ("height", "width", "people"),
    [
        (360, 300, [(150, 90)]),
        (400, 700, [(190, 90), (500, 100)]),
        (1400, 1100, [(520, 330)]),
    ],
    ids=["one", "two", "large"],
)
def test_synthetic_people_are_found(height, width, people):
    photo, truth, faces = mannequin(height, width, people)
    matting = GrabCutMatter().matte(photo, faces)
    assert iou(matting.matte, truth) > 0.97
    assert matting.confidence > 0.6


def test_only_those_whose_face_is_given_are_kept():
    photo, _, faces = mannequin(400, 1000, [(190, 60), (800, 60)])
    matte = GrabCutMatter().matte(photo, faces[:1]).matte
    assert (matte[:, :350] > 127).any()
    assert not (matte[:, 650:] > 127).any()


def test_a_full_figure_ends_at_its_feet():
    photo, _, faces = mannequin(600, 400, [(200, 45)])
    feet = int(faces[0].box[3] + 8.6 * 45)
    photo[feet:] = (90, 140, 80)
    matte = GrabCutMatter().matte(photo, faces).matte
    assert (matte[feet - 20, 180:220] > 127).all()
    assert not (matte[feet + 15 :] > 127).any()


def test_black_bars_are_no_person():
    photo, truth, faces = mannequin(360, 300, [(150, 90)])
    wide = np.pad(photo, ((0, 0), (130, 130), (0, 0)))
    moved = [face_at(f.center[0] + 130, f.box[3], f.height) for f in faces]
    matte = GrabCutMatter().matte(wide, moved).matte
    assert not matte[:, :128].any()
    assert iou(matte[:, 130:-130], truth) > 0.97


def test_edges_of_a_large_photo_have_no_stairs():
    photo, truth, faces = mannequin(1800, 1400, [(700, 420)])
    matte = GrabCutMatter().matte(photo, faces).matte.astype(int)
    rows = range(1200, 1700)
    left = np.array([np.argmax(matte[y] > 127) for y in rows])
    true = np.array([np.argmax(truth[y] > 127) for y in rows])
    assert np.abs(left - true).max() <= 2
    assert np.abs(np.diff(left)).max() <= 2


@pytest.mark.parametrize("mode", ["top", "left", "corner"])
def test_faces_cut_by_the_frame(mode):
    photo, _, faces = mannequin(400, 400, [(200, 110)])
    top, left = {"top": (90, 0), "left": (0, 190), "corner": (90, 190)}[mode]
    shifted = face_at(200 - left, faces[0].box[3] - top, 110)
    cut = np.ascontiguousarray(photo[top:, left:])
    matting = GrabCutMatter().matte(cut, [shifted])
    assert matting.matte.shape == cut.shape[:2]
    x, y = max(5, int(shifted.center[0])), max(5, int(shifted.center[1]))
    assert matting.matte[y, x] > 200


def test_a_tiny_picture_works():
    photo, truth, faces = mannequin(40, 40, [(20, 12)])
    assert iou(GrabCutMatter().matte(photo, faces).matte, truth) > 0.8


def test_a_long_strip_works():
    photo, _, faces = mannequin(100, 6000, [(3000, 40)])
    matte = GrabCutMatter().matte(photo, faces).matte
    assert matte[60, 3000] > 200
    assert not matte[:, :2000].any()


def test_no_face_says_what_to_do():
    with pytest.raises(SubjectError, match="no face found; face the camera"):
        GrabCutMatter().matte(np.zeros((50, 50, 3), np.uint8), [])


@pytest.mark.parametrize(
    "box",
    [(500, 500, 600, 640), (10, 10, 10, 30), (float("nan"), 0, 10, 10), (-900, -2000, -800, -1900)],
)
def test_impossible_boxes_are_refused(box):
    photo, _, _ = mannequin(120, 100, [(50, 30)])
    with pytest.raises(SubjectError):
        GrabCutMatter().matte(photo, [replace(ASTRONAUT, box=box)])


def test_a_face_that_fills_the_frame_is_refused():
    flat = np.full((40, 40, 3), 180, np.uint8)
    with pytest.raises(SubjectError, match="step back"):
        GrabCutMatter().matte(flat, [face_at(20, 45, 70)])


def test_one_pixel_is_refused():
    with pytest.raises(SubjectError):
        GrabCutMatter().matte(np.zeros((1, 1, 3), np.uint8), [face_at(0.5, 1, 1.5)])


def test_a_person_that_looks_like_the_wall_has_low_confidence():
    clear, _, faces = mannequin(180, 150, [(75, 35)])
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, clear.shape).astype(np.uint8)
    sure = GrabCutMatter().matte(clear, faces).confidence
    try:
        lost = GrabCutMatter().matte(noise, faces).confidence
    except SubjectError:
        lost = 0.0
    assert lost < sure - 0.1
