"""BargainNet's domain code extractor against its own code on seeded weights."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")

from vivant_export.networks.bargainnet import DomainCodeExtractor, PartialConvolution  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402


@pytest.fixture(scope="module")
def expected(golden):
    return golden("bargainnet")


@pytest.fixture(scope="module")
def network(expected) -> DomainCodeExtractor:
    network = DomainCodeExtractor().eval()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = seeded_state(shapes, expected.meta["seed"])
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return network


def picture(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1


def region(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None] / 255


def shrunk(array: np.ndarray) -> np.ndarray:
    small = PIL.Image.fromarray(array).resize((256, 256), PIL.Image.Resampling.BILINEAR)
    return np.asarray(small).copy()


def test_the_keys_are_the_published_ones(network, expected):
    state = network.state_dict()
    assert len(state) == 23
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].numpy().tobytes())
    assert digest.hexdigest() == expected.meta["state_sha256"]


@torch.no_grad()
def test_every_stage_of_the_foreground_pass(network, expected):
    seen = {}
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, part in network.named_children()
        if isinstance(part, PartialConvolution)
    ]
    network(picture(expected["image"]), region(expected["mask"]))
    for hook in hooks:
        hook.remove()
    for number in range(1, 6):
        expected.check_stage(f"conv{number}", seen[f"conv{number}f"][0])
    expected.check_stage("mask1", seen["conv1f"][1])


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "big_"])
def test_codes_distance_and_score(network, expected, prefix):
    image, mask = expected[f"{prefix}image"], expected[f"{prefix}mask"]
    small, shown, hidden = shrunk(image), shrunk(mask), shrunk(255 - mask)
    if prefix:
        np.testing.assert_array_equal(small, expected["big_network_image"])
        np.testing.assert_array_equal(shown, expected["big_network_fg_mask"])
        np.testing.assert_array_equal(hidden, expected["big_network_bg_mask"])
    foreground = network(picture(small), region(shown))[0]
    background = network(picture(small), region(hidden))[0]
    np.testing.assert_allclose(foreground, expected[f"{prefix}fg_code"], atol=5e-5)
    np.testing.assert_allclose(background, expected[f"{prefix}bg_code"], atol=5e-5)
    distance = float(torch.linalg.vector_norm(background - foreground))
    assert distance == pytest.approx(float(expected[f"{prefix}distance"]), abs=5e-5)
    assert math.exp(-0.04212 * distance) == pytest.approx(
        float(expected[f"{prefix}score"]), abs=1e-6
    )


@torch.no_grad()
def test_half_precision_stays_finite_where_the_mask_is_empty(network, expected):
    mask = region(expected["mask"])
    mask[..., :128, :] = 0
    image = picture(expected["image"])
    half, full = DomainCodeExtractor().eval(), network(image, mask)
    half.load_state_dict(network.state_dict())
    code = half.half()(image.half(), mask.half()).float()
    assert torch.isfinite(code).all()
    np.testing.assert_allclose(code, full, atol=0.02 * float(full.abs().max()))
