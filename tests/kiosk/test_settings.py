"""What a museum sets, and what it is told about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vivant_kiosk.settings import Settings, SettingsError, is_loopback, load_settings


def test_without_a_file_everything_has_a_default_that_serves_this_machine_alone():
    settings = load_settings()
    assert settings == Settings()
    assert (settings.host, settings.port, settings.retention_s) == ("127.0.0.1", 8080, 120.0)
    assert settings.token is settings.admin_token is settings.downloads is None


def test_options_take_precedence_over_the_environment_and_the_file(tmp_path, monkeypatch):
    file = tmp_path / "kiosk.toml"
    file.write_text(
        'port = 9000\nidle_s = 30\ntoken = "of the file, it is long"\nartworks = "wall"'
    )
    monkeypatch.setenv("VIVANT_KIOSK_TOKEN", "of the environment")
    settings = load_settings(file, port=9001, profile=None)
    assert (settings.port, settings.idle_s, settings.profile) == (9001, 30.0, None)
    assert settings.token.get_secret_value() == "of the environment"
    assert settings.artworks == tmp_path / "wall"


def test_a_table_of_downloads_and_texts_by_language(tmp_path):
    file = tmp_path / "kiosk.toml"
    file.write_text('[downloads]\nhost = "0.0.0.0"\n[consent]\nen = "Agree?"\nde = "Ja?"')
    settings = load_settings(file)
    assert (settings.downloads.port, settings.downloads.uses) == (8081, 3)
    assert settings.consent == {"en": "Agree?", "de": "Ja?"}


def test_origins_are_compared_with_what_browsers_send():
    settings = Settings(allowed_origins=("https://Page.Museum/",))
    assert settings.allowed_origins == ("https://page.museum",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 8080", r"kiosk.toml: prot: no such setting; there are host, port, .*log_level"),
        ("port = 70000", "kiosk.toml: port: Input should be less than or equal to 65535"),
        ("retention_s = 0", "retention_s: Input should be greater than 0"),
        ('host = "0.0.0.0"', "host 0.0.0.0: others can reach it, so clients need a token; set VIV"),
        ('host = "box.example"', "host box.example: others can reach it"),
        ('[downloads]\nhost = "0.0.0.0"\nport = 8080', "downloads.port 8080: is the service's own"),
        ("[consent]\nEnglish = 'Agree?'", "consent"),
        ("port = ", r"kiosk.toml: no TOML \(.*\); correct it"),
        ("", None),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, said):
    file = tmp_path / "kiosk.toml"
    file.write_text(text)
    if said is None:
        assert load_settings(file) == Settings()
        return
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings(file)
    assert "\n" not in str(caught.value)


def test_a_wrong_secret_is_not_quoted(monkeypatch):
    monkeypatch.setenv("VIVANT_KIOSK_ADMIN_TOKEN", "hunter2")
    with pytest.raises(SettingsError, match=r"admin_token: .*at least 16") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_is_not_shown():
    settings = load_settings(token="a token of some length")
    assert "some length" not in repr(settings)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml: No such file or directory; name a TOML"):
        load_settings(tmp_path / "none.toml")


def test_relative_folders_are_those_beside_the_file(tmp_path):
    file = tmp_path / "kiosk.toml"
    file.write_text('store = "engines"\nartworks = "/srv/artworks"')
    settings = load_settings(file)
    assert settings.store == tmp_path / "engines"
    assert settings.artworks == Path("/srv/artworks")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.4", False),
        ("::", False),
        ("museum.local", False),
    ],
)
def test_which_hosts_are_this_machine(host, expected):
    assert is_loopback(host) is expected
