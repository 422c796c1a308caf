"""Weights on this machine: licences, receipts, offline, and files that are not what they were."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import socket
from dataclasses import replace

import pytest

from vivant.errors import ModelError, OutputError
from vivant_export import weights
from vivant_export.catalogue import BRIA_1_4, MIT, Model, Source, find_model
from vivant_export.download import DownloadError, Remote, download

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
KNOWN = Source("https", "https://example.com/a/weights.pth", "weights.pth", len(DATA), SHA256)
UNKNOWN = Source("https", "https://example.com/b/other.pth", "other.pth")


def model(*sources, licence=MIT):
    return Model(
        name="test-net",
        role="matte",
        architecture="isnet",
        summary="",
        licence=licence,
        sources=sources or (KNOWN,),
        tolerances={"fp32": {"model.max_abs": 1e-5}},
    )


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("VIVANT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("VIVANT_OFFLINE", raising=False)
    return tmp_path / "weights"


class Network:
    """What lies at which address, or goes wrong there, and what was asked for."""

    def __init__(self):
        self.there = {KNOWN.location: DATA, UNKNOWN.location: DATA}
        self.asked = []

    def download(self, remote, target, progress=None):
        self.asked.append(remote.url)
        answer = self.there[remote.url]
        if isinstance(answer, Exception):
            raise answer
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(answer)
        return hashlib.sha256(answer).hexdigest()


@pytest.fixture(autouse=True)
def network(monkeypatch):
    network = Network()
    monkeypatch.setattr(weights, "download", network.download)
    return network


class TestFetch:
    def test_once(self, root, network):
        path = weights.fetch(model())
        assert path == root / "test-net" / "weights.pth"
        assert path.read_bytes() == DATA
        assert weights.fetch(model()) == path
        assert network.asked == [KNOWN.location]

    def test_the_receipt(self):
        weights.fetch(model())
        receipt = weights.read_receipt(model())
        assert receipt == weights.Receipt(
            "weights.pth", len(DATA), SHA256, KNOWN.location, "catalogue", "MIT"
        )

    def test_a_hash_that_nobody_publishes_is_held_from_the_first_use_on(self):
        path = weights.fetch(model(UNKNOWN))
        receipt = weights.read_receipt(model(UNKNOWN))
        assert (receipt.vouched_by, receipt.sha256) == ("first use", SHA256)
        path.write_bytes(DATA + b"!")
        with pytest.raises(ModelError, match="SHA-256 differs"):
            weights.fetch(model(UNKNOWN))

    def test_a_hash_that_the_publisher_says(self, monkeypatch):
        monkeypatch.setattr(weights, "locate", lambda source: Remote(source.location, None, SHA256))
        weights.fetch(model(UNKNOWN))
        assert weights.read_receipt(model(UNKNOWN)).vouched_by == "publisher"

    def test_the_next_source_is_asked(self, network):
        network.there[KNOWN.location] = DownloadError("gone")
        assert weights.fetch(model(KNOWN, UNKNOWN)).name == "other.pth"
        assert weights.read_receipt(model(KNOWN, UNKNOWN)).source == UNKNOWN.location

    def test_no_source_has_it(self, network, root):
        network.there[KNOWN.location] = DownloadError("first: gone")
        network.there[UNKNOWN.location] = DownloadError("second: gone")
        with pytest.raises(ModelError, match="test-net: first: gone; second: gone"):
            weights.fetch(model(KNOWN, UNKNOWN))
        assert not root.exists()

    def test_a_full_disk_is_no_reason_to_ask_elsewhere(self, network):
        network.there[KNOWN.location] = OutputError("full")
        with pytest.raises(OutputError):
            weights.fetch(model(KNOWN, UNKNOWN))
        assert network.asked == [KNOWN.location]

    def test_mtcnn_comes_in_its_wheel(self, network):
        if importlib.util.find_spec("mtcnn") is None:
            pytest.skip("the wheel 'mtcnn' is not installed")
        assert (weights.fetch(find_model("mtcnn")) / "pnet.lz4").is_file()
        assert network.asked == []

    def test_a_missing_wheel(self, monkeypatch):
        monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(ModelError, match=r"pip install 'vivant\[mtcnn\]'"):
            weights.fetch(find_model("mtcnn"))
        assert weights.find_weights(find_model("mtcnn")) is None


class TestLicence:
    RESTRICTED = model(licence=BRIA_1_4)

    def test_the_terms_are_said_in_plain_words(self, network):
        with pytest.raises(ModelError) as caught:
            weights.fetch(self.RESTRICTED)
        words = str(caught.value)
        assert "non-commercial use only" in words
        assert BRIA_1_4.url in words
        assert "--accept-license" in words
        assert "isnet-general-use" in words
        assert "\n" not in words
        assert network.asked == []

    def test_they_are_accepted_once(self):
        weights.fetch(self.RESTRICTED, accept_license=True)
        assert weights.read_receipt(self.RESTRICTED).accepted.startswith("20")
        accepted = weights.read_receipt(self.RESTRICTED)
        weights.fetch(self.RESTRICTED)
        assert weights.read_receipt(self.RESTRICTED) == accepted

    def test_another_licence_is_asked_for_again(self):
        weights.fetch(model(licence=replace(BRIA_1_4, name="bria-0")), accept_license=True)
        with pytest.raises(ModelError, match="--accept-license"):
            weights.fetch(self.RESTRICTED)

    def test_a_file_put_there_by_hand_does_not_pass_them_by(self, root):
        (root / "test-net").mkdir(parents=True)
        (root / "test-net" / "weights.pth").write_bytes(DATA)
        with pytest.raises(ModelError, match="--accept-license"):
            weights.fetch(self.RESTRICTED)
        weights.fetch(self.RESTRICTED, accept_license=True)
        assert weights.read_receipt(self.RESTRICTED).accepted

    def test_free_weights_ask_for_nothing(self):
        weights.fetch(model())
        assert weights.read_receipt(model()).accepted is None


class TestOffline:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch):
        def refuse(*_, **__):
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(weights, "download", download)

    def test_which_file_belongs_where(self, root):
        with pytest.raises(ModelError) as caught:
            weights.fetch(model(), offline=True)
        for what in (KNOWN.location, SHA256, str(len(DATA)), str(root / "test-net/weights.pth")):
            assert what in str(caught.value)
        assert not root.exists()

    @pytest.mark.parametrize("value", ["1", "yes"])
    def test_the_environment_may_say_so(self, monkeypatch, value):
        monkeypatch.setenv("VIVANT_OFFLINE", value)
        with pytest.raises(ModelError, match="offline"):
            weights.fetch(model())

    @pytest.mark.parametrize("value", ["0", ""])
    def test_or_not(self, monkeypatch, network, value):
        monkeypatch.setenv("VIVANT_OFFLINE", value)
        monkeypatch.setattr(weights, "download", network.download)
        assert weights.fetch(model()).is_file()

    def test_what_is_here_is_enough(self, root):
        path = root / "test-net" / "weights.pth"
        path.parent.mkdir(parents=True)
        path.write_bytes(DATA)
        assert weights.fetch(model(), offline=True) == path

    def test_the_real_models_open_no_socket(self):
        for name in ("rmbg-1.4", "rmbg-2.0", "inr-harmonization", "bargainnet"):
            with pytest.raises(ModelError, match="offline"):
                weights.fetch(find_model(name), offline=True, accept_license=True)


class TestFind:
    def put(self, root, name, data):
        (root / "test-net").mkdir(parents=True)
        (root / "test-net" / name).write_bytes(data)
        return root / "test-net" / name

    def test_nothing(self):
        assert weights.find_weights(model()) is None

    def test_by_hand(self, root):
        path = self.put(root, "weights.pth", DATA)
        assert weights.find_weights(model()) == path
        assert weights.fetch(model(), offline=True) == path
        assert weights.read_receipt(model()).vouched_by == "catalogue"

    def test_by_hand_where_nobody_publishes_a_hash(self, root):
        path = self.put(root, "other.pth", DATA)
        assert weights.fetch(model(UNKNOWN)) == path
        assert weights.read_receipt(model(UNKNOWN)).vouched_by == "first use"

    @pytest.mark.parametrize("data", [DATA[:-1], DATA.replace(b"w", b"W"), b""])
    def test_altered(self, root, data):
        path = self.put(root, "weights.pth", data)
        with pytest.raises(ModelError, match="delete it and run 'vivant fetch test-net'") as caught:
            weights.find_weights(model())
        assert str(path) in str(caught.value)
        assert path.read_bytes() == data  # it is the user's to delete

    def test_an_illegible_receipt_is_none(self, root):
        self.put(root, "weights.pth", DATA)
        for text in ("", "[]", "{}", json.dumps({"file": "x", "unknown": 1})):
            (root / "test-net" / "receipt.json").write_text(text)
            assert weights.read_receipt(model()) is None
        assert weights.fetch(model()).is_file()
        assert weights.read_receipt(model()).sha256 == SHA256

    def test_a_receipt_of_another_file_says_nothing(self, root):
        weights.fetch(model(UNKNOWN))
        unknown = replace(UNKNOWN, file="new.pth")
        (root / "test-net" / "new.pth").write_bytes(b"another file")
        assert weights.find_weights(model(unknown)).name == "new.pth"

    def test_an_unreadable_file(self, tmp_path):
        with pytest.raises(ModelError, match="Is a directory"):
            weights.sha256_of(tmp_path)

    def test_the_users_cache_unless_named(self, monkeypatch):
        monkeypatch.delenv("VIVANT_WEIGHTS")
        assert weights.weights_root().parts[-2:] == ("vivant", "weights")
