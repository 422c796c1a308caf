"""HINet and its published procedures against the authors' own scripts on seeded weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vivant.errors import ImageError  # noqa: E402
from vivant_export.networks import hinet_procedures  # noqa: E402
from vivant_export.networks.hinet import HiNet, enlarged  # noqa: E402
from vivant_export.networks.hinet_procedures import Patch, arbitrary, square  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402

PARTS = {  # of a stage in the golden files
    "hrnet": "backbone.backbone.hrnet",
    "f0": "backbone.model.encoder.block0",
    "f1": "backbone.model.encoder.block1",
    "f2": "backbone.model.encoder.blocks_connected.block2_decode",
    "bottleneck": "backbone.model.encoder.blocks_connected.block6",
    "deconv_out": "backbone.model.decoder.deconv_blocks.4",
    "cell_params2": "backbone.model.decoder.content_mlp_blocks.block2",
    "cell_params1": "backbone.model.decoder.content_mlp_blocks.block1",
    "cell_params0": "backbone.model.decoder.content_mlp_blocks.block0",
}


@pytest.fixture(scope="module")
def network() -> HiNet:
    network = HiNet().eval()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = seeded_state(shapes, 1)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return network


@pytest.fixture
def stages(network, monkeypatch) -> Iterator[dict[str, torch.Tensor]]:
    """What the parts returned for the first patch, by the stages' names.

    The procedures run encoder and hypernetworks again for each patch, as the originals do. Here
    they run once for each input: what they return depends on it alone.
    """
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        network.get_submodule(path).register_forward_hook(
            lambda _m, _i, out, name=name: seen.setdefault(name, out)
        )
        for name, path in PARTS.items()
    ]
    decode = hinet_procedures.decode_patch

    def recording(network, encoded, *rest):
        seen.setdefault("appearance_params", encoded.appearance_params)
        seen.setdefault("lut3d", encoded.lut3d)
        decoded = decode(network, encoded, *rest)
        for level, output in zip((2, 1, 0), decoded.levels, strict=True):
            seen.setdefault(f"level{level}_patch0", output.flatten(1, 2))
        return decoded

    def encode(image, mask):
        seen.setdefault("encoder_image_mask", torch.cat([image, mask], dim=1))
        return HiNet.encode(network, image, mask)

    monkeypatch.setattr(hinet_procedures, "decode_patch", recording)
    monkeypatch.setattr(network, "encode", once(encode), raising=False)
    for level in range(3):
        cells = network.decoder.cell_mlps(level)
        monkeypatch.setattr(cells, "forward", once(cells.forward))
        monkeypatch.setattr(cells, "layers", once(cells.layers))
    yield seen
    for hook in hooks:
        hook.remove()


def once(function: Callable) -> Callable:
    """Call ``function`` once for each set of the very same arguments."""
    results: dict[tuple[int, ...], tuple] = {}

    def wrapped(*args):
        key = tuple(map(id, args))
        if key not in results:
            results[key] = (function(*args), args)  # the arguments are kept, for their ids' sake
        return results[key][0]

    return wrapped


def test_the_keys_are_the_published_ones(network, golden):
    state = network.state_dict()
    assert len(state) == 2007
    assert sum(parameter.numel() for parameter in network.parameters()) == 38_205_139
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].numpy().tobytes())
    assert digest.hexdigest() == golden("inr-harmonization_square_256").meta["state_sha256"]


@pytest.mark.parametrize(
    "name",
    [
        "square_256",
        "square_512",
        "square_512_split_256",
        "arbitrary_640x360",
        "arbitrary_450x302",
    ],
)
def test_every_stage_and_the_result(network, stages, golden, name):
    expected = golden(f"inr-harmonization_{name}")
    inputs = expected if "mask" in expected.arrays else golden("inr-harmonization_square_512")
    procedure = {"square": square, "arbitrary": arbitrary}[expected.meta["mode"]]
    got = procedure(network, inputs["composite"], inputs["mask"], **expected.meta["split"])

    for stage in expected.stages:
        expected.check_stage(stage, stages[stage])
    np.testing.assert_allclose(
        stages["appearance_params"][0], expected["appearance_params"], rtol=0, atol=3e-5
    )
    np.testing.assert_allclose(stages["lut3d"], expected["lut3d"], rtol=0, atol=3e-5)

    rows, columns = np.nonzero(inputs["mask"] > hinet_procedures.FOREGROUND)
    box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    assert box == expected["mask_box_yxyx"].tolist()

    top, left = (side // 2 - 24 for side in got.prediction.shape[:2])
    crop = got.prediction[top : top + 48, left : left + 48]
    error = np.abs(crop - expected["prediction_crop"])
    assert error.max() < 1e-3
    assert error.mean() < 2e-5
    step = expected.meta["prediction_stride"]
    thinned = got.prediction[::step, ::step]
    assert np.abs(thinned - expected["prediction"].astype(np.float32)).mean() < 2.5e-4

    difference = got.image.astype(int) - expected["harmonized"]
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 2e-3


def test_a_level_is_passed_on_as_it_lies_in_memory():
    x = torch.arange(2 * 2 * 32, dtype=torch.float32).reshape(1, 2, 2, 32)
    large = torch.nn.functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear")
    passed = enlarged(x).reshape(16, 32)
    for position in range(16):
        channel = 32 * position // 16
        start = 32 * position % 16
        expected = torch.cat([large[0, channel].flatten(), large[0, channel + 1].flatten()])
        torch.testing.assert_close(passed[position], expected[start : start + 32])


def test_crops_start_where_the_originals_do():
    patch = Patch(top=152, left=304, size=76, height=302, width=450)
    starts = [tuple(span.start for span in patch.window(level)) for level in range(3)]
    assert starts == [(152, 304), (76, 152), (37, 75)]  # 38 and 76 would be straight below
    assert all(span.stop - span.start == 19 for span in patch.window(2))


def test_the_table_is_taken_as_it_is_by_65536_positions_alone(network):
    encoding = network.decoder.INR_encoding
    table = encoding.fourier_embed["input"][0]
    corner = Patch(256, 256, 256, 512, 512).coordinates(0)
    assert torch.equal(encoding.constants(corner).reshape(-1, 32), table)
    sampled = encoding.constants(corner[:, 1:]).reshape(-1, 32)
    assert not torch.allclose(sampled, table[256:], atol=0.1)


@pytest.mark.parametrize(
    ("procedure", "shape", "split"),
    [
        (square, (256, 512), {"split_resolution": 256}),
        (square, (300, 300), {"split_resolution": 300}),
        (square, (512, 512), {"split_resolution": 100}),
        (arbitrary, (24, 16), {"split_num": 4}),
    ],
)
def test_sides_the_procedures_do_not_know(network, procedure, shape, split):
    composite, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    with pytest.raises(ImageError, match="give"):
        procedure(network, composite, mask, **split)
