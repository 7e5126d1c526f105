"""Abbreviations of the pack written out where their context is sure; the map of offsets leads back to the short form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anonymize.cleaning.offsets import Edit
from anonymize.config import ConfigError
from anonymize.text import fold


@dataclass(frozen=True)
class Abbreviation:
    """One short form. ``before`` and ``after`` must match right beside it, in folded text, where they are given."""

    short: re.Pattern[str]
    long: str
    before: re.Pattern[str] | None
    after: re.Pattern[str] | None


def compile_abbreviations(entries: Sequence[Mapping[str, Any]], place: str) -> list[Abbreviation]:
    """From ``abbreviations`` of ``cleaning.yaml``: ``short`` and ``before``/``after`` are regular expressions.

    Raises:
        ConfigError: an entry lacks ``short`` or ``long``, or an expression cannot be compiled.
    """
    out = []
    for number, entry in enumerate(entries, start=1):
        try:
            before, after = entry.get("before"), entry.get("after")
            out.append(
                Abbreviation(
                    re.compile(rf"(?<!\w)(?:{entry['short']})(?!\w)"),
                    str(entry["long"]),
                    re.compile(rf"(?:{before})\s*$") if before else None,
                    re.compile(rf"\s*(?:{after})") if after else None,
                )
            )
        except (KeyError, TypeError, re.error) as error:
            raise ConfigError(f"{place}, abbreviation {number}: {type(error).__name__}: {error}") from None
    return out


def expansions(text: str, entries: Sequence[Abbreviation]) -> Iterator[Edit]:
    """Edits that write the abbreviations out; a capital at the start or all through is kept."""
    folded = fold(text)
    for entry in entries:
        for match in entry.short.finditer(folded):
            start, end = match.span()
            if entry.before and not entry.before.search(folded, max(0, start - 60), start):
                continue
            if entry.after and not entry.after.match(folded, end):
                continue
            yield Edit(start, end, _cased(text[start:end], entry.long, text))


def _cased(short: str, long: str, text: str) -> str:
    letters = [char for char in short if char.isalpha()]
    if len(letters) > 3 and all(char.isupper() for char in letters) and text.isupper():
        return long.upper()
    if letters and letters[0].isupper() and len(letters) > 1 and letters[1].islower():
        return long[:1].upper() + long[1:]
    return long
