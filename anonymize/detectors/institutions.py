"""Hospitals, clinics, practices and their sites: a head word and the capitalised name behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives, fold

# a word, also "O'Connor", in quotes, or the day of a date that a hospital bears
_STEP = re.compile(
    r"(?:(?P<gap>[ \u00a0][\"“«]?|['’]|-| - |, (?=site))(?P<word>(?:O['’](?=[A-Z]))?[^\W\d_]+(?:-[^\W\d_]+)*\.?|\d{1,2}(?= de )))"
)
MAXIMUM = 10


class Institutions(Detector):
    """Walks word by word from the head; linear in the length of the line."""

    kinds = ("institution",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["institutions"]
        self._head = re.compile(rf"(?<![\w\-])(?P<head>{alternatives(words['heads'])})(?!\w)")
        self._weak = frozenset(fold(word) for word in words["weak_heads"])
        self._connectors = frozenset(fold(word) for word in words["connectors"])
        self._stop = frozenset(fold(word) for word in words["stop"])
        self._not_after = re.compile(rf"(?<!\w){alternatives(words['not_after'])}[ :,]{{1,3}}(?:de |d'|l')?$")
        self._ending = re.compile(rf"(?<![\w\-])[a-z\-]{{2,30}}{alternatives(words['head_endings'])}(?!\w)")
        self._tail = re.compile(
            rf"(?:[^\W\d_][\w'\-.]* ){{1,4}}{alternatives(words['tails'])}(?!\w)" if words.get("tails") else "(?!)"
        )
        self._below = re.compile(rf"[ \t]*{alternatives(words['below'])}(?!\w)")
        self._own = re.compile(rf"(?<![\w\-]){alternatives(words['own_names'])}(?![\w])")
        self._whole = re.compile(rf"(?<![\w\-]){alternatives(words.get('whole_heads', []))}(?!\w)")
        self._clinical = frozenset(fold(word) for word in pack.words("clinical"))

    def find(self, view: View) -> Iterable[Span]:
        """Spans from the head to the last word of the name."""
        done = 0
        for match in self._head.finditer(view.folded):
            if match.start() < done:
                continue
            end = self._walk(view, match)
            if end:
                done = end
                yield Span(match.start(), end, "institution", 0.85, "institutions.head")
        for match in self._ending.finditer(view.folded):
            if view.text[match.start()].isupper() or view.case == "lower":
                yield Span(
                    match.start(), self._walk(view, match) or match.end(), "institution", 0.8, "institutions.ending"
                )
        yield from self._letterhead(view)
        for match in self._tail.finditer(view.folded):
            last = match.start() + view.folded[slice(*match.span())].rfind(" ") + 1
            if view.case == "mixed" and not view.text[last].isupper():
                continue  # "date of surgery"
            start = self._first_capital(view, *match.span())
            if start is not None:
                yield Span(start, match.end(), "institution", 0.8, "institutions.tail")
        for match in self._whole.finditer(view.folded):  # "the Hospital Clínico": a name where each word has a capital
            if all(word[0].isupper() for word in view.text[slice(*match.span())].split()):
                yield Span(*match.span(), "institution", 0.7, "institutions.whole")
        for match in self._own.finditer(view.folded):
            end = self._walk(view, match) or match.end()
            yield Span(match.start(), end, "institution", 0.8, "institutions.own_name")

    def _first_capital(self, view: View, start: int, end: int) -> int | None:
        """Start of the capitalised words that end the range, or None where only its last word has one."""
        first = None
        words = list(re.finditer(r"[^\W\d_][\w'\-.]*", view.text[start:end]))
        for word in reversed(words[:-1]):
            folded = view.folded[start + word.start() : start + word.end()]
            if folded in self._connectors:
                continue
            if not word.group()[0].isupper() or folded in self._stop or folded in self._clinical:
                break
            first = start + word.start()
        return first

    def _letterhead(self, view: View) -> Iterable[Span]:
        """A first line of a few words above the line of a department."""
        lines = [line for line in view.lines if view.text[slice(*line)].strip()][:2]
        if len(lines) == 2 and self._below.match(view.folded, lines[1][0]):
            start, end = lines[0]
            words = re.findall(r"\w+", view.folded[start:end])
            titled = bool(self._below.match(view.folded, start)) or words[:1] == [] or words[0] in self._clinical
            if (
                1 <= len(words) <= 8
                and not titled
                and (view.text[start:end].strip()[0].isupper() or view.case == "lower")
            ):
                code = re.search(r"[ ,\-–|(]+(?:[a-z]{1,2}[ \-]?)?\d{4,}", view.folded[start:end])  # a postcode follows
                end = start + code.start() if code else end
                yield Span(start, end, "institution", 0.6, "institutions.letterhead")

    def _walk(self, view: View, match: re.Match[str]) -> int | None:
        head = match.group()
        line_start, line_end = view.line_of(match.start())
        before = view.folded[line_start : match.start()]
        at_start = not before.strip(" \t*-|:,")
        letterhead = at_start and match.start() < 400
        if head in self._weak:
            if not at_start and not (view.text[match.start()].isupper() and view.case == "mixed"):
                return None
            if self._not_after.search(before[-40:]):
                return None
        position, end, taken = match.end(), None, 0
        while taken < MAXIMUM:
            step = _STEP.match(view.text, position, line_end)
            if not step:
                break
            word = step["word"].rstrip(".")
            folded = fold(word)
            parts = folded.split("-")
            if folded in self._stop:
                break
            if folded in self._connectors or word.isdigit():
                pass
            elif len(word) == 1 and not step["word"].endswith("."):  # noqa: SIM114 - two reasons
                break
            elif folded in self._clinical and (head in self._weak or view.case == "lower"):
                break
            elif word[0].isupper() or (
                view.case == "lower" and (letterhead or (end is None and head not in self._weak))
            ):
                if view.case == "upper" and not letterhead and end is not None and parts[0] in self._clinical:
                    break
                end = step.end() - (step["word"].endswith(".") and len(word) > 3)
            else:
                break
            taken += 1
            position = step.end()
        return end
