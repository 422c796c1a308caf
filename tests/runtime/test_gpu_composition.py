"""The subject laid into a picture on a device: what the host makes of it, to a level."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vivant.artwork import load_artwork
from vivant.backends.workspace import Workspace
from vivant.composition import compose
from vivant.foreground import estimate_foreground
from vivant.gpu.composition import DevicePortrait, enqueue_cut_out, enqueue_lay
from vivant.gpu.roles import Region
from vivant.placement import find_subject, place
from vivant.portrait import Portrait, classify
from vivant.roles import Matting
from vivant_samples import ARTWORKS

DEVICES = ["host_device", pytest.param("cuda_device", marks=pytest.mark.gpu)]


@pytest.fixture(scope="module")
def portrait(astronaut, astronaut_face):
    """The sample portrait with the matte of a head and shoulders, drawn, its edge soft."""
    matte = np.zeros(astronaut.shape[:2], np.uint8)
    cv2.ellipse(matte, (224, 125), (75, 100), 0, 0, 360, 255, -1)
    cv2.ellipse(matte, (224, 470), (200, 260), 0, 0, 360, 255, -1)
    matte = cv2.GaussianBlur(matte, (0, 0), 2)
    foreground = estimate_foreground(astronaut, matte)
    return Portrait(astronaut, Matting(matte, 0.9), foreground, classify(matte, [astronaut_face]))


@pytest.fixture(scope="module")
def artwork():
    return load_artwork(ARTWORKS / "spring-garden")


@pytest.fixture(params=DEVICES)
def workspace(request):
    with Workspace(request.getfixturevalue(request.param)) as opened:
        yield opened


@pytest.fixture
def placed(portrait, artwork):
    """Place the portrait in a slot."""

    def place_in(name):
        (slot,) = (slot for slot in artwork.slots if slot.name == name)
        height, width = artwork.picture().shape[:2]
        return place(find_subject(portrait.matting.matte, portrait.shot), slot, (width, height))

    return place_in


def laid(workspace, portrait, placement, picture, occluder):
    """Return image, mask and region as the device makes them."""
    device, stream = workspace.device, workspace.device.stream()

    def up(name, array):
        return workspace.uploaded(name, array, stream)

    there = DevicePortrait(
        portrait, up("foreground", portrait.foreground), up("matte", portrait.matting.matte)
    )
    image, mask = up("image", picture), up("mask", np.zeros(picture.shape[:2], np.uint8))
    hiding = None if occluder is None else up("occluder", occluder)
    cut = enqueue_cut_out(workspace, "one", there, placement, picture.shape, occluder, stream)
    enqueue_lay(workspace, cut, image, mask, hiding, stream)
    found = [workspace.pinned(f"found {len(each.shape)}", each.shape) for each in (image, mask)]
    for source, target in zip((image, mask), found, strict=True):
        device.download(source, target, stream)
    device.synchronise(stream)
    return found[0].array.copy(), found[1].array.copy(), cut.region


def assert_same(portrait, placement, picture, occluder, got):
    """Hold what the device made against the host's: a level, and more for one pixel in 10 000."""
    image, mask, region = got
    expected = compose(portrait, placement, picture, occluder)
    for found, wanted in ((image, expected.image), (mask, expected.mask)):
        off = np.abs(found.astype(int) - wanted)
        assert off.max() <= 2
        assert np.count_nonzero(off > 1) <= 1e-4 * np.count_nonzero(expected.mask)
    outside = np.ones_like(mask)
    outside[region.y : region.y + region.height, region.x : region.x + region.width] = 0
    assert not mask[outside > 0].any()
    return expected


CHANGES = {
    "as placed": {},
    "mirrored": {"flip": True},
    "cropped": {"crop_line": 900},
    "cropped away": {"crop_line": 0},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("slot", ["behind-the-irises", "among-the-irises"])
def test_the_same_as_on_the_host(workspace, portrait, artwork, placed, slot, changes):
    placement = replace(placed(slot), **changes)
    picture, occluder = artwork.picture(), artwork.occluder(placement.slot)
    got = laid(workspace, portrait, placement, picture, occluder)
    expected = assert_same(portrait, placement, picture, occluder, got)
    assert expected.mask.any() == (changes != CHANGES["cropped away"])


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("flip", [False, True])
def test_every_scale(workspace, portrait, artwork, placed, scale, flip):
    placement = placed("among-the-irises")
    x1, y1, x2, y2 = placement.source
    size = round((x2 - x1) * scale), round((y2 - y1) * scale)
    placement = replace(placement, scale=scale, flip=flip, target=(100, 100, *size))
    got = laid(workspace, portrait, placement, artwork.picture(), None)
    assert_same(portrait, placement, artwork.picture(), None, got)


@pytest.mark.parametrize("corner", [(-150, 300), (700, -120), (900, 1100), (-40, 1300)])
@pytest.mark.parametrize("flip", [False, True])
def test_beyond_the_pictures_edge(workspace, portrait, artwork, placed, corner, flip):
    placement = placed("behind-the-irises")
    target = (*corner, *placement.target[2:])
    placement = replace(placement, target=target, flip=flip, crop_line=1500)
    occluder = artwork.occluder(placement.slot)
    got = laid(workspace, portrait, placement, artwork.picture(), occluder)
    expected = assert_same(portrait, placement, artwork.picture(), occluder, got)
    assert expected.mask.any()


@pytest.mark.parametrize("corner", [(5000, 100), (100, -3000)])
def test_wholly_outside(workspace, portrait, artwork, placed, corner):
    placement = placed("behind-the-irises")
    placement = replace(placement, target=(*corner, *placement.target[2:]), crop_line=1440)
    image, mask, region = laid(workspace, portrait, placement, artwork.picture(), None)
    np.testing.assert_array_equal(image, artwork.picture())
    assert not mask.any()
    assert region.empty


@pytest.mark.parametrize("corner", [(500, 700), (-60, 1100), (500, 1600)])
def test_a_standing_subjects_shadow(workspace, portrait, artwork, placed, corner):
    placement = placed("on-the-path")
    placement = replace(placement, target=(*corner, 160, 300), scale=0.4, standing=True)
    picture, occluder = artwork.picture(), artwork.occluder(placement.slot)
    got = laid(workspace, portrait, placement, picture, occluder)
    expected = assert_same(portrait, placement, picture, occluder, got)
    darker = (expected.image < picture).any(axis=2) & (expected.mask == 0)
    assert np.count_nonzero(darker) > 100 or corner[1] > 1500


def test_the_region_is_what_the_target_shares_with_the_picture(
    workspace, portrait, artwork, placed
):
    placement = replace(placed("behind-the-irises"), target=(-30, 1000, 300, 400), crop_line=1200)
    _, _, region = laid(workspace, portrait, placement, artwork.picture(), None)
    assert region == Region(0, 1000, 270, 200)
