"""BiRefNet (RMBG-2.0, BiRefNet_lite) against what the official code computes, seeded weights."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from vivant import manifest  # noqa: E402
from vivant.backends.onnxruntime import OnnxRuntimeEngine  # noqa: E402
from vivant_export.graphs import GraphSpec  # noqa: E402
from vivant_export.networks.birefnet import (  # noqa: E402
    BIREFNET_LITE,
    RMBG_2,
    BiRefNet,
    BiRefNetConfig,
)
from vivant_export.networks.deformable import (  # noqa: E402
    NATIVE_OPSET,
    set_export_form,
)
from vivant_export.networks.swin import SwinConfig  # noqa: E402
from vivant_export.onnx_export import finished, to_onnx  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402

CONFIGS = {"rmbg-2.0": RMBG_2, "birefnet-lite": BIREFNET_LITE}
FACTS = {"rmbg-2.0": (754, 220_176_498), "birefnet-lite": (586, 44_313_720)}
PYRAMID = "squeeze_module.0.dec_att.aspp_deforms.1.atrous_conv"
OUTPUTS = {
    "offset3x3": f"{PYRAMID}.offset_conv",
    "deform3x3": PYRAMID,
    "x4": "squeeze_module",
    **{f"p{level}": f"decoder.decoder_block{level}" for level in (4, 3, 2, 1)},
}
INPUTS = {
    **{f"x{level}": f"decoder.lateral_block{level + 1}" for level in (1, 2, 3)},
    "x4_context": "squeeze_module",
    **{f"ipt{level}_in": f"decoder.ipt_blk{level}" for level in (5, 4, 3, 2)},
}
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


@pytest.fixture(scope="module")
def network() -> Callable[[str], BiRefNet]:
    """A network by name, with its seeded weights; made once."""

    @functools.cache
    def make(name: str) -> BiRefNet:
        network = BiRefNet(CONFIGS[name]).eval().requires_grad_(False)
        own = network.state_dict()
        state = seeded_state({key: tuple(value.shape) for key, value in own.items()}, seed=1)
        for key in own:
            own[key] = torch.from_numpy(state[key]) if key in state else own[key]
        network.load_state_dict(own)
        return network

    return make


def prepared(image: np.ndarray) -> Tensor:
    return ((torch.from_numpy(image).permute(2, 0, 1) / 255 - MEAN) / DEVIATION)[None]


@torch.inference_mode()
def run(network: BiRefNet, image: np.ndarray) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Return the logits [H,W] and the stages that the golden files sample."""
    stages: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        stages.setdefault(name, value)

    def keep_maps(_m: nn.Module, _i: object, maps: list[Tensor]) -> None:
        for level, value in enumerate(maps, 1):
            keep(f"bb{level}", value)  # the first call is the one at full size

    hooks = [network.bb.register_forward_hook(keep_maps)]
    for name, path in INPUTS.items():
        part = network.get_submodule(path)
        hooks.append(part.register_forward_pre_hook(lambda _, x, name=name: keep(name, x[0])))
    for name, path in OUTPUTS.items():
        part = network.get_submodule(path)
        hooks.append(part.register_forward_hook(lambda _m, _i, y, name=name: keep(name, y)))
    logits = network(prepared(image))[0, 0].numpy()
    for hook in hooks:
        hook.remove()
    return logits, stages


def hold(got: np.ndarray, expected: np.ndarray) -> None:
    error = np.abs(got - expected)
    assert error.max() <= 2e-4
    assert error.mean() <= 2e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_the_keys_are_the_published_ones(network, golden, name):
    network = network(name)
    state = network.state_dict()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (len(state), parameters) == FACTS[name]
    digest = hashlib.sha256()
    for key in sorted(state):
        if not key.endswith("relative_position_index"):
            digest.update(key.encode() + state[key].numpy().tobytes())
    assert digest.hexdigest() == golden(f"{name}_256").meta["state_sha256"]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_stage_and_the_logits_at_256(network, golden, name):
    expected = golden(f"{name}_256")
    logits, stages = run(network(name), expected["image"])
    for stage in expected.stages:
        expected.check_stage(stage, stages[stage])
    hold(logits, expected["logits"])


def test_every_stage_and_the_logits_at_512(network, golden):
    expected = golden("rmbg-2.0_512")
    logits, stages = run(network("rmbg-2.0"), expected["image"])
    for stage in expected.stages:
        expected.check_stage(stage, stages[stage])
    hold(logits[::2, ::2], expected["logits"])
    hold(logits[192:320, 192:320], expected["logits_crop"])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_pipe_of_a_photo(network, golden, name):
    expected = golden(f"{name}_256")
    photo = expected["photo"]
    resized = np.array(Image.fromarray(photo).resize((256, 256), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(
        prepared(resized)[0, :, ::4, ::4], expected["photo_input"], atol=1e-5
    )
    logits, _ = run(network(name), resized)
    alpha = torch.from_numpy(logits).sigmoid().numpy()
    matte = Image.fromarray((alpha * 255).astype(np.uint8))
    matte = np.array(matte.resize(photo.shape[1::-1], Image.Resampling.BICUBIC))
    off = np.abs(matte.astype(int) - expected["photo_matte"])
    assert off.max() <= 1
    assert (off > 0).mean() <= 5e-3


SMALL = BiRefNetConfig(
    SwinConfig(width=16, depths=(2, 1, 1, 1), heads=(1, 1, 2, 2), window=4), "whc"
)


@pytest.fixture(scope="module")
def small() -> BiRefNet:
    torch.manual_seed(5)
    return BiRefNet(SMALL).eval().requires_grad_(False)


@torch.inference_mode()
def test_pictures_of_a_batch_do_not_mix(small):
    # 96 pixels: every stage pads its windows, and the half-size pass meets odd maps.
    pictures = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(6))
    together = small(pictures)
    for index in range(2):
        alone = small(pictures[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-5, rtol=0)


def test_sizes_that_cannot_be_halved_five_times_are_refused(small):
    with pytest.raises(ValueError, match="100x64; give it sizes in multiples of 32"):
        small(torch.zeros(1, 3, 100, 64))


def test_the_graph_computes_it_with_every_weight_once(small):
    """The backbone runs twice on the same weights, which must not double the file."""
    image = np.random.default_rng(7).standard_normal((1, 3, 64, 64)).astype(np.float32)
    inputs = (manifest.Tensor("image", "float32", image.shape, "normalised"),)
    outputs = (manifest.Tensor("logits", "float32", (1, 1, 64, 64), "logits"),)
    set_export_form(small, "native")
    spec = GraphSpec("model", small, inputs, outputs, lambda: [{"image": image}], NATIVE_OPSET)
    model = to_onnx(spec)
    floats = [w for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT]
    weights = sum(parameter.numel() for parameter in small.parameters())
    assert sum(math.prod(weight.dims) for weight in floats) <= 1.02 * weights
    with OnnxRuntimeEngine(finished(model), "model") as engine:
        got = engine.run({"image": image})["logits"]
    with torch.inference_mode():
        expected = small(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)
