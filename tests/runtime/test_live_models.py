"""The quick relatives of the models."""

from __future__ import annotations

import numpy as np
import pytest

from vivant.live.models import FADE_S, REFRESH_S, RareEncoder, SmallMatter
from vivant.roles import Face, Matting


class Encoder:
    runs = 0
    closed = False

    def run(self, inputs):
        self.runs += 1
        value = np.float32(inputs["image"].mean())
        return {"lut3d": np.full((1, 3, 7, 7, 7), value), "features": np.zeros(9)}

    def close(self):
        self.closed = True


class TestRareEncoder:
    @pytest.fixture
    def run(self):
        """Run on a picture of one value at a time; return the table's one value."""
        self.now, self.encoder = 0.0, Encoder()
        self.rare = RareEncoder(self.encoder, lambda: self.now)

        def run(value):
            out = self.rare.run({"image": np.full((1, 4, 4, 3), value, np.uint8)})
            assert list(out) == ["lut3d"]
            assert out["lut3d"].dtype == np.float32
            assert np.ptp(out["lut3d"]) == 0
            return float(out["lut3d"][0, 0, 0, 0, 0])

        return run

    def test_a_table_serves_for_a_while(self, run):
        for _ in range(10):
            assert run(80) == 80
            self.now += REFRESH_S / 11
        assert self.encoder.runs == 1

    def test_a_new_table_fades_in(self, run):
        run(80)
        self.now = REFRESH_S - FADE_S
        run(80)
        values = []
        for _ in range(4):
            self.now += FADE_S
            values.append(run(180))
        assert values == pytest.approx([180 - 100 * np.exp(-n) for n in range(1, 5)], rel=1e-4)
        assert self.encoder.runs == 2

    def test_forgotten_is_forgotten(self, run):
        run(80)
        self.rare.forget()
        assert run(180) == 180
        assert self.encoder.runs == 2

    def test_close(self, run):
        self.rare.close()
        assert self.encoder.closed


class TestSmallMatter:
    def test_sees_a_small_picture_and_returns_a_large_matte(self):
        def matte(photo, faces):
            seen.append((photo.shape, faces[0].box, faces[0].landmarks[0]))
            small = np.zeros(photo.shape[:2], np.uint8)
            small[:, 80:] = 255
            return Matting(small, 0.6)

        seen: list = []
        matter = type("Matter", (), {"matte": staticmethod(matte)})()
        photo = np.zeros((360, 640, 3), np.uint8)
        face = Face((100.0, 40.0, 180.0, 140.0), 0.99, ((120.0, 60.0),) * 5)

        found = SmallMatter(matter, 160).matte(photo, [face])

        assert seen == [((90, 160, 3), (25.0, 10.0, 45.0, 35.0), (30.0, 15.0))]
        assert found.confidence == 0.6
        assert found.matte.shape == (360, 640)
        assert found.matte[:, :300].max() == 0
        assert found.matte[:, 340:].min() == 255
