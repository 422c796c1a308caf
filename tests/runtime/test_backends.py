"""An engine opens in the backend that was chosen for it, or not at all."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from vivant import backends
from vivant.backends import BACKENDS, lacking, open_engine
from vivant.errors import BackendError
from vivant.tuning import Choice


@pytest.fixture
def without_openvino(monkeypatch):
    find = importlib.util.find_spec

    def hidden(name, *rest):
        return None if name == "openvino" else find(name, *rest)

    monkeypatch.setattr(backends.importlib.util, "find_spec", hidden)


def chosen(store, backend):
    return replace(store, choices={"mtcnn": Choice("fp32", backend)}).engine("mtcnn")


@pytest.mark.parametrize("backend", [name for name in BACKENDS if not name.endswith("bf16")])
def test_every_backend_runs_the_same_graph(store, backend):
    if reason := lacking(backend):
        pytest.skip(reason)
    if backend.startswith("tensorrt"):
        pytest.skip("runs plans; see test_tensorrt")
    image = np.full((2, 24, 24, 3), 127, np.float32)
    with open_engine(chosen(store, backend), "rnet", threads=1) as engine:
        result = engine.run({"image": image})
    assert type(engine).__name__.lower().startswith(BACKENDS[backend].library)
    assert result["regression"].shape == (2, 4)


def test_a_backend_that_is_absent_names_its_extra(store, without_openvino):
    assert lacking("onnxruntime") is None
    for backend in ("openvino", "openvino-bf16"):
        with pytest.raises(BackendError, match=r"openvino is not installed.*vivant\[openvino\]"):
            open_engine(chosen(store, backend), "rnet")


def test_an_unknown_backend_lists_those_there_are(store):
    with pytest.raises(BackendError, match="backend 'abacus': this version has onnxruntime, openv"):
        open_engine(chosen(store, "abacus"), "rnet")
