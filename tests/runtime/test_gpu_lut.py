"""INR-Harmonization's colour table on a device, against the host's, which Pillow looks up."""

from __future__ import annotations

import numpy as np
import pytest

from vivant.backends.workspace import Workspace
from vivant.errors import EngineError
from vivant.gpu.encoder import DeviceEncoder
from vivant.gpu.lut import DeviceLut
from vivant.gpu.roles import Region
from vivant.harmonizers.inr_lut import LutHarmonizer
from vivant.manifest import Tensor
from vivant.store import EngineStore

OUTPUTS = (
    Tensor("half_cells", "float32", (4, 5), "unused here"),
    Tensor("lut3d", "float32", (1, 3, 7, 7, 7), "the table"),
)


class Encoder:
    """Stands in for the encoder's graph, on the host and on a device.

    Its table is shifted by the mean of the picture under the mask.
    """

    def __init__(self, device, table) -> None:
        self.device, self.table, self.given, self.closed = device, table, [], False

    def run(self, inputs):
        self.given.append(inputs)
        shift = (inputs["image"][0] / 255.0 * inputs["mask"][0][..., None]).mean()
        return {"lut3d": self.table + np.float32(shift)}

    def bind(self, buffers) -> None:
        self.buffers = dict(buffers)

    def enqueue(self, stream) -> None:
        arrays = {name: self.device.array(buffer) for name, buffer in self.buffers.items()}

        def work():
            inputs = {name: arrays[name].copy() for name in ("image", "mask")}
            arrays["half_cells"][...] = 0
            arrays["lut3d"][...] = self.run(inputs)["lut3d"]

        written = ("half_cells", "lut3d")
        reads = [buffer for name, buffer in self.buffers.items() if name not in written]
        self.device.enqueue(work, reads, [self.buffers[name] for name in written], stream)

    def close(self) -> None:
        self.closed = True


def random_table(low=-0.2, high=1.1):
    return np.random.default_rng(7).uniform(low, high, (1, 3, 7, 7, 7)).astype(np.float32)


def picture(height, width):
    return np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)


def soft_disc(height, width):
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - height * 0.5, x - width * 0.4)
    return np.clip((height * 0.3 - far) * 30 + 128, 0, 255).astype(np.uint8)


@pytest.fixture
def workspace(host_device):
    with Workspace(host_device) as opened:
        yield opened


@pytest.fixture
def harmonize(workspace):
    """Harmonize pictures with the table of an encoder, which is opened once."""
    device, stream, opened = workspace.device, workspace.device.stream(), {}

    def harmonized(encoder, composite, mask, strengths):
        if encoder not in opened:
            opened[encoder] = DeviceLut(workspace, DeviceEncoder(workspace, encoder, OUTPUTS))
        height, width = mask.shape
        made = opened[encoder].enqueue(
            workspace.uploaded("composite", composite, stream),
            workspace.uploaded("the mask", mask, stream),
            Region(0, 0, width, height),
            strengths,
            stream,
        )
        found = [workspace.pinned(f"found {index}", composite.shape) for index in range(len(made))]
        for source, target in zip(made, found, strict=True):
            device.download(source, target, stream)
        device.synchronise(stream)
        opened[encoder].check()
        return [each.array.copy() for each in found]

    yield harmonized
    for encoder, harmonizer in opened.items():
        harmonizer.close()
        assert encoder.closed


@pytest.mark.parametrize("size", [(9, 500), (301, 200), (700, 900)])
def test_the_same_as_on_the_host(workspace, harmonize, size):
    composite, mask, strengths = picture(*size), soft_disc(*size), (0.25, 0.5, 1.0)
    mask[0, 0] = 200
    encoder = Encoder(workspace.device, random_table())
    results = harmonize(encoder, composite, mask, strengths)
    with LutHarmonizer(encoder, threads=1) as host:
        expected = host.harmonize(composite, mask, strengths)
    for found, wanted in zip(results, expected, strict=True):
        off = np.abs(found.astype(int) - wanted)
        assert off.max() <= 1
        assert (off[mask > 0] > 0).mean() < 0.35  # Pillow looks up whole levels
        np.testing.assert_array_equal(found[mask == 0], composite[mask == 0])
    (got, wanted) = encoder.given
    assert got["image"].dtype == np.uint8
    assert np.abs(got["image"].astype(int) - wanted["image"]).max() <= 1
    assert got["mask"].dtype == np.float32
    np.testing.assert_allclose(got["mask"], wanted["mask"], rtol=0, atol=1e-5)


def test_one_picture_after_another(workspace, harmonize):
    encoder = Encoder(workspace.device, random_table())
    for size in ((64, 80), (64, 80), (90, 50), (64, 80)):
        composite, mask = picture(*size), soft_disc(*size)
        (found,) = harmonize(encoder, composite, mask, (1.0,))
        with LutHarmonizer(encoder, threads=1) as host:
            (wanted,) = host.harmonize(composite, mask, (1.0,))
        assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
def test_a_table_that_is_no_numbers_is_refused(workspace, harmonize, worst):
    table = random_table()
    table[0, 1, 2, 3, 4] = worst
    encoder = Encoder(workspace.device, table)
    with pytest.raises(EngineError, match="no numbers; export it in fp32"):
        harmonize(encoder, picture(64, 80), soft_disc(64, 80), (1.0,))


def test_a_missing_engine_names_the_command(workspace, tmp_path):
    with pytest.raises(EngineError, match="run 'vivant export inr-harmonization'"):
        DeviceLut.open(EngineStore(tmp_path), workspace)
