"""IS-Net against what BRIA's own file and pipe compute on seeded weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from vivant_export.networks.isnet import IsNet  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402


@pytest.fixture(scope="module")
def network(golden) -> IsNet:
    network = IsNet().eval()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = seeded_state(shapes, golden("rmbg-1.4_256").meta["seed"])
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return network


@pytest.fixture
def stages(network) -> Iterator[dict[str, torch.Tensor]]:
    """What each part of the network returned last, by its name."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, part in network.named_children()
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def pipe_input(photo: np.ndarray, size: int) -> torch.Tensor:
    """The official pipe: bilinear without antialiasing, mean a half, deviation one."""
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    image = functional.interpolate(image, (size, size), mode="bilinear", align_corners=False)
    return image / 255 - 0.5


def pipe_matte(alpha: torch.Tensor, height: int, width: int) -> np.ndarray:
    alpha = functional.interpolate(alpha, (height, width), mode="bilinear", align_corners=False)
    alpha = (alpha - alpha.min()) / (alpha.max() - alpha.min())
    return (alpha * 255)[0, 0].numpy().astype(np.uint8)


def test_the_keys_are_the_published_ones(network, golden):
    state = network.state_dict()
    assert len(state) == 798
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_046_790
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].numpy().tobytes())
    assert digest.hexdigest() == golden("rmbg-1.4_256").meta["state_sha256"]


@torch.no_grad()
def test_every_stage_and_the_alpha_at_256(network, stages, golden):
    expected = golden("rmbg-1.4_256")
    alpha = network(pipe_input(expected["image"], 256)).sigmoid()
    for name in expected.stages:
        expected.check_stage(name, stages[name])
    np.testing.assert_allclose(alpha[0, 0], expected["alpha"], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [256, 1024])
def test_the_pipe_of_a_photo(network, stages, golden, size):
    expected = golden(f"rmbg-1.4_{size}")
    image = pipe_input(expected["photo"], size)
    step = size // 64
    np.testing.assert_allclose(image[0, :, ::step, ::step], expected["photo_input"], atol=1e-5)
    alpha = network(image).sigmoid()
    thinned = alpha[0, 0, :: size // 256, :: size // 256]
    np.testing.assert_allclose(thinned, expected["photo_alpha"], atol=1e-5)
    if size == 1024:
        for name in expected.stages:
            expected.check_stage(name, stages[name])
        crop = alpha[0, 0, 480:576, 480:576]
        np.testing.assert_allclose(crop, expected["photo_alpha_crop"], atol=1e-5)
    difference = pipe_matte(alpha, 420, 330).astype(int) - expected["photo_matte"]
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 5e-3


@torch.no_grad()
def test_pooling_rounds_up(network, stages):
    # The originals' does; in the golden files every size is a power of two and hides it.
    logits = network(torch.zeros(1, 3, 90, 77))
    assert logits.shape == (1, 1, 90, 77)
    sides = [tuple(stages[f"stage{number}"].shape[2:]) for number in range(1, 7)]
    assert sides == [(45, 39), (23, 20), (12, 10), (6, 5), (3, 3), (2, 2)]
