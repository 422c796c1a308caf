"""What a device gives INR-Harmonization's levels, against the shapes that plans are built for."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vivant.gpu.inr_tiles import plan  # noqa: E402
from vivant.gpu.roles import Region  # noqa: E402
from vivant.harmonizers.inr_axes import LEVELS  # noqa: E402
from vivant.harmonizers.inr_geometry import CHANNELS, best_layout  # noqa: E402
from vivant.manifest import Graph, Manifest, Weights  # noqa: E402
from vivant_export.graphs.harmonizer import harmonizer_engine  # noqa: E402
from vivant_export.networks.hinet import HiNet  # noqa: E402
from vivant_export.tensorrt_profiles import MOST_SIDE, profile_of  # noqa: E402

SIZES = [
    (32, 32),
    (63, 2586),  # as many patches side by side as there may be
    (1080, 1920),
    (1920, 1080),
    (1012, 2376),  # its full level's patches take the table as it is
    (2048, 2048),  # one patch
    (MOST_SIDE, MOST_SIDE),
    (2160, MOST_SIDE),
    (MOST_SIDE, 480),
]


@pytest.fixture(scope="module")
def manifest():
    spec = harmonizer_engine(HiNet().eval())
    graphs = {
        graph.name: Graph(graph.name, "0", graph.opset, graph.inputs, graph.outputs)
        for graph in spec.graphs
    }
    weights = Weights("untrained", "a test", "none", seed=1)
    model = "inr-harmonization"
    return Manifest(model, "fp32", spec.role, "fp32", graphs, weights, spec.preprocessing)


@pytest.mark.parametrize("size", SIZES)
def test_every_run_lies_within_the_profile(manifest, size):
    height, width = size
    layout = best_layout(height, width)
    profiles = {level: profile_of(manifest, level.name) for level in LEVELS}
    seen = 0
    for region in (Region(0, 0, width, height), Region(width // 3, height // 2, 1, 1)):
        found = plan(layout, region, manifest.preprocessing["nodes"])
        assert 4 <= 4 * found.quads.shape[0] <= 64**2
        for band in found.bands:
            for level, strips in band.strips.items():
                half = layout.size // level.shrink // 2
                for strip in strips:
                    for run in strip.runs:
                        shapes = {name: table.shape for name, table in run.inputs.items()}
                        rows, window = run.pixels.shape[0], strip.pixels.shape[0]
                        shapes["pixels"] = (rows, level.shrink, window, level.shrink, 4)
                        shapes["below"] = (CHANNELS * half * band.patches, half)
                        for name, (least, _, most) in profiles[level].items():
                            if name in shapes:
                                triples = zip(least, shapes[name], most, strict=True)
                                assert all(low <= side <= high for low, side, high in triples)
                                seen += 1
    assert seen > 100
