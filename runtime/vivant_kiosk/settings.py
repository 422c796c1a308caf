"""What a museum can set: in ``kiosk.toml``, in the environment, or as options of ``vivant serve``.

The environment is for secrets: ``VIVANT_KIOSK_TOKEN`` and ``VIVANT_KIOSK_ADMIN_TOKEN``.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from vivant.errors import VivantError
from vivant.files import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "kiosk.toml"

_SECRETS = {"token": "VIVANT_KIOSK_TOKEN", "admin_token": "VIVANT_KIOSK_ADMIN_TOKEN"}

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Secret = Annotated[SecretStr, Field(min_length=16)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


class SettingsError(VivantError):
    """Settings that cannot be read, or do not go together."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Downloads(_Table):
    """Pictures for visitors' phones: a second socket that serves download links and nothing else.

    Attributes:
        host: the address to listen on, such as "0.0.0.0".
        port: to listen on.
        address: what phones call this machine by, a name or an address; without it, ``host``.
        uses: how often a link gives its picture.
    """

    host: str
    port: Port = 8081
    address: str | None = None
    uses: Annotated[int, Field(ge=1, le=100)] = 3


class Settings(_Table):
    """The settings of one service.

    Attributes:
        host: the address to listen on. Any other than this machine's own needs a ``token``.
        port: to listen on; 0 takes a free one.
        artworks: a folder of artworks; without it, the samples.
        profile: "classic", "deep" or "best"; without it, the best that can run here.
        store: of the engines; without it, the default one.
        device: "cuda" or "pycuda"; without it, the processor.
        allow_untrained: run engines with untrained weights, for tests.
        token: what clients have to send; at least 16 characters.
        admin_token: what opens the artwork studio, which is closed without it.
        allowed_hosts: names by which browsers may call this service, beside its addresses.
        allowed_origins: pages of others that may use this service.
        queue: compositions that may wait, beside the one that runs.
        held: finished compositions that are kept at a time.
        uploads: uploads that are in memory at a time.
        upload_s: seconds for an upload to arrive.
        composition_s: seconds after which a composition is given up.
        retention_s: seconds for which a finished picture is kept.
        downloads: for phones; without it there are none.
        preview: offer the live preview, where the machine can.
        printing: offer to print.
        idle_s: seconds without a touch after which the page asks whether somebody is there.
        idle_warning_s: seconds for which it asks, before it forgets the visitor.
        countdown_s: seconds from the touch to the photo.
        consent: ask before the camera opens: not, with the page's own text, or with the
            museum's, by language.
        language: of the page before a visitor chooses.
        json_logs: log lines as JSON.
        log_level: the least that is logged.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    artworks: Path | None = None
    profile: Literal["classic", "deep", "best"] | None = None
    store: Path | None = None
    device: Literal["cuda", "pycuda"] | None = None
    allow_untrained: bool = False
    token: Secret | None = None
    admin_token: Secret | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    queue: Annotated[int, Field(ge=0, le=64)] = 4
    held: Annotated[int, Field(ge=1, le=1000)] = 64
    uploads: Annotated[int, Field(ge=1, le=64)] = 8
    upload_s: Seconds = 20.0
    composition_s: Seconds = 60.0
    retention_s: Seconds = 120.0
    downloads: Downloads | None = None
    preview: bool = True
    printing: bool = False
    idle_s: Seconds = 60.0
    idle_warning_s: Seconds = 15.0
    countdown_s: Annotated[int, Field(ge=0, le=10)] = 3
    consent: bool | dict[Language, str] = True
    language: Language = "en"
    json_logs: bool = False
    log_level: Literal["debug", "info", "warning"] = "info"

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_send_them(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin.rstrip("/").lower() for origin in origins)

    @model_validator(mode="after")
    def _go_together(self) -> Settings:
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host}: others can reach it, so clients need a token; set "
                f"{_SECRETS['token']}, or host to 127.0.0.1"
            )
        if self.downloads and self.port and self.downloads.port == self.port:
            raise ValueError(f"downloads.port {self.port}: is the service's own; choose another")
        return self


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(path: Path | None = None, **options: Any) -> Settings:
    """Read the settings.

    Args:
        path: of a TOML file; paths in it are relative to its folder.
        options: that take precedence, by name; None is none.

    Raises:
        SettingsError: the file cannot be read, or a setting is unknown, wrong or missing.
    """
    tables = _read(path) if path is not None else {}
    for name in ("artworks", "store"):
        if path is not None and isinstance(tables.get(name), str):
            tables[name] = path.parent / tables[name]
    secrets = {name: os.environ.get(variable) for name, variable in _SECRETS.items()}
    for given in (secrets, options):
        tables |= {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**tables)
    except ValidationError as error:
        where = one_line(path) if path is not None else "settings"
        raise SettingsError(f"{where}: {_told(error)}") from None  # it quotes secrets


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{one_line(path)}: {error.strerror}; name a TOML file") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingsError(f"{one_line(path)}: no TOML ({error}); correct it") from error


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"no such setting; there are {', '.join(Settings.model_fields)}"
    return f"{name}: {message}" if name else message
