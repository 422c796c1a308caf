"""The figures of the accuracy gate, on mattes whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from vivant.errors import EngineError, ModelError  # noqa: E402
from vivant_export.precision.accuracy import compare_mattes  # noqa: E402

SIDE = 10


def matter(formula: str, output: str = f"float[1,{SIDE},{SIDE}]") -> bytes:
    """A graph whose alpha is ``formula`` of x, which is a tenth of the red channel."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 18]>
        g (uint8[1,{SIDE},{SIDE},3] image) => ({output} alpha) {{
            zero = Constant<value_int = 0>()
            red = Gather<axis = 3>(image, zero)
            levels = Cast<to = 1>(red)
            ten = Constant<value_float = 10.0>()
            tenth = Constant<value_float = 0.1>()
            x = Div(levels, ten)
            {formula}
        }}""")
    onnx.checker.check_model(model)
    return model.SerializeToString()


SAME = matter("alpha = Identity(x)")
MORE = matter("alpha = Add(x, tenth)")


def batch(*levels: int) -> dict[str, np.ndarray]:
    """A picture in bands of red ``levels``, 0..10: so is its alpha, 0..1."""
    rows = np.repeat(np.array(levels, np.uint8), SIDE // len(levels))
    return {"image": np.broadcast_to(rows[None, :, None, None], (1, SIDE, SIDE, 3)).copy()}


def test_a_graph_equals_itself():
    assert compare_mattes(SAME, SAME, [batch(0, 10)]) == {
        "alpha.mean_abs": 0.0,
        "alpha.iou_loss": 0.0,
    }


def test_the_figures_are_over_all_pixels_of_all_pictures():
    # Half of the first picture crosses the threshold; a fifth of the second was above it.
    figures = compare_mattes(SAME, MORE, [batch(0, 4), batch(8, 0, 0, 0, 0)])
    assert figures["alpha.mean_abs"] == pytest.approx(0.1)
    assert figures["alpha.iou_loss"] == pytest.approx(1 - 20 / (50 + 20))


def test_losing_foreground_counts_as_gaining_it_does():
    given, taken = (compare_mattes(*pair, [batch(4, 8)]) for pair in ((SAME, MORE), (MORE, SAME)))
    assert given == taken
    assert given["alpha.iou_loss"] == pytest.approx(0.5)


def test_two_empty_mattes_agree():
    assert compare_mattes(SAME, MORE, [batch(0)])["alpha.iou_loss"] == 0.0


def test_values_that_are_no_numbers_are_an_error():
    with pytest.raises(EngineError, match="50% of it numbers"):
        compare_mattes(SAME, matter("alpha = Log(x)"), [batch(0, 5)])


def test_another_shape_is_an_error():
    squeezed = matter("alpha = Squeeze(x)", f"float[{SIDE},{SIDE}]")
    with pytest.raises(EngineError, match=rf"float32 \[{SIDE}, {SIDE}\]"):
        compare_mattes(SAME, squeezed, [batch(0, 5)])


def test_no_pictures_are_an_error():
    with pytest.raises(ModelError, match="no pictures"):
        compare_mattes(SAME, SAME, [])
