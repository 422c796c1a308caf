from __future__ import annotations

import json
import subprocess
import sys

SEALED = """
import ctypes, json, resource
from vivant_kiosk.privacy import seal_process
seal_process()
import onnxruntime
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(json.dumps([resource.getrlimit(resource.RLIMIT_CORE)[0], dumpable]))
"""


def test_a_sealed_process_leaves_nothing(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", SEALED],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ended.stdout) == [0, 0]
    assert not list(tmp_path.rglob("*")), "ONNX Runtime's telemetry has begun"
