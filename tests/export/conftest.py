"""What the original networks compute, on seeded weights; and engines with such weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vivant.manifest import Graph, Manifest, Weights
from vivant.store import EngineStore

COMMITTED = Path(__file__).parents[1] / "golden"
BESIDE = Path(__file__).parents[3] / "shared" / "golden"


@dataclass(frozen=True)
class Golden:
    """One file: its arrays, its facts, and by name the full shape and sampling step of stages."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.meta["stages"])

    def check_stage(self, name: str, tensor: Any) -> None:
        """Hold a tensor against the file's sample of it, within 1e-3 of its deviation."""
        facts = self.meta["stages"][name]
        value = np.asarray(tensor.detach().numpy() if hasattr(tensor, "detach") else tensor)
        assert list(value.shape) == list(facts["shape"]), name
        got = np.ravel(value)[:: facts["step"]]
        off = float(np.abs(got - self.arrays[f"stage_{name}"]).max()) / facts["std"]
        assert off <= 1e-3, f"{name}: off by {off:.2g} of its standard deviation"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """Open a golden file by name; one that is not redistributed skips the test where absent."""

    def load(name: str) -> Golden:
        for folder in (COMMITTED, Path(os.environ.get("VIVANT_GOLDEN", BESIDE))):
            if (folder / f"{name}.npz").is_file():
                with np.load(folder / f"{name}.npz") as archive:
                    arrays = dict(archive)
                return Golden(arrays, json.loads(bytes(arrays.pop("meta"))))
        pytest.skip(f"{name}.npz is not here; name its folder with VIVANT_GOLDEN")

    return load


@pytest.fixture
def build_plans(tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Build TensorRT-RTX plans as ``vivant build`` does, where that library is."""
    pytest.importorskip("tensorrt_rtx_libs")
    pytest.importorskip("tensorrt_rtx_bindings")
    from vivant.backends.tensorrt import load
    from vivant_export.tensorrt_build import Settings, Target, build_plan

    # Without a GPU, whatever this machine has.
    target = Target("tensorrt-rtx", str(load("tensorrt-rtx").__version__), None)

    def build(model: str, spec: Any, files: Mapping[str, bytes]) -> dict[str, int]:
        """Return the size in bytes of each graph's plan; ``spec`` is an ``EngineSpec``."""
        folder = EngineStore(tmp_path).write(*engine_of(model, spec, files))
        graphs = folder.manifest.graphs
        paths = {name: build_plan(target, folder, name, Settings()) for name in graphs}
        return {name: path.stat().st_size for name, path in paths.items()}

    return build


Files = dict[str, bytes]


@dataclass(frozen=True)
class Inr:
    """INR-Harmonization on seeded weights: what it becomes, its graphs in FP32 and in FP16."""

    spec: Any
    files: Files
    halves: Files


@pytest.fixture(scope="session")
def inr() -> Inr:
    """Export it, once for all tests: that takes a minute."""
    from vivant_export.catalogue import find_model
    from vivant_export.onnx_export import finished, to_onnx
    from vivant_export.precision import to_fp16

    spec = _seeded_spec(find_model("inr-harmonization"))
    models = {graph.name: to_onnx(graph) for graph in spec.graphs}
    # FP16 is made before the full ones are finished, which drops what it needs to know.
    halves = {
        graph.name: finished(to_fp16(models[graph.name], graph.keep_fp32)) for graph in spec.graphs
    }
    return Inr(spec, {name: finished(model) for name, model in models.items()}, halves)


@pytest.fixture(scope="session")
def inr_engine(inr: Inr) -> tuple[Manifest, Files]:
    """Return what ``EngineStore.write`` takes."""
    return engine_of("inr-harmonization", inr.spec, inr.files)


@pytest.fixture(scope="session")
def bargainnet_engine() -> tuple[Manifest, Files]:
    """Return what ``EngineStore.write`` takes."""
    from vivant_export.catalogue import find_model
    from vivant_export.onnx_export import finished, to_onnx

    spec = _seeded_spec(find_model("bargainnet"))
    files = {graph.name: finished(to_onnx(graph)) for graph in spec.graphs}
    return engine_of("bargainnet", spec, files)


def engine_of(model: str, spec: Any, files: Mapping[str, bytes]) -> tuple[Manifest, Files]:
    """Return the manifest of an untrained engine and its files; ``spec`` is an ``EngineSpec``."""
    graphs = {
        graph.name: Graph(
            file=f"{graph.name}.onnx",
            sha256=hashlib.sha256(files[graph.name]).hexdigest(),
            opset=graph.opset,
            inputs=graph.inputs,
            outputs=graph.outputs,
        )
        for graph in spec.graphs
    }
    weights = Weights("untrained", "a test", "none", seed=1)
    manifest = Manifest(model, "fp32", spec.role, "fp32", graphs, weights, spec.preprocessing)
    return manifest, {f"{name}.onnx": data for name, data in files.items()}


def _seeded_spec(model: Any) -> Any:
    from vivant_export.architectures import build_network, engine_spec
    from vivant_export.checkpoints import load_strictly
    from vivant_export.seeded import seeded_state

    network = build_network(model)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    load_strictly(network, seeded_state(shapes, 1), source="seed 1")
    return engine_spec(model, network, size=model.size, target="cpu")
