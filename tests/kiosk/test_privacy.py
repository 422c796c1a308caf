from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vivant_kiosk import service

from .conftest import until

FORBIDDEN = """
import ctypes, json, resource
from vivant_kiosk.privacy import forbid_dumps
forbid_dumps()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(json.dumps([resource.getrlimit(resource.RLIMIT_CORE)[0], dumpable]))
"""


def test_there_are_no_core_dumps():
    ended = subprocess.run(
        [sys.executable, "-c", FORBIDDEN],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ended.stdout) == [0, 0]


FREED = """
import sys

import pytest
import numpy as np
from vivant_kiosk.privacy import give_memory_back
for _ in range(3):
    np.full(20 << 20, 1, np.uint8)  # glibc keeps this much from now on, if it is let
kept = [np.full(200_000, 119, np.uint8) for _ in range(9)]
place = kept[4].ctypes.data + 100_000
last = np.ones(200_000, np.uint8)  # behind them, so that they are no end that is cut off anyway
del kept
if sys.argv[1] == "given back":
    give_memory_back()
with open("/proc/self/mem", "rb") as memory:
    memory.seek(place)
    print(memory.read(9) == b"w" * 9)
"""


@pytest.mark.parametrize(("how", "is_there"), [("as usual", True), ("given back", False)])
def test_what_is_freed_is_gone(how, is_there):
    ended = subprocess.run(
        [sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == str(is_there)


def test_memory_is_given_back_after_a_picture_and_when_it_is_forgotten(running, room, monkeypatch):
    calls = []
    monkeypatch.setattr(service, "give_memory_back", lambda: calls.append(1))
    one = running().until_ready()
    assert calls == []
    composition_id = one.finished()
    until(lambda: calls)
    before = len(calls)
    one.client.delete(f"/v1/compositions/{composition_id}")
    until(lambda: len(calls) > before)
