"""Which profile runs, and with which matte."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest

from vivant.errors import ModelError
from vivant.profiles import PROFILES, find_profile, obstacles, with_matte_here
from vivant.store import EngineStore
from vivant.tuning import Choice

DEEP = ("mtcnn", "inr-harmonization", "bargainnet")


@pytest.fixture
def engines(store, tmp_path):
    """A store with engines of the named models; only their manifests matter."""
    manifest = store.engine("mtcnn").manifest

    def write(*models):
        for model in models:
            EngineStore(tmp_path).write(replace(manifest, model=model, graphs={}), {})
        return EngineStore(tmp_path)

    return write


def test_the_best_that_runs_is_taken(engines):
    assert find_profile(None, engines("mtcnn")).name == "classic"
    assert find_profile(None, engines(*DEEP, "rmbg-1.4")).name == "deep"
    assert find_profile(None, engines("rmbg-2.0")).name == "best"


def test_a_matte_that_is_not_here_gives_way_to_one_of_its_kind(engines):
    store = engines(*DEEP, "isnet-general-use")
    assert find_profile("deep", store).matte == "isnet-general-use"
    assert find_profile("deep", engines("rmbg-1.4")).matte == "rmbg-1.4"
    assert find_profile("best", engines("birefnet")).matte == "birefnet"
    assert find_profile("best", engines("birefnet-portrait")).matte == "birefnet-portrait"


def test_without_any_matte_the_first_is_asked_for(engines):
    store = engines(*DEEP)
    assert with_matte_here(PROFILES["deep"], store) == PROFILES["deep"]
    with pytest.raises(ModelError, match=r"profile 'deep' cannot run .* no engine 'rmbg-1\.4'"):
        find_profile("deep", store)


def test_a_library_that_a_choice_needs_is_an_obstacle(engines, monkeypatch):
    store = replace(engines("mtcnn"), choices={"mtcnn": Choice("fp32", "openvino")})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "onnxruntime" or None)
    assert obstacles(PROFILES["classic"], store) == (
        "openvino is not installed; run pip install 'vivant[openvino]'",
    )
    with pytest.raises(ModelError, match=r"'classic' cannot run here: openvino is not installed"):
        find_profile(None, store)


def test_an_unknown_profile_lists_those_there_are(store):
    with pytest.raises(
        ModelError, match="profile 'cubist': unknown; there are best, deep, classic"
    ):
        find_profile("cubist", store)
