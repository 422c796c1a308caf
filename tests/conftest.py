"""Fixtures that several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# torch's threads wait for each other without taking the cores from other tests' processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from vivant.backends.device import Device
from vivant.backends.device_host import HostDevice
from vivant.backends.devices import lacking_device, open_device
from vivant.images import load_image
from vivant.roles import Face, Image
from vivant.store import EngineStore
from vivant_export import mtcnn
from vivant_samples import PORTRAIT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and say why, what needs a GPU where there is none."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing and (reason := lacking_device("cuda")):
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {reason}"))


@pytest.fixture
def host_device() -> Iterator[HostDevice]:
    """The device in NumPy; what a test leaves in its memory fails the test."""
    with HostDevice() as device:
        yield device


@pytest.fixture
def cuda_device() -> Iterator[Device]:
    """The GPU, for tests marked ``gpu``; what a test leaves in its memory fails the test."""
    device = open_device("cuda")
    yield device
    device.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> EngineStore:
    """A store with a freshly exported MTCNN."""
    store = EngineStore(tmp_path_factory.mktemp("engines"))
    mtcnn.export(store)
    return store


@pytest.fixture(scope="session")
def trial_pictures() -> Path:
    """A folder of pictures that may be tried on but not redistributed; it may be missing."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("VIVANT_TRIAL_PICTURES", beside))


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """The sample portrait: 512x512, one woman, half body, cut by the frame."""
    return load_image(PORTRAIT)


@pytest.fixture(scope="session")
def astronaut_face() -> Face:
    """Her face, as facenet-pytorch finds it."""
    return Face(
        box=(178.7623, 60.9795, 269.2873, 176.3523),
        probability=0.9999448,
        landmarks=(
            (204.5842, 100.4624),
            (247.1995, 103.5436),
            (224.1581, 129.0059),
            (201.3195, 140.6703),
            (243.8497, 142.7682),
        ),
    )
