"""The catalogue: complete, consistent with the runtime, and honest about what is not known."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from vivant import profiles
from vivant.errors import ModelError
from vivant_export.catalogue import MODELS, find_model

NAMES = {
    "mtcnn",
    "rmbg-1.4",
    "isnet-general-use",
    "rmbg-2.0",
    "birefnet",
    "birefnet-portrait",
    "birefnet-lite",
    "inr-harmonization",
    "bargainnet",
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def test_the_models():
    assert set(MODELS) == NAMES
    assert all(name == model.name for name, model in MODELS.items())


def test_every_learned_model_of_a_profile_can_be_exported():
    for profile in (profiles.DEEP, profiles.BEST):
        for name, role in (
            (profile.faces, "faces"),
            (profile.matte, "matte"),
            (profile.harmonizer, "harmonizer"),
            (profile.scorer, "scorer"),
        ):
            assert find_model(name).role == role


def test_an_unknown_name():
    with pytest.raises(ModelError, match=r"'rmbg': unknown; there are mtcnn, rmbg-1\.4"):
        find_model("rmbg")


@models
def test_sources(model):
    assert model.sources
    for source in model.sources:
        assert source.name
        assert "/" not in source.name
        assert source.page.startswith("https://")
        assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.revision is None or re.fullmatch(r"[0-9a-f]{40}", source.revision)
        assert source.kind != "https" or source.location.startswith("https://")
    # Files of one name lie in one place, so that they must be one file.
    for name in {source.name for source in model.sources}:
        assert len({source.sha256 for source in model.sources if source.name == name}) == 1


@models
def test_tolerances(model):
    assert model.precisions[0] == "fp32"
    for tolerances in model.tolerances.values():
        assert tolerances
        assert all("." in quantity and 0 < most < 1 for quantity, most in tolerances.items())


@models
def test_sizes(model):
    assert model.size is None or model.size in model.sizes
    assert (model.role == "matte") == (len(model.sizes) > 1)


@models
def test_what_every_family_needs(model):
    assert (model.patch_order is not None) == model.architecture.startswith("birefnet")
    assert (model.preprocessing is None) == (model.name == "mtcnn")
    assert model.licence.url.startswith("https://")


def test_whose_use_is_restricted():
    restricted = {name for name, model in MODELS.items() if not model.licence.commercial}
    assert restricted == {"rmbg-1.4", "rmbg-2.0"}


def test_looking_up_costs_no_heavy_library():
    code = (
        "import sys, vivant_export.catalogue, vivant_export.weights, vivant_export.checkpoints;"
        "print({'torch', 'onnx', 'huggingface_hub', 'safetensors', 'mtcnn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
