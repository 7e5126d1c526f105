"""Direct survival: an original value of the patient that still stands in the patient's safe reports, in any spelling.

Not every equal string is a leak. A surname that is an ordinary word (``petit fragment``) is ambiguous; a date that is
another original date moved by the patient's offset is chance, and so is a surrogate of one name that resembles another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import SequenceMatcher

from rapidfuzz.distance import OSA

from anonymize.attack.originals import Case
from anonymize.attack.values import DIGITS, MAIL, Values, values_of
from anonymize.attack.written_dates import finder_of
from anonymize.detectors.known_words import KnownWords
from anonymize.languages import Pack
from anonymize.report import SECTIONS, Report
from anonymize.text import Token, View, collapse

_SPELLED = re.compile(r"(?<![^\W_])[^\W\d_](?:[ .\-_·]{1,3}[^\W\d_](?![^\W_])){2,}")
_JOINS = re.compile(r"[ \u00a0'’\-‐‑\n]{0,2}")
_WORD = re.compile(r"[^\W_]+(?:[\-./][^\W_]+)*")


@dataclass(frozen=True)
class Finding:
    """One place of a safe report where an original value stands. ``value`` is shown only where asked for."""

    report_id: str
    column: str
    start: int
    end: int
    kind: str
    how: str  # exact, typo, spelled, joined, digits, date, street
    shape: str  # how the words around it are written: "lower [upper] lower"
    value: str


class Survival:
    """Searches cases of one export. ``ordinary`` are words that many patients' reports hold in lower case."""

    def __init__(self, pack: Pack, cases: Iterable[Case]) -> None:
        self.words = KnownWords(pack)
        self.dates = finder_of(pack)
        self._months, calendar = pack.lists.months, pack.lists.calendar
        self._listed = self.words.common | self.words.protected.words | calendar
        self._ordinary, self._frequent = _vocabulary(cases)
        # listed as ordinary, but nobody here writes it in lower case: a capital says that it is a name
        sure = self._ordinary | self.words.clinical | self.words.stop | self.words.protected.words | calendar
        self._doubtful = self.words.common - sure
        self.leaks: list[Finding] = []
        self.ambiguous: list[Finding] = []
        self.chance = 0
        self._held: tuple[Case, Values] | None = None

    def values(self, case: Case) -> Values:
        """What is searched for."""
        if self._held is None or self._held[0] is not case:
            self._held = (case, values_of(case.originals, self.words, self.dates))
        return self._held[1]

    def ordinary(self) -> frozenset[str]:
        """Words that say nothing about anybody: of the pack's lists, or in lower case in many patients' reports."""
        return self._listed | self._ordinary

    def search(self, case: Case, everyone: Collection[str] = frozenset()) -> None:
        """Search the case's safe reports; ``everyone`` are names of other people, searched as exact words."""
        values = self.values(case)
        for number, safe in enumerate(case.safe):
            original = case.linked.get(number)
            offset = _offset(safe.date, original)
            texts = {"text": safe.text, "exam": safe.exam or ""}
            texts |= {name: part for name in SECTIONS if (part := getattr(safe, name)) and part not in safe.text}
            for column, text in texts.items():
                place = _Place(safe.report_id, column, View(text), original, offset)
                self._search(place, values, everyone)
            if original is not None and safe.date and safe.date == original.exam_date:
                place = _Place(safe.report_id, "date", View(safe.date), original, offset)
                self.leaks.append(place.finding(0, len(safe.date), "date", "exact"))

    # -- one text -----------------------------------------------------------------------------------------------------

    def _search(self, place: _Place, values: Values, everyone: Collection[str]) -> None:
        taken: list[tuple[int, int]] = []
        for start, end, kind, how, verdict in self._hits(place, values, everyone):
            if any(a < end and start < b for a, b in taken):
                continue
            if verdict == "leak":
                taken.append((start, end))
                self.leaks.append(place.finding(start, end, kind, how))
            elif verdict == "ambiguous":
                self.ambiguous.append(place.finding(start, end, kind, how))
            else:
                self.chance += 1

    def _hits(
        self, place: _Place, values: Values, everyone: Collection[str]
    ) -> Iterator[tuple[int, int, str, str, str]]:
        yield from self._names(place, values)
        yield from self._numbers(place.view, values)
        yield from self._codes_and_mails(place.view, values)
        for start, end, day in self.dates.find(place.view):
            if day in values.dates:
                kind = "birth_date" if day in values.births else "date"
                explained = place.offset is not None and day - timedelta(place.offset) in values.dates
                yield start, end, kind, "date", "chance" if explained else "leak"
        yield from self._places(place.view, values)
        for token in place.view.tokens:
            if token.folded in everyone and len(token.folded) > 3 and not self._is_ordinary(token.folded):
                yield token.start, token.end, "name", "exact", "leak" if token.shape != "lower" else "ambiguous"

    def _names(self, place: _Place, values: Values) -> Iterator[tuple[int, int, str, str, str]]:
        view, tokens = place.view, place.view.tokens
        names = values.words
        near = {token.folded: self._near(token.folded, names) for token in tokens if token.shape != "digit"}
        phrases = self.words.protected.phrases(view)
        for index, token in enumerate(tokens):
            word = token.folded
            if word in names:
                leak = self._is_name(view, index, names, phrases)
                yield token.start, token.end, "name", "exact", "leak" if leak else "ambiguous"
            elif word in values.wholes and not self._is_ordinary(word):
                yield token.start, token.end, "name", "joined", "leak"
            elif near.get(word):
                yield token.start, token.end, "name", "typo", self._judge_typo(place, index, near[word], names)
        for match in _SPELLED.finditer(view.folded):
            letters = [place_ for place_ in range(*match.span()) if view.folded[place_].isalpha()]
            joined = "".join(view.folded[place_] for place_ in letters)
            for name in sorted(values.wholes | names, key=len, reverse=True):
                at = joined.find(name)
                if at >= 0 and (len(name) > 3 or (len(name) == 3 and name == joined)):
                    yield letters[at], letters[at + len(name) - 1] + 1, "name", "spelled", "leak"
                    break
            else:
                if len(joined) >= 5 and any(self._is_near(joined, name) for name in names):
                    yield *match.span(), "name", "spelled", "leak"

    def _near(self, word: str, names: Iterable[str]) -> str:
        """The name of which ``word`` is a misspelling."""
        if len(word) < 4 or word in self._listed or word in self._ordinary or word in self._frequent:
            return ""
        return next((name for name in sorted(names) if self._is_near(word, name)), "")

    def _is_near(self, word: str, name: str) -> bool:
        if len(name) < 5 or name == word:
            return False
        allowed = 2 if len(name) >= 9 else 1
        return OSA.distance(word, name, score_cutoff=allowed) <= allowed

    def _is_ordinary(self, word: str) -> bool:
        return word in self._listed or word in self._ordinary

    def _is_name(self, view: View, index: int, names: Collection[str], phrases: list[tuple[int, int]]) -> bool:
        """Whether a word that equals a name stands for it here."""
        token = view.tokens[index]
        if any(start <= token.start and token.end <= end for start, end in phrases):
            return False
        short = len(token.folded) < 3 or (len(token.folded) == 3 and token.shape == "lower")
        if not short and not self._is_ordinary(token.folded):
            return True
        if token.shape == "lower" and view.case == "mixed":
            return False
        if token.folded in self._doubtful and view.case == "mixed" and not self._opens(view, index):
            return True
        for step in (-2, -1, 1, 2):
            other = index + step
            if 0 <= other < len(view.tokens):
                beside = view.tokens[other]
                gap = view.text[min(token.end, beside.end) : max(token.start, beside.start)]
                if len(gap) > 12 or ("." in gap and "\n" in gap):
                    continue
                told = beside.folded in names and beside.folded != token.folded and len(beside.folded) > 2
                titled = step == -1 and beside.folded in self.words.titles
                if (told and (beside.shape != "lower" or view.case == "lower")) or titled:
                    return True
        return False

    @staticmethod
    def _opens(view: View, index: int) -> bool:
        """Whether a capital is owed to the beginning of a sentence: a word in lower case follows directly."""
        token = view.tokens[index]
        before = view.text[: token.start].rstrip()
        follows = index + 1 < len(view.tokens) and view.tokens[index + 1].shape == "lower"
        close = follows and view.text[token.end : view.tokens[index + 1].start] == " "
        return token.shape == "title" and close and (not before or before[-1] in ".:;!?-•*\n")

    def _judge_typo(self, place: _Place, index: int, name: str, names: Collection[str]) -> str:
        token = place.view.tokens[index]
        kind, aligned = place.aligned(index)
        if kind == "equal":  # the original has the word too: a name misspelt there, or a rare word
            lower = token.shape == "lower" and place.view.case == "mixed"
            return "leak" if not lower or self._is_name(place.view, index, names, []) else "ambiguous"
        if kind == "replace" and aligned is not None and aligned.folded != name:
            alike = aligned.shape == token.shape != "lower" and place.view.case == "mixed"
            if aligned.folded in names or not self._is_ordinary(aligned.folded) or alike:
                return "chance"  # the surrogate of something else
        return "leak"

    def _numbers(self, view: View, values: Values) -> Iterator[tuple[int, int, str, str, str]]:
        for match in DIGITS.finditer(view.text):
            places = [index for index in range(*match.span()) if view.text[index].isdigit()]
            digits = "".join(view.folded[index] for index in places)
            if len(digits) < 5:
                continue
            edges = {0, len(digits)} | {i for i in range(1, len(places)) if places[i] - places[i - 1] > 1}
            for number, kind in values.numbers.items():
                at = digits.find(number)
                # a short number must begin and end where a written group does
                if at >= 0 and (len(number) >= 9 or {at, at + len(number)} <= edges):
                    yield places[at], places[at + len(number) - 1] + 1, kind, "digits", "leak"

    def _codes_and_mails(self, view: View, values: Values) -> Iterator[tuple[int, int, str, str, str]]:
        for match in _WORD.finditer(view.folded):
            plain = collapse(match.group())
            if plain in values.codes:
                yield *match.span(), values.codes[plain], "exact", "leak"
            elif plain in values.postcodes:
                yield *match.span(), "postcode", "exact", "leak"
        for match in MAIL.finditer(view.folded):
            if match.group() in values.mails:
                yield *match.span(), "email", "exact", "leak"

    def _places(self, view: View, values: Values) -> Iterator[tuple[int, int, str, str, str]]:
        tokens = view.tokens
        for index, token in enumerate(tokens):
            if token.shape == "digit":
                continue
            joined = ""
            for stop in range(index, min(index + 6, len(tokens))):
                gap = view.text[tokens[stop - 1].end : tokens[stop].start] if stop > index else ""
                if tokens[stop].shape == "digit" or not _JOINS.fullmatch(gap):
                    break
                joined += self.words.abbreviations.get(tokens[stop].folded, tokens[stop].folded)
                if joined in values.towns:
                    sure = stop > index or (not self._is_ordinary(joined) and token.shape != "lower")
                    verdict = "leak" if sure else "ambiguous"
                    yield token.start, tokens[stop].end, "town", "exact", verdict
            for street in values.streets:
                if token.folded == street[0]:
                    yield from self._street(view, index, street, values)

    def _street(
        self, view: View, index: int, street: tuple[str, ...], values: Values
    ) -> Iterator[tuple[int, int, str, str, str]]:
        tokens, last, wanted = view.tokens, index, 1
        for step in range(index + 1, min(index + 8, len(tokens))):
            if wanted == len(street):
                break
            if tokens[step].folded == street[wanted]:
                last, wanted = step, wanted + 1
            elif tokens[step].folded not in self.words.particles:
                break
        if wanted < len(street):
            return
        before = {tokens[place].folded for place in range(max(0, index - 4), index)}
        # "8 mai" is a date unless a kind of street stands before it
        numbered = before & values.house_numbers and not (len(street) == 1 and street[0] in self._months)
        led = any(collapse(word) in self.words.streets for word in before) or numbered
        telling = len(street) > 1 or not (self._is_ordinary(tokens[index].folded) or tokens[index].shape == "lower")
        verdict = "leak" if led or (telling and any(len(word) > 4 for word in street)) else "ambiguous"
        yield tokens[index].start, tokens[last].end, "address", "street", verdict


class _Place:
    """One text of a safe report, and the original that it comes from."""

    def __init__(self, report_id: str, column: str, view: View, original: Report | None, offset: int | None) -> None:
        self.report_id, self.column, self.view, self.offset = report_id, column, view, offset
        self._original = original
        self._blocks: Sequence[tuple[str, int, int, int, int]] | None = None
        self._source: list[Token] = []

    def finding(self, start: int, end: int, kind: str, how: str) -> Finding:
        """A finding at ``text[start:end]``."""
        shapes = [
            f"[{token.shape}]" if token.start >= start and token.end <= end else token.shape
            for token in self.view.tokens
            if token.end > start - 20 and token.start < end + 20
        ]
        return Finding(self.report_id, self.column, start, end, kind, how, " ".join(shapes), self.view.text[start:end])

    def aligned(self, index: int) -> tuple[str, Token | None]:
        """What became of the original around a word: equal, insert or replace, and the word that stood there."""
        if self._original is None or self.column not in ("text", "exam"):
            return "", None
        if self._blocks is None:
            self._source = View(getattr(self._original, self.column)).tokens
            words = [token.folded for token in self._source]
            safe = [token.folded for token in self.view.tokens]
            # one letter on both sides says nothing: "B. Morin / L." is no copy of "L. Roy / B."
            pairs = SequenceMatcher(lambda word: len(word) == 1 and word.isalpha(), words, safe, autojunk=False)
            self._blocks = list(pairs.get_opcodes())
        for kind, i1, i2, j1, j2 in self._blocks:
            if j1 <= index < j2:
                if kind == "replace" and i2 - i1 < j2 - j1:
                    return "insert", None
                return kind, self._source[min(i1 + index - j1, i2 - 1)] if i2 > i1 else None
        return "", None


def _offset(safe: str, original: Report | None) -> int | None:
    if not safe or original is None or not original.exam_date:
        return None
    return (date.fromisoformat(safe) - date.fromisoformat(original.exam_date)).days


def _vocabulary(cases: Iterable[Case]) -> tuple[frozenset[str], frozenset[str]]:
    """Words in lower case in texts of mixed case of three patients or more; words of any form of many patients."""
    lower: Counter[str] = Counter()
    anyhow: Counter[str] = Counter()
    patients = 0
    for case in cases:
        patients += 1
        low: set[str] = set()
        every: set[str] = set()
        for text in (*(report.text for report in case.safe), *(report.text for report in case.originals)):
            view = View(text)
            every |= view.vocabulary
            if view.case == "mixed":
                low.update(filter(view.in_lower_case, view.vocabulary))
        lower.update(low)
        anyhow.update(every)
    frequent = max(5, patients // 50)
    return (
        frozenset(word for word, count in lower.items() if count >= 3),
        frozenset(word for word, count in anyhow.items() if count >= frequent),
    )
