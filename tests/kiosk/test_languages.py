"""The kiosk page's words: the same in every language, and none that is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vivant_kiosk

STATIC = Path(vivant_kiosk.__file__).parent / "static"
CODES = ("en", "it", "de", "fr")

_LITERAL = re.compile(r'"([^"\n]*)"|`([^`\n]*)`')
_ATTRIBUTE = re.compile(r'data-(?:text|alt|label)="([^"]*)"')


def _load(code: str) -> dict[str, str]:
    pairs: list[tuple[str, str]] = json.loads(
        (STATIC / "languages" / f"{code}.json").read_text("utf-8"), object_pairs_hook=list
    )
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), "a key stands twice"
    return dict(pairs)


ENGLISH = _load("en")


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def _literals() -> set[str]:
    """Return all strings of the page's scripts; templates have ``${...}`` in them."""
    scripts = [*STATIC.glob("*.js"), *(STATIC / "screens").glob("*.js")]
    found = (_LITERAL.findall(path.read_text("utf-8")) for path in scripts)
    return {plain or template for each in found for plain, template in each}


def _used() -> set[str]:
    """Return the keys, or patterns of keys, that page and scripts use."""
    sections = "|".join({key.partition(".")[0] for key in ENGLISH if "." in key})
    looks_like_key = re.compile(rf"(?:{sections})\.[\w.${{}}-]+")
    attributes = _ATTRIBUTE.findall((STATIC / "index.html").read_text("utf-8"))
    literals = {text for text in _literals() if looks_like_key.fullmatch(text)}
    return {*attributes, *literals, *(_literals() & {key for key in ENGLISH if "." not in key})}


def _matching(key: str) -> set[str]:
    pattern = ".+".join(re.escape(part) for part in re.split(r"\$\{\w+\}", key))
    return {each for each in ENGLISH if re.fullmatch(pattern, each)}


def test_languages_are_those_of_the_page() -> None:
    assert {path.stem for path in (STATIC / "languages").iterdir()} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_the_keys_of_english_in_its_order(code: str) -> None:
    assert list(_load(code)) == list(ENGLISH)


@pytest.mark.parametrize("code", CODES)
def test_no_text_is_empty_or_has_loose_ends(code: str) -> None:
    loose = [key for key, text in _load(code).items() if not text or text != text.strip()]
    assert not loose


@pytest.mark.parametrize("code", CODES)
def test_placeholders_are_those_of_english(code: str) -> None:
    texts = _load(code)
    wrong = [key for key in ENGLISH if _placeholders(texts[key]) != _placeholders(ENGLISH[key])]
    assert not wrong


@pytest.mark.parametrize("code", [code for code in CODES if code != "en"])
def test_texts_are_translated(code: str) -> None:
    texts = _load(code)
    same = [key for key, text in texts.items() if text == ENGLISH[key] and len(text) > 12]
    assert not same


def test_every_key_in_use_exists() -> None:
    used = _used()
    assert len(used) > 50, "the keys in the page were not found"
    assert not [key for key in used if not _matching(key)]


def test_every_key_is_in_use() -> None:
    used = {key for pattern in _used() for key in _matching(pattern)}
    assert set(ENGLISH) - used <= {"language"}  # the language's own name, read as a property


def test_french_breaks_no_line_before_its_double_punctuation() -> None:
    assert not [key for key, text in _load("fr").items() if re.search(r" [:;?!»]|« ", text)]
