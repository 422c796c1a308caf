from __future__ import annotations

import json
import subprocess
import sys

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
