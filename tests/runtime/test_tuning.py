"""What a machine was tuned to is followed or refused; the fastest usable choice is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from vivant import trials
from vivant.errors import EngineError, ModelError, OutputError
from vivant.store import EngineStore, open_store
from vivant.trials import Trial, best, try_all, tunable
from vivant.tuning import FILE, Choice, Tuning, key, read_tuning, write_tuning


@pytest.fixture
def engines(store, tmp_path):
    """A store of empty engines of one model: only their manifests matter."""
    manifest = replace(store.engine("mtcnn").manifest, model="rmbg-1.4", role="matte", graphs={})

    def write(*variants, kind="custom"):
        store = EngineStore(tmp_path)
        for variant in variants:
            weights = replace(manifest.weights, kind=kind)
            store.write(replace(manifest, variant=variant, weights=weights), {})
        return store

    return write


class TestFile:
    def test_what_is_written_is_read(self, tmp_path):
        choices = {"a": Choice("int8", "openvino"), "a-512": Choice("fp32-512", "onnxruntime")}
        write_tuning(tmp_path, choices, {"processor": "a fast one", "trials": []})
        assert read_tuning(tmp_path) == Tuning(choices, "a fast one")
        assert open_store(tmp_path).choices == choices

    def test_an_untuned_store_has_none(self, tmp_path):
        assert read_tuning(tmp_path) == Tuning({}, "")

    def test_one_written_by_hand_needs_no_measurements(self, tmp_path):
        choices = {"a": {"variant": "fp32", "backend": "onnxruntime"}}
        (tmp_path / FILE).write_text(json.dumps({"schema": 1, "choices": choices}))
        assert open_store(tmp_path).choices == {"a": Choice("fp32", "onnxruntime")}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"schema": 2, "choices": {}}',
            '{"schema": 1, "choices": []}',
            '{"schema": 1, "choices": {"a": "int8"}}',
            '{"schema": 1, "choices": {"a": {"variant": "fp32"}}}',
        ],
    )
    def test_a_damaged_file_is_an_error(self, tmp_path, text):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(EngineError, match=r"tuning\.json: .*run 'vivant tune' again") as caught:
            open_store(tmp_path)
        assert "\n" not in str(caught.value)

    def test_a_store_that_cannot_be_written_is_an_error(self, tmp_path):
        with pytest.raises(OutputError, match="its folder does not exist"):
            write_tuning(tmp_path / "none", {}, {})


class TestStore:
    def test_an_int8_engine_that_was_judged_is_used(self, engines):
        assert engines("fp32", "int8", "fp32-512").engine("rmbg-1.4").choice == Choice(
            "int8", "onnxruntime"
        )

    def test_an_int8_engine_that_could_not_be_judged_is_not(self, engines):
        store = engines("fp32", "int8", kind="untrained")
        assert replace(store, allow_untrained=True).engine("rmbg-1.4").choice.variant == "fp32"

    def test_an_untrained_engine_beside_a_trained_one_does_not_matter(self, engines):
        engines("int8", kind="untrained")
        assert engines("fp32").engine("rmbg-1.4").choice.variant == "fp32"

    def test_another_size_is_another_engine(self, engines):
        store = engines("fp32", "fp32-512", "int8-512", "fp32-768")
        assert store.engine("rmbg-1.4", size=512).choice.variant == "int8-512"
        assert store.engine("rmbg-1.4", size=768).choice.variant == "fp32-768"
        with pytest.raises(EngineError, match=r"of 256 pixels; run 'vivant export .* --size 256'"):
            store.engine("rmbg-1.4", size=256)

    def test_a_choice_is_followed(self, engines):
        chosen = Choice("fp32", "openvino")
        store = replace(engines("fp32", "int8"), choices={"rmbg-1.4": chosen})
        assert store.engine("rmbg-1.4").choice == chosen
        assert store.engine("rmbg-1.4", "int8").choice == Choice("int8", "onnxruntime")

    def test_a_choice_that_is_gone_is_an_error(self, engines):
        store = replace(engines("fp32"), choices={"rmbg-1.4": Choice("int8", "openvino")})
        with pytest.raises(EngineError, match=r"no variant 'int8'.*there is fp32.*vivant tune"):
            store.engine("rmbg-1.4")


class TestCommand:
    def test_tunes_what_is_there_and_doctor_tells(self, store, tmp_path, command_line):
        shutil.copytree(store.root, tmp_path / "engines")
        here = ("--store", tmp_path / "engines")
        status, out, _ = command_line("tune", "mtcnn", "--rounds", "1", "--json", *here)
        report = json.loads(out)
        assert status == 0
        assert [trial["model"] for trial in report["trials"]] == ["mtcnn"] * len(
            trials.backends_here()
        )
        chosen = Choice(**report["choices"]["mtcnn"])
        assert read_tuning(tmp_path / "engines").choices == {"mtcnn": chosen}
        status, out, _ = command_line("doctor", *here)
        assert f"mtcnn: {chosen.variant} in {chosen.backend}\n" in out
        report["processor"] = "another"
        write_tuning(tmp_path / "engines", {"mtcnn": chosen}, report)
        assert "measured on another machine" in command_line("doctor", *here)[1]

    def test_other_models_keep_their_choice(self, store, tmp_path, command_line):
        shutil.copytree(store.root, tmp_path / "engines")
        kept = Choice("int8", "onnxruntime")
        write_tuning(tmp_path / "engines", {"rmbg-1.4": kept}, {})
        here = ("--store", tmp_path / "engines")
        assert command_line("tune", "--rounds", "1", *here)[0] == 0
        choices = read_tuning(tmp_path / "engines").choices
        assert set(choices) == {"mtcnn", "rmbg-1.4"}
        assert choices["rmbg-1.4"] == kept

    def test_nothing_to_tune_is_an_error(self, tmp_path, command_line):
        status, _, err = command_line("tune", "--store", tmp_path)
        assert (status, err.count("\n")) == (1, 1)
        assert "no engine to tune" in err
        status, _, err = command_line("tune", "rmbg-1.4", "--store", tmp_path)
        assert status == 1
        assert "model 'rmbg-1.4'" in err


class TestTrials:
    def test_groups_of_engines_for_this_processor(self, engines):
        store = engines("fp32", "int8", "int8-512", "int8-tensorrt", "fp32-rtx")
        assert list(tunable(store)) == [("rmbg-1.4", None), ("rmbg-1.4", 512)]

    def test_faces_are_the_same_in_every_backend_that_may_be_used(self, store, astronaut):
        found = list(try_all(store, "mtcnn", astronaut, rounds=1))
        assert found[0] == replace(found[0], choice=Choice("fp32", "onnxruntime"), ratio=1.0)
        by_backend = {trial.choice.backend: trial for trial in found}
        assert list(by_backend) == trials.backends_here()
        if by_backend["openvino"].milliseconds:
            assert by_backend["openvino"].deviation < 1e-3

    def test_an_absent_backend_is_told_and_not_used(self, store, astronaut, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "onnxruntime" or None)
        found = list(try_all(store, "mtcnn", astronaut, rounds=1))
        assert {t.choice.backend for t in found if t.refusal} == {"openvino", "openvino-bf16"}
        assert all("vivant[openvino]" in t.refusal for t in found if t.refusal)
        assert best(found) is found[0]

    def test_the_backends_of_a_gpu_are_tried_where_there_is_one(self, engines, monkeypatch):
        """Each with the engines that were exported for it."""
        tried = []

        def note(store, model, choice, *_):
            tried.append((choice.variant, choice.backend))
            return Trial(choice)

        monkeypatch.setattr(trials, "_runs", lambda *_: ([[1.0]], []))
        monkeypatch.setattr(trials, "_try", note)
        store = engines("fp32", "fp16", "int8", "int8-512", "int8-tensorrt", "fp32-rtx")
        monkeypatch.setattr(trials, "lacking", lambda name: f"{name} is not here")
        assert trials.backends_here() == ["onnxruntime", "openvino", "openvino-bf16"]
        monkeypatch.setattr(trials, "lacking", lambda name: None)
        list(try_all(store, "rmbg-1.4", np.zeros((8, 8, 3), np.uint8)))
        assert ("fp16", "onnxruntime-cuda") in tried
        assert ("fp16", "tensorrt") in tried
        assert {backend for variant, backend in tried if variant == "int8"} == {
            "onnxruntime",
            "openvino",
            "openvino-bf16",
        }
        assert [pair for pair in tried if pair[0] == "int8-tensorrt"] == [
            ("int8-tensorrt", "tensorrt"),
            ("int8-tensorrt", "tensorrt-rtx"),
        ]
        assert [pair for pair in tried if pair[0] == "fp32-rtx"] == [("fp32-rtx", "tensorrt-rtx")]
        assert "int8-512" not in dict(tried)

    def test_a_model_without_engines_is_an_error(self, store, astronaut):
        with pytest.raises(ModelError, match=r"model 'rmbg-1\.4-512': no engine to tune"):
            list(try_all(store, "rmbg-1.4", astronaut, size=512))

    def test_a_result_that_is_too_different_is_refused(self, engines):
        store = engines("fp32", "int8")
        judge = trials._judge
        assert judge(store, "rmbg-1.4", Choice("int8", "openvino"), 0.009) is None
        assert "deviates by 1.1e-02" in judge(store, "rmbg-1.4", Choice("int8", "openvino"), 0.011)
        assert judge(store, "rmbg-1.4", Choice("fp32", "openvino"), 0.0009) is None
        assert "allowed is 0.001" in judge(store, "rmbg-1.4", Choice("fp32", "openvino"), 0.002)

    def test_untrained_engines_are_judged_only_where_both_compute_in_fp32(self, engines):
        store = replace(engines("fp32", "int8", kind="untrained"), allow_untrained=True)
        assert trials._judge(store, "rmbg-1.4", Choice("int8", "openvino"), 0.5) is None
        assert trials._judge(store, "rmbg-1.4", Choice("fp32", "openvino"), 0.5)

    @pytest.mark.parametrize(
        ("others", "winner"),
        [
            ([(1.05, 0.001)], 0),  # not worth leaving the reference
            ([(2.0, 0.001)], 1),
            ([(2.0, 0.009), (1.9, 0.001)], 2),  # about as fast, and more exact
            ([(2.0, 0.009), (1.7, 0.001)], 1),
        ],
    )
    def test_the_fastest_is_best_and_of_equals_the_most_exact(self, others, winner):
        tried = [Trial(Choice("fp32", "onnxruntime"), 100.0, 1.0)]
        tried += [Trial(Choice("int8", str(n)), 100 / r, r, d) for n, (r, d) in enumerate(others)]
        tried.append(Trial(Choice("int8", "refused"), 1.0, 100.0, 9.0, "deviates"))
        assert best(tried) is tried[winner]

    def test_other_faces_are_infinitely_far(self):
        assert trials._deviation(np.zeros((2, 4)), np.zeros((3, 4))) == float("inf")
        assert trials._deviation(np.zeros((2, 4)), np.full((2, 4), 0.5)) == 0.5


def test_the_size_is_part_of_the_key():
    assert (key("rmbg-1.4"), key("rmbg-1.4", 512)) == ("rmbg-1.4", "rmbg-1.4-512")
