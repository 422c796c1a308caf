"""``vivant serve``."""

from __future__ import annotations

import sys
import webbrowser

import pytest
from typer.testing import CliRunner

import vivant_kiosk
from vivant import cli
from vivant.errors import ModelError, VivantError
from vivant_kiosk import server
from vivant_kiosk.server import AddressError, listen


@pytest.fixture
def served(monkeypatch):
    """What the command hands over."""
    calls = []
    monkeypatch.setattr(server, "serve", lambda settings, **told: calls.append((settings, told)))
    return calls


def run(*options):
    return CliRunner().invoke(cli.app, ["serve", *options])


def test_options_become_settings(served, tmp_path):
    done = run(
        "--host", "localhost", "--port", "0", "--artworks", str(tmp_path), "--profile", "classic",
        "--store", str(tmp_path), "--allow-untrained", "--json-logs",
    )  # fmt: skip
    assert done.exit_code == 0
    ((settings, _),) = served
    assert (settings.host, settings.port, settings.profile) == ("localhost", 0, "classic")
    assert settings.artworks == settings.store == tmp_path
    assert settings.allow_untrained
    assert settings.json_logs


def test_options_take_precedence_over_the_file(served, tmp_path):
    file = tmp_path / "kiosk.toml"
    file.write_text('port = 8123\nprofile = "deep"\njson_logs = true\nidle_s = 5\n')
    assert run("--settings", str(file), "--profile", "classic").exit_code == 0
    ((settings, _),) = served
    assert (settings.port, settings.profile, settings.idle_s) == (8123, "classic", 5)
    assert settings.json_logs


def test_the_address_is_printed(served):
    assert run().exit_code == 0
    ((_, told),) = served
    with CliRunner().isolation() as (_, errors, _):
        told["on_listening"]("http://127.0.0.1:8080/")
        assert b"vivant serves http://127.0.0.1:8080/" in errors.getvalue()


@pytest.mark.parametrize("options", [(), ("--open",)])
def test_the_page_opens_where_that_was_asked_for(served, monkeypatch, options):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert run(*options).exit_code == 0
    ((_, told),) = served
    told["on_ready"]("http://127.0.0.1:8080/")
    assert opened == ["http://127.0.0.1:8080/"] * len(options)


def test_the_page_that_opens_is_given_the_token(served, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("VIVANT_KIOSK_TOKEN", "secret/secret/secret")
    assert run("--host", "0.0.0.0", "--open").exit_code == 0
    ((_, told),) = served
    told["on_ready"]("http://0.0.0.0:8080/")
    assert opened == ["http://127.0.0.1:8080/#token=secret/secret/secret"]


def test_wrong_settings_end_in_one_line():
    done = run("--host", "0.0.0.0")
    assert isinstance(done.exception, VivantError)
    assert "clients need a token" in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_taken_port_ends_in_one_line(meadow, monkeypatch):
    monkeypatch.setattr(server, "configure_logs", lambda _: None)
    with listen("127.0.0.1", 0, "port") as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port), "--artworks", str(meadow))
    assert isinstance(done.exception, AddressError)
    assert f"127.0.0.1:{port}: something listens there already" in str(done.exception)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "vivant_kiosk.server")
    monkeypatch.delattr(vivant_kiosk, "server")
    done = run()
    assert isinstance(done.exception, ModelError)
    assert "serving needs 'uvicorn'; run pip install 'vivant[kiosk]'" in str(done.exception)
