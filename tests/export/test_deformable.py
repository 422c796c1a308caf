"""Deformable convolution against its definition, and its two ONNX forms against it."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from vivant.backends.onnxruntime import OnnxRuntimeEngine  # noqa: E402
from vivant.manifest import Tensor  # noqa: E402
from vivant_export.graphs import GraphSpec  # noqa: E402
from vivant_export.networks.deformable import (  # noqa: E402
    GRID_SAMPLE_OPSET,
    NATIVE_OPSET,
    DeformableConv2d,
    deform_conv2d,
    set_export_form,
)
from vivant_export.onnx_export import finished, to_onnx  # noqa: E402

HEIGHT, WIDTH = 6, 9


def far_and_near(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Offsets in pixels: most within the map, some just across its border, some far outside."""
    spread = rng.choice([0.5, 3.0, 40.0], shape)
    return (rng.standard_normal(shape) * spread).astype(np.float32)


def bilinear(plane: np.ndarray, y: float, x: float) -> np.ndarray:
    """Read ``plane``, [C,H,W], at a fractional place; beyond the border everything is zero."""
    top, left = math.floor(y), math.floor(x)
    total = np.zeros(len(plane))
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < plane.shape[1] and 0 <= column < plane.shape[2]:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[:, row, column]
    return total


def by_definition(x, offset, modulation, weight, bias) -> np.ndarray:
    """Equation 1 of https://arxiv.org/abs/1811.11168, place by place, for one picture."""
    outputs, _, size, _ = weight.shape
    result = np.tile(bias.astype(np.float64)[:, None, None], (1, *x.shape[1:]))
    assert result.shape[0] == outputs
    for row, column in np.ndindex(*x.shape[1:]):
        for tap, (down, right) in enumerate(np.ndindex(size, size)):
            dy, dx = offset[2 * tap : 2 * tap + 2, row, column].astype(np.float64)
            read = bilinear(x, row + down - size // 2 + dy, column + right - size // 2 + dx)
            result[:, row, column] += modulation[tap, row, column] * (
                weight[:, :, down, right] @ read
            )
    return result


@pytest.mark.parametrize("size", [1, 3, 7])
def test_it_computes_its_definition(size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((2, 3, HEIGHT, WIDTH)).astype(np.float32)
    offset = far_and_near(rng, (2, 2 * size**2, HEIGHT, WIDTH))
    modulation = rng.random((2, size**2, HEIGHT, WIDTH), np.float32)
    weight = rng.standard_normal((4, 3, size, size)).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    tensors = map(torch.from_numpy, (x, offset, modulation, weight, bias))
    got = deform_conv2d(*tensors).numpy()
    for index in range(2):
        expected = by_definition(x[index], offset[index], modulation[index], weight, bias)
        np.testing.assert_allclose(got[index], expected, atol=1e-4)


def test_a_map_of_one_pixel():
    x, offset = torch.tensor([[[[2.0]]]]), torch.tensor([0.25, -0.5]).reshape(1, 2, 1, 1)
    ones = torch.ones(1, 1, 1, 1)
    assert deform_conv2d(x, offset, ones, ones, None).item() == pytest.approx(2 * 0.75 * 0.5)


def test_undisplaced_it_is_a_convolution():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 3, HEIGHT, WIDTH, generator=generator)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    offset, modulation = torch.zeros(1, 18, HEIGHT, WIDTH), torch.ones(1, 9, HEIGHT, WIDTH)
    got = deform_conv2d(x, offset, modulation, weight, None)
    torch.testing.assert_close(got, functional.conv2d(x, weight, padding=1), atol=1e-5, rtol=0)


def displaced(size: int) -> DeformableConv2d:
    """A layer whose taps wander, some of them far out of the map."""
    generator = torch.Generator().manual_seed(size)
    layer = DeformableConv2d(3, 4, size).eval().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    layer.offset_conv.bias.copy_(
        torch.from_numpy(far_and_near(np.random.default_rng(size), (2 * size**2,)))
    )
    return layer


def spec(layer: DeformableConv2d, x: np.ndarray, opset: int) -> GraphSpec:
    inputs = (Tensor("x", "float32", x.shape, "a map"),)
    outputs = (Tensor("y", "float32", (1, 4, HEIGHT, WIDTH), "a map"),)
    return GraphSpec("layer", layer, inputs, outputs, lambda: [{"x": x}], opset)


@pytest.mark.parametrize(
    ("form", "opset", "operator", "other"),
    [
        ("native", NATIVE_OPSET, "DeformConv", "GridSample"),
        ("grid-sample", GRID_SAMPLE_OPSET, "GridSample", "DeformConv"),
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_onnx_runtime_computes_both_forms(form, opset, operator, other, size):
    layer = displaced(size)
    x = np.random.default_rng(0).standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    expected = layer(torch.from_numpy(x)).numpy()
    set_export_form(layer, form)
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), expected)  # eager is eager
    model = to_onnx(spec(layer, x, opset))
    operators = {node.op_type for node in model.graph.node}
    assert operator in operators
    assert other not in operators
    with OnnxRuntimeEngine(finished(model), "layer") as engine:
        got = engine.run({"x": x})["y"]
    np.testing.assert_allclose(got, expected, atol=1e-4)
