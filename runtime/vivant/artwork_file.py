"""What an ``artwork.toml`` may hold: its tables, their keys, and the values these allow.

Reading collects every problem, so that a curator corrects a file once. A problem names the key
(slots count from 1), what was found and what is allowed.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vivant.errors import ArtworkError
from vivant.files import one_line
from vivant.portrait import ShotType

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "artwork.toml"

SCHEMA = 1

SHOTS = (ShotType.CLOSE_UP, ShotType.HALF_BODY, ShotType.FULL_BODY)

OUTPUT_HEIGHTS = (256, 4320)
"""The least and most rows of a composite."""

MOST_PEOPLE = 20
"""The most people that a slot may take."""

MOST_SLOTS = 64

Table: TypeAlias = dict[str, Any]


def read_tables(file: Path) -> tuple[Table, list[Table], list[str]]:
    """Return the artwork's values, those of each slot, and all problems.

    The values are what ``Artwork`` and ``Slot`` hold, but file names are not yet paths, and
    keys with a problem or without a value are missing.

    Raises:
        ArtworkError: The file cannot be read as TOML.
    """
    problems: list[str] = []
    top = _checked(_read_toml(file), _TOP, "", problems)
    if "schema" not in top:  # what the rest means is known to another version
        return {}, [], problems
    artwork = _checked(top.get("artwork"), _ARTWORK, "artwork.", problems)
    slots = [
        _checked(table, _SLOT, f"slot[{number}].", problems)
        for number, table in enumerate(top.get("slot", ()), 1)
    ]
    fallback = _checked(top.get("fallback"), _FALLBACK, "fallback.", problems)
    if fallback:
        artwork["fallback"] = fallback["order"]
    _check_names(slots, problems)
    return artwork, slots, problems


def _read_toml(file: Path) -> Table:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"{error.strerror}; an artwork is a folder with {FILE_NAME} and a picture"
    except UnicodeDecodeError:
        reason = "not UTF-8; save it as UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        reason = f"not TOML; correct it: {error}"
    except RecursionError:
        reason = "lists or tables nested too deeply; remove the inner ones"
    except ValueError:  # of TOML that is right, Python refuses integers of thousands of digits
        reason = "an integer with too many digits; shorten it"
    raise ArtworkError(f"{one_line(file)}: {reason}")


def _checked(
    data: Table | None, keys: Mapping[str, _Key], where: str, problems: list[str]
) -> Table:
    """Return the values that are allowed; add to ``problems`` what is not.

    A table that is left out (``None``) is no problem here: the table above it asks for it.
    """
    values: Table = {}
    if data is None:
        return values
    for name in data:
        if name not in keys:
            near = difflib.get_close_matches(name, keys, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(keys)}"
            problems.append(f"{where}{one_line(name)}: unknown key, {remedy}")
    for name, key in keys.items():
        if name in data:
            try:
                values[name] = key.parse(data[name])
            except (ValueError, RecursionError):
                found = _shown(data[name])
                problems.append(f"{where}{name}: found {found}, allowed: {key.allowed}")
        elif name in _REQUIRED:
            problems.append(f"{where}{name}: missing, allowed: {key.allowed}")
    return values


def _shown(value: Any) -> str:
    """Return a value fit for a message: one line, printable, not endless."""
    try:
        return one_line(repr(value))
    except (ValueError, RecursionError):  # dotted keys nest, hexadecimal digits go on, without end
        return "a value too long or too deep to show"


def _check_names(slots: Sequence[Table], problems: list[str]) -> None:
    first: dict[str, int] = {}
    for number, slot in enumerate(slots, 1):
        if "name" in slot and first.setdefault(slot["name"], number) != number:
            taken = f"{slot['name']!r} is that of slot[{first[slot['name']]}]"
            problems.append(f"slot[{number}].name: {taken}; choose another")


@dataclass(frozen=True)
class _Key:
    """A key's allowed values in words, and the function that takes these and no others.

    ``parse`` returns what the dataclasses hold, or raises ``ValueError``.
    """

    allowed: str
    parse: Callable[[Any], Any]


def _need(condition: bool) -> None:
    if not condition:
        raise ValueError


def _text(allowed: str, pattern: str = ".*") -> _Key:
    def parse(value: Any) -> str:
        _need(isinstance(value, str) and value.isprintable())
        _need(re.fullmatch(pattern, value) is not None)
        return str(value)

    return _Key(allowed, parse)


def _words(*words: str) -> _Key:
    return _text("one of " + ", ".join(map(repr, words)), "|".join(map(re.escape, words)))


def _number(least: float, most: float, kind: type[int | float] = float) -> _Key:
    def parse(value: Any) -> float:
        _need(isinstance(value, int | kind) and not isinstance(value, bool))
        _need(least <= value <= most)
        return kind(value)

    article = "an integer" if kind is int else "a number"
    return _Key(f"{article} from {least} to {most}", parse)


def _year(value: Any) -> int | str:
    parsed: int | str = (_LINE if isinstance(value, str) else _number(-9999, 9999, int)).parse(
        value
    )
    return parsed


def _list(value: Any, least: int, most: int) -> list[Any]:
    _need(isinstance(value, list) and least <= len(value) <= most)
    return list(value)


def _table(value: Any) -> dict[str, Any]:
    _need(isinstance(value, dict))
    return dict(value)


def _tables(value: Any) -> list[dict[str, Any]]:
    return [_table(table) for table in _list(value, 1, MOST_SLOTS)]


def _shots(value: Any) -> tuple[ShotType, ...]:
    shots = tuple(ShotType(shot) for shot in _list(value, 1, len(SHOTS)))
    _need(len(set(shots) & set(SHOTS)) == len(shots))
    return shots


def _people(value: Any) -> tuple[int, int]:
    least, most = map(_number(1, MOST_PEOPLE, int).parse, _list(value, 2, 2))
    _need(least <= most)
    return least, most


def _box(value: Any) -> tuple[float, float, float, float]:
    x, y, width, height = map(_number(0, 1).parse, _list(value, 4, 4))
    _need(width > 0 and height > 0)
    _need(max(x + width, y + height) <= 1 + 1e-6)
    return x, y, width, height


_LINE = _text("one line of text")
_NAME = _text("one line of text, not empty", r".*\S.*")
_FILE = _text("the name of a picture in the folder", r".*\S.*")
_SHOTS = _Key("a list of " + ", ".join(repr(str(shot)) for shot in SHOTS) + ", each once", _shots)

_TOP = {
    "schema": _Key(
        f"{SCHEMA}; another one needs another Vivant", _number(SCHEMA, SCHEMA, int).parse
    ),
    "artwork": _Key("an [artwork] table", _table),
    "slot": _Key(f"1 to {MOST_SLOTS} [[slot]] tables", _tables),
    "fallback": _Key("a [fallback] table", _table),
}
_ARTWORK = {
    "id": _text("lowercase letters and digits, single dashes between", "[a-z0-9]+(-[a-z0-9]+)*"),
    "title": _NAME,
    "image": _FILE,
    "output_height": _number(*OUTPUT_HEIGHTS, int),
    "artist": _LINE,
    "year": _Key("an integer or one line of text", _year),
    "credit": _LINE,
    "licence": _LINE,
    "people": _words("together", "apart"),
}
_SLOT = {
    "name": _NAME,
    "shot": _SHOTS,
    "box": _Key("[x, y, width, height], shares of the picture and inside it (0 to 1)", _box),
    "people": _Key(f"[least, most], integers from 1 to {MOST_PEOPLE}", _people),
    "anchor": _words("bottom-left", "bottom-center", "bottom-right"),
    "head_height": _number(0.01, 1),
    "flip": _words("never", "always", "auto"),
    "occluder": _FILE,
    "priority": _number(-1000, 1000, int),
    "shadow": _number(0, 1),
    "z": _number(-1000, 1000, int),
}
_FALLBACK = {"order": _SHOTS}
_REQUIRED = {"schema", "artwork", "slot", "id", "title", "image", "name", "shot", "box", "order"}
