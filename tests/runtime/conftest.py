"""Fixtures of the runtime's tests."""

from __future__ import annotations

import sys

import pytest

from vivant import cli


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Run the command line in this process: (exit status, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vivant", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run
