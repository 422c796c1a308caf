"""Fixtures of the benchmarks' tests."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks: a folder of scripts, not a package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module
