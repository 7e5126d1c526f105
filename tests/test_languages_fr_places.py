"""French institutions, addresses, towns and numbers in invented lines (``data/places_fr.txt``), without the tagger."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig

_MARK = re.compile(r"\[([^\]]*)\]|\{([^}]*)\}|([^\[{]+)")


def _families() -> dict[str, list[str]]:
    """The lines below each heading."""
    found: dict[str, list[str]] = {}
    lines = (Path(__file__).parent / "data" / "places_fr.txt").read_text(encoding="utf-8").splitlines()
    for line in filter(None, lines[1:]):
        if line.startswith("## "):
            found[line[3:]] = family = []
        else:
            family.append(line)
    return found


FAMILIES = _families()
NEGATIVE = [line for name, lines in FAMILIES.items() if name.startswith("no ") for line in lines]
POSITIVE = [line for name, lines in FAMILIES.items() if not name.startswith("no ") for line in lines]


@pytest.fixture(scope="module")
def anonymizer() -> Anonymizer:
    return Anonymizer(ReportsConfig(language="fr", ner="none"), Keys(b"0123456789abcdef0123456789abcdef"))


def _read(marked: str) -> tuple[str, str]:
    """The text and for each character ``+`` (must go), ``?`` or ``-`` (must stay)."""
    text, wanted = "", ""
    for match in _MARK.finditer(marked):
        gone, free, kept = match.groups()
        piece = gone or free or kept or ""
        text += piece
        wanted += ("+" if gone else "?" if free else "-") * len(piece)
    return text, wanted


def _judge(anonymizer: Anonymizer, marked: str) -> tuple[list[str], list[str]]:
    """Words that were left and words that were taken, wrongly."""
    text, wanted = _read(marked)
    covered = bytearray(len(text))
    for span in anonymizer.detect(text):
        covered[span.start : span.end] = b"\1" * (span.end - span.start)
    left, taken = [], []
    for word in re.finditer(r"\w+", text):
        kinds = set(wanted[word.start() : word.end()])
        hidden = covered[word.start() : word.end()]
        if kinds == {"+"} and not all(hidden):
            left.append(word.group())
        elif kinds == {"-"} and any(hidden):
            taken.append(word.group())
    return left, taken


@pytest.mark.parametrize("marked", POSITIVE, ids=lambda marked: marked[:40])
def test_what_identifies_goes_and_the_rest_stays(anonymizer: Anonymizer, marked: str) -> None:
    assert _judge(anonymizer, marked) == ([], [])


@pytest.mark.parametrize("text", NEGATIVE, ids=lambda text: text[:40])
def test_medicine_stays(anonymizer: Anonymizer, text: str) -> None:
    assert _judge(anonymizer, text) == ([], [])


def test_each_family_has_sixty_lines_and_as_many_that_stay() -> None:
    assert sorted(name for name in FAMILIES if f"no {name}" in FAMILIES) == [
        "addresses",
        "institutions",
        "numbers",
        "towns",
    ]
    assert min(map(len, FAMILIES.values())) >= 60
