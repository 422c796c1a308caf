"""Checkpoints: read without running them, loaded without exception, named key by key."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest

from vivant.errors import ModelError
from vivant_export.catalogue import MODELS
from vivant_export.checkpoints import check_state, load_strictly, read_state

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


class Code:
    """What unpickling would run."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def network():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


@pytest.fixture
def state():
    torch.manual_seed(1)
    return {key: value.clone() for key, value in network().state_dict().items()}


def same(a, b):
    return set(a) == set(b) and all(torch.equal(a[key], b[key]) for key in a)


def refuse(path):
    with pytest.raises(ModelError) as caught:
        read_state(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # PyTorch's advice to switch the guard off
    return str(caught.value)


class TestRead:
    def test_safetensors(self, state, tmp_path):
        safetensors.save_file(state, tmp_path / "a.safetensors")
        assert same(read_state(tmp_path / "a.safetensors"), state)

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_torch(self, state, tmp_path, zipped):
        torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        assert same(read_state(tmp_path / "a.pth"), state)

    def test_the_name_does_not_matter(self, state, tmp_path):
        safetensors.save_file(state, tmp_path / "a.pth")
        assert same(read_state(tmp_path / "a.pth"), state)

    @pytest.mark.parametrize("entry", ["model", "state_dict"])
    def test_a_training_checkpoint(self, state, tmp_path, entry):
        net = network()
        optimizer = torch.optim.AdamW(net.parameters())
        net(torch.ones(1, 3, 4, 4)).sum().backward()
        optimizer.step()
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
        whole = {
            entry: state,
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "last_epoch": 3,
        }
        torch.save(whole, tmp_path / "a.pth")
        assert same(read_state(tmp_path / "a.pth"), state)

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
    def test_prefixes_of_wrappers(self, state, tmp_path, prefix):
        torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "a.pth")
        assert same(read_state(tmp_path / "a.pth"), state)

    def test_a_prefix_of_some_keys_is_theirs(self, tmp_path):
        state = {"module.a": torch.ones(1), "b": torch.ones(1)}
        torch.save(state, tmp_path / "a.pth")
        assert set(read_state(tmp_path / "a.pth")) == set(state)

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_code_is_not_run(self, state, tmp_path, zipped):
        mark = tmp_path / "mark"
        infected = {**state, "extra": Code(f"touch {mark}")}
        torch.save(infected, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        message = refuse(tmp_path / "a.pth")
        assert "system" in message
        assert "not run" in message
        assert not mark.exists()

    def test_code_in_a_plain_pickle(self, tmp_path):
        mark = tmp_path / "mark"
        (tmp_path / "a.pth").write_bytes(pickle.dumps(Code(f"touch {mark}")))
        assert refuse(tmp_path / "a.pth")
        assert not mark.exists()

    def test_a_whole_network_is_code(self, tmp_path):
        torch.save(network(), tmp_path / "a.pth")
        assert "torch.nn" in refuse(tmp_path / "a.pth")

    @pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
    @pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
    def test_a_file_that_was_cut_off(self, state, tmp_path, kind, share):
        path = tmp_path / "a.bin"
        if kind == "safetensors":
            safetensors.save_file(state, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        assert refuse(path)

    def test_a_header_that_lies(self, state, tmp_path):
        safetensors.save_file(state, tmp_path / "a.safetensors")
        data = (tmp_path / "a.safetensors").read_bytes()
        (tmp_path / "a.safetensors").write_bytes(data.replace(b"[4,3,3,3]", b"[9,3,3,3]"))
        assert refuse(tmp_path / "a.safetensors")

    @pytest.mark.parametrize(
        "data", [b"<!DOCTYPE html><html>", b"\x08\x07\x12\x07pytorch", bytes(64), b"PK\x03\x04"]
    )
    def test_no_checkpoint_at_all(self, tmp_path, data):
        (tmp_path / "a.pth").write_bytes(data)
        assert refuse(tmp_path / "a.pth")

    def test_another_archive(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("readme.txt", "hello")
        assert refuse(tmp_path / "a.zip")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ([torch.ones(1)], "holds a list"),
            ({"a": torch.ones(1), "b": 3}, "b are not tensors"),
            ({}, "empty"),
        ],
    )
    def test_other_content(self, tmp_path, content, why):
        torch.save(content, tmp_path / "a.pth")
        assert why in refuse(tmp_path / "a.pth")

    def test_no_file(self, tmp_path):
        assert "No such file" in refuse(tmp_path / "missing.pth")
        assert "Is a directory" in refuse(tmp_path)


class TestLoad:
    def test_every_value_arrives(self, state):
        net = network()
        load_strictly(net, state, source="a.pth")
        assert same(net.state_dict(), state)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_become_float32(self, state, dtype):
        net = network()
        halves = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        load_strictly(net, halves, source="a.pth")
        assert net[0].weight.dtype == torch.float32
        assert torch.equal(net[0].weight, halves["0.weight"].float())

    def test_arrays(self, state):
        net = network()
        arrays = {key: value.numpy() for key, value in state.items()}
        load_strictly(net, arrays, source="seed")
        assert same(net.state_dict(), state)

    def test_a_counter_may_be_missing_or_more(self, state):
        net = network()
        del state["1.num_batches_tracked"]
        state["0.num_batches_tracked"] = torch.tensor(5)
        state["blocks.attn.relative_position_index"] = torch.ones(2, 2, dtype=torch.int64)
        load_strictly(net, state, source="a.pth")
        assert torch.equal(net[0].weight, state["0.weight"])

    def test_faults_are_named(self, state):
        net = network()
        before = {key: value.clone() for key, value in net.state_dict().items()}
        del state["0.bias"]
        state["head.weight"] = torch.ones(1)
        state["1.weight"] = torch.ones(5)
        state["1.bias"] = torch.ones(4, dtype=torch.int64)
        with pytest.raises(ModelError) as caught:
            load_strictly(net, state, source="a.pth")
        assert str(caught.value) == (
            "a.pth: these weights do not fit; keys 1 missing (0.bias), 1 unexpected (head.weight), "
            "2 misshapen (1.weight is [5], not [4], 1.bias is int64[4], not [4]); "
            "they look like those of no model in 'vivant models'"
        )
        assert same(net.state_dict(), before)

    def test_many_faults_stay_one_line(self):
        state = {f"layer{index}.weight": np.ones(1, np.float32) for index in range(500)}
        with pytest.raises(ModelError, match="497 more") as caught:
            check_state({"a.weight": (1,)}, state, source="a.pth")
        assert len(str(caught.value)) < 300


class TestHint:
    @pytest.mark.parametrize("name", [name for name in MODELS if name != "mtcnn"])
    def test_it_recognises_every_model(self, name):
        from vivant_export.networks import bargainnet, birefnet, hinet, isnet

        build = {
            "isnet": isnet.IsNet,
            "birefnet-swin-l": lambda: birefnet.BiRefNet(birefnet.BIREFNET),
            "birefnet-swin-t": lambda: birefnet.BiRefNet(birefnet.BIREFNET_LITE),
            "hinet": hinet.HiNet,
            "bargainnet": bargainnet.DomainCodeExtractor,
        }[MODELS[name].architecture]
        with torch.device("meta"):
            state = build().state_dict()
        with pytest.raises(ModelError, match=f"they look like those of .*{name}"):
            check_state({}, state, source="a.pth")

    def test_it_recognises_mtcnn(self):
        from vivant_export.mtcnn.weights import SHAPES

        state = {key: np.zeros(shape, np.float32) for key, shape in SHAPES.items()}
        with pytest.raises(ModelError, match="they look like those of mtcnn"):
            check_state({}, state, source="a.pth")
