"""Conversion to FP16 and INT8: what each node computes in, and how far the results move."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

pytest.importorskip("torch")  # with which come the versions that can convert
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, numpy_helper  # noqa: E402

from vivant.errors import ModelError  # noqa: E402
from vivant_export.precision import rounded, to_fp16, to_int8  # noqa: E402
from vivant_export.precision.nodes import element_types  # noqa: E402

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def model_of(text: str, weights: dict[str, np.ndarray] | None = None, opset: int = 18):
    """A model from ONNX's own notation, every node named after its first result."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {text}')
    for node in model.graph.node:
        node.name = f"to_{node.output[0]}"
    tensors = (numpy_helper.from_array(value, name) for name, value in (weights or {}).items())
    model.graph.initializer.extend(tensors)
    onnx.checker.check_model(model)
    return model


def run(model, *inputs: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [tensor.name for tensor in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def noted(model, node: str, *scopes: str):
    """Note what torch's exporter notes: the submodules that a node is of, outermost first."""
    entry = next(n for n in model.graph.node if n.name == node).metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(list(scopes))


def random(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def transformer():
    """A picture, a convolution, a norm, an attention and a resize."""
    return model_of(
        """
        g (uint8[1,8,8,3] image) => (float[1,4,16,16] y) {
            x = Cast<to = 1>(image)
            t = Transpose<perm = [0, 3, 1, 2]>(x)
            c = Conv<pads = [1, 1, 1, 1]>(t, w)
            n = LayerNormalization<axis = -1>(c, scale)
            m = MatMul(n, n)
            s = Softmax<axis = -1>(m)
            p = MatMul(s, n)
            y = Resize<mode = "linear">(p, , factors)
        }
        """,
        {
            "w": random(4, 3, 3, 3) / 300,
            "scale": np.ones(8, np.float32),
            "factors": np.array([1, 1, 2, 2], np.float32),
        },
    )


def test_fp16_is_all_but_norms_and_softmax():
    half = to_fp16(transformer())
    onnx.checker.check_model(half, full_check=True)
    types = element_types(half)
    assert [types[name] for name in ("x", "t", "c", "m", "p", "y_fp16")] == [HALF] * 6
    assert [types[name] for name in ("n", "s", "y", "factors")] == [FLOAT] * 4
    assert [types[tensor.name] for tensor in half.graph.input] == [TensorProto.UINT8]
    assert types["w_fp16"] == HALF
    assert {tensor.name for tensor in half.graph.initializer} == {"w_fp16", "scale", "factors"}


def test_fp16_computes_nearly_the_same():
    model = transformer()
    before = model.SerializeToString()
    image = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), np.uint8)
    expected = run(model, image)
    half = to_fp16(model)
    for judged in (half, rounded(half)):
        deviation = np.abs(run(judged, image) - expected)
        assert 0 < deviation.max() < 4e-3 * np.abs(expected).max()
    assert model.SerializeToString() == before


def product():
    """A product in a submodule that FP16 can neither hold nor divide back."""
    model = model_of(
        "g (float[1,4] x) => (float[1,4] y) { a = Mul(x, c) b = Mul(a, c) t = Div(b, c) "
        "u = Div(t, c) y = Add(u, u) }",
        {"c": np.array([300], np.float32)},
    )
    for name in "abtu":
        noted(model, f"to_{name}", "", "net", "net.hyper", f"mul_{name}")
    noted(model, "to_y", "", "net", "add")
    return model


def test_values_pass_unrounded_between_nodes_that_are_kept():
    half = to_fp16(product(), keep=["net.hyper"])
    casts = [n for n in half.graph.node if n.op_type == "Cast"]
    assert [(n.input[0], n.output[0]) for n in casts] == [("u", "u_fp16"), ("y_fp16", "y")]
    x = np.array([[1, 2, 3, 1.5]], np.float32)
    np.testing.assert_array_equal(run(half, x), 2 * x)


def test_what_onnx_runtime_hides_rounding_shows():
    half = to_fp16(product())
    x = np.array([[1, 2, 3, 1.5]], np.float32)
    np.testing.assert_array_equal(run(half, x), 2 * x)  # no rounding, so no overflow
    assert not np.isfinite(run(rounded(half), x)).any()  # as on a GPU


def test_rounding_is_that_of_numpy():
    model = model_of("g (float[64] x) => (float[64] y) { a = Mul(x, x) y = Add(a, x) }")
    x = random(64)
    h = x.astype(np.float16)
    expected = (h * h + h).astype(np.float32)
    np.testing.assert_array_equal(run(rounded(to_fp16(model)), x), expected)


def test_a_split_that_the_exporter_wrote_goes_with_what_it_reads():
    model = model_of(
        "g (float[4] x) => (float[2] y) { a = Mul(x, x) b, c = Split<num_outputs = 2>(a) "
        "y = Add(b, c) }"
    )
    noted(model, "to_a", "", "kept", "mul")
    noted(model, "to_y", "", "add")
    types = element_types(to_fp16(model, keep=["kept"]))
    assert (types["a"], types["b"], types["c"]) == (FLOAT, FLOAT, FLOAT)
    assert types["y_fp16"] == HALF


@pytest.mark.parametrize(
    ("constant", "kept"),
    [(1e-6, True), (1e5, True), (6e4, False), (1e-4, False), (0, False), (-np.inf, False)],
)
def test_constants_beyond_fp16_keep_their_nodes(constant, kept):
    model = model_of(
        "g (float[4] x) => (float[4] y) { a = Add(x, c) y = Relu(a) }",
        {"c": np.array([constant], np.float32)},
    )
    assert element_types(to_fp16(model))["a"] == (FLOAT if kept else HALF)


def sampler():
    """A grid sampled at offsets that a convolution computes."""
    return model_of(
        """
        g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
            offset = Conv<pads = [1, 1, 1, 1]>(x, w)
            moved = Transpose<perm = [0, 2, 3, 1]>(offset)
            grid = Add(moved, base)
            sampled = GridSample(x, grid)
            mixed = Conv<pads = [1, 1, 1, 1]>(sampled, v)
            rectified = Relu(mixed)
            y = Conv<pads = [1, 1, 1, 1]>(rectified, u)
        }
        """,
        {
            "w": random(2, 4, 3, 3) / 100,
            "u": random(4, 4, 3, 3) / 6,
            "v": random(4, 4, 3, 3) / 6,
            "base": random(1, 8, 8, 2) / 3,
        },
    )


def test_coordinates_stay_fp32_from_the_convolution_on():
    types = element_types(to_fp16(sampler()))
    assert [types[name] for name in ("offset", "mixed", "rectified")] == [HALF] * 3
    assert [types[name] for name in ("moved", "grid", "sampled")] == [FLOAT] * 3


def test_native_deformable_convolutions_run_on_cpus():
    model = model_of(
        """
        g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
            offset = Conv<pads = [1, 1, 1, 1]>(x, w)
            d = DeformConv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, v, offset)
            y = Relu(d)
        }
        """,
        {"w": random(18, 4, 3, 3) / 20, "v": random(4, 4, 3, 3)},
        opset=19,
    )
    half = to_fp16(model)
    assert element_types(half)["offset"] == HALF
    x = random(1, 4, 8, 8)
    np.testing.assert_allclose(run(half, x), run(model, x), atol=0.02)


def test_a_submodule_that_is_not_there_is_an_error():
    with pytest.raises(ModelError, match=r"net\.hyber"):
        to_fp16(product(), keep=["net.hyper", "net.hyber"])


def test_branches_are_refused():
    branch = onnx.parser.parse_graph("b () => (float[1] z) { z = Identity(x) }")
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = model_of("g (float[1] x, bool c) => (float[1] y) { y = Identity(x) }")
    model.graph.node[0].CopyFrom(node)
    with pytest.raises(ModelError, match="branches"):
        to_fp16(model)


def segmenter():
    """A small U-Net: two levels, joined and added, and a convolution to the logits."""
    tensors = {"scale": np.array([1 / 255], np.float32), "factors": np.array([1, 1, 2, 2], "f4")}
    for i, (made, read) in enumerate([(16, 3), (16, 16), (16, 16), (16, 32), (1, 16)]):
        tensors[f"w{i}"] = random(made, read, 3, 3, seed=i) / np.sqrt(9 * read, dtype=np.float32)
        tensors[f"b{i}"] = random(made, seed=9 + i) / 9
    tensors["w1"][3] *= 8  # a channel apart, which a scale for all would drown the others in
    pads = "pads = [1, 1, 1, 1]"
    return model_of(
        f"""
        g (uint8[1,32,32,3] image) => (float[1,1,32,32] alpha) {{
            x = Cast<to = 1>(image)
            t = Transpose<perm = [0, 3, 1, 2]>(x)
            n = Mul(t, scale)
            c0 = Conv<{pads}>(n, w0, b0)
            r0 = Relu(c0)
            m0 = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r0)
            c1 = Conv<{pads}>(m0, w1, b1)
            r1 = Relu(c1)
            c2 = Conv<{pads}>(r1, w2, b2)
            r2 = Relu(c2)
            sum = Add(r1, r2)
            up = Resize<mode = "linear">(sum, , factors)
            both = Concat<axis = 1>(up, r0)
            c3 = Conv<{pads}>(both, w3, b3)
            r3 = Relu(c3)
            logits = Conv<{pads}>(r3, w4, b4)
            alpha = Sigmoid(logits)
        }}
        """,
        tensors,
    )


def photos(count: int, seed: int = 3):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 32, 32, 3), np.uint8)
    return [{"image": image} for image in pixels]


def constants(model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def quantised(model) -> dict[str, np.ndarray]:
    """The zero point of every Q and DQ node, by the node's name."""
    values = constants(model)
    return {
        node.name: values[node.input[2]]
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }


@pytest.fixture(scope="module")
def for_cpus():
    return to_int8(segmenter(), photos(4), "cpu")


@pytest.fixture(scope="module")
def for_tensorrt():
    return to_int8(segmenter(), photos(4), "tensorrt")


@pytest.mark.parametrize("scheme", ["cpu", "tensorrt"])
def test_int8_computes_nearly_the_same(scheme, request):
    model, low = (
        segmenter(),
        request.getfixturevalue(f"for_{'cpus' if scheme == 'cpu' else scheme}"),
    )
    onnx.checker.check_model(low, full_check=True)
    (photo,) = photos(1, seed=4)
    expected, got = run(model, photo["image"]), run(low, photo["image"])
    assert expected.std() > 0.03
    assert 0 < np.abs(got - expected).mean() < 0.1 * expected.std()


def test_a_cpu_computes_all_but_the_logits_in_eight_bits(for_cpus, tmp_path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(for_cpus.SerializeToString(), options, ["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert operators.count("QLinearConv") == 4
    assert operators.count("QLinearConcat") == operators.count("QLinearAdd") == 1
    assert "MaxPool" in " ".join(operators)
    assert operators.count("Conv") == 1  # the logits
    # In at the start, out and in around the resize, which interpolates, and out at the end.
    assert operators.count("QuantizeLinear") == operators.count("DequantizeLinear") == 2


def test_cpus_get_bytes_and_weights_per_channel(for_cpus):
    values = constants(for_cpus)
    assert {str(zero.dtype) for zero in quantised(for_cpus).values()} == {"uint8", "int8", "int32"}
    assert values["w1_scale"].shape == (16,)
    assert values["w1_scale"][3] > 4 * np.delete(values["w1_scale"], 3).max()


def test_tensorrt_gets_signed_bytes_around_zero(for_tensorrt):
    zeros = quantised(for_tensorrt)
    assert {str(zero.dtype) for zero in zeros.values()} == {"int8"}
    assert not any(zero.any() for zero in zeros.values())
    values = constants(for_tensorrt)
    assert values["w3_scale"].shape == (16,)
    assert values["w3_quantized"].dtype == np.int8
    assert values["b3"].dtype == np.float32
    assert values["w4"].dtype == np.float32  # of the logits


def test_tensorrt_quantises_what_convolutions_read_but_the_last(for_tensorrt):
    makers = {node.output[0]: node.op_type for node in for_tensorrt.graph.node}
    *others, last = (node for node in for_tensorrt.graph.node if node.op_type == "Conv")
    assert {makers[name] for node in others for name in node.input[:2]} == {"DequantizeLinear"}
    assert makers[last.input[0]] == "Relu"


def test_the_rest_of_a_tensorrt_graph_can_be_fp16(for_tensorrt):
    half = to_fp16(for_tensorrt)
    types = element_types(half)
    convolutions = [node for node in half.graph.node if node.op_type == "Conv"]
    assert {types[name] for node in convolutions for name in node.input} == {HALF}
    (photo,) = photos(1, seed=4)
    for judged in (half, rounded(half)):
        deviation = np.abs(run(judged, photo["image"]) - run(for_tensorrt, photo["image"]))
        assert 0 < deviation.mean() < 2e-3


def test_coordinates_are_not_quantised():
    low = to_int8(sampler(), [{"x": random(1, 4, 8, 8)}], "tensorrt")
    kept = {n.name: n.input[1] for n in low.graph.node if n.op_type == "Conv"}
    assert kept["to_offset"] == "w"  # leads to positions
    assert kept["to_y"] == "u"  # the result
    assert kept["to_mixed"] == "v_DequantizeLinear_Output"


def test_linear_layers_are_quantised_per_channel_whichever_way_they_lie():
    model = model_of(
        "g (float[1,4,8] x) => (float[1,4,6] y) { t = Transpose<perm = [1, 0]>(w) "
        "a = MatMul(x, t) r = Relu(a) y = MatMul(r, v) }",
        {"w": random(8, 8), "v": random(8, 6)},
    )
    low = to_int8(model, [{"x": random(1, 4, 8)}], "tensorrt")
    values = constants(low)
    assert values["t_scale"].shape == (8,)
    np.testing.assert_allclose(values["t_scale"], np.abs(random(8, 8)).max(axis=1) / 127, rtol=0.02)
    assert "Transpose" not in {node.op_type for node in low.graph.node}


def test_ranges_come_from_all_batches():
    model = model_of(
        "g (float[1,1,4,4] x) => (float[1,1,4,4] y) "
        "{ a = Conv<kernel_shape = [1, 1]>(x, w) y = Conv<kernel_shape = [1, 1]>(a, v) }",
        dict.fromkeys("wv", np.ones((1, 1, 1, 1), np.float32)),
    )
    ones = np.ones((1, 1, 4, 4), np.float32)
    low = to_int8(model, ({"x": ones * value} for value in (1.0, -6.35, 2.0)), "tensorrt")
    assert constants(low)["x_scale"] == pytest.approx(6.35 / 127)


def test_quantising_leaves_nothing_behind(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = segmenter()
    before = model.SerializeToString()
    to_int8(model, photos(1), "cpu")
    assert model.SerializeToString() == before
    assert not list(tmp_path.iterdir())
    assert not caplog.messages
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", ["cpu", "tensorrt"])
def test_no_pictures_are_an_error(scheme):
    with pytest.raises(ModelError, match="no pictures"):
        to_int8(segmenter(), [], scheme)


def test_nothing_to_quantise_is_an_error():
    with pytest.raises(ModelError, match="no convolution"):
        to_int8(model_of("g (float[4] x) => (float[4] y) { y = Relu(x) }"), [], "cpu")
