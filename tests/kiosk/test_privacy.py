from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
if sys.argv[1] == "given back":
    give_memory_back()
for _ in range(3):
    np.full(20 << 20, 1, np.uint8)  # glibc keeps this much from now on, if it is let
kept = [np.full(200_000, 119, np.uint8) for _ in range(9)]
place = kept[4].ctypes.data + 100_000
del kept
with open("/proc/self/mem", "rb") as memory:
    try:
        memory.seek(place)
        print(memory.read(9) == b"w" * 9)
    except OSError:
        print(False)
"""


@pytest.mark.parametrize(("how", "is_there"), [("as usual", True), ("given back", False)])
def test_what_is_freed_is_gone(how, is_there):
    ended = subprocess.run(
        [sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == str(is_there)
