"""What stands in the reports of many patients cannot identify a patient, but it identifies the hospital and its staff.

Lines of letterheads and signatures that recur, and names that titles and labels introduce in the reports of several
patients, become terms that are then found wherever they stand.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from anonymize.adapt.silver import Silver
from anonymize.detectors.known_words import KnownWords
from anonymize.languages import Pack
from anonymize.text import fold, words_of

_KINDS = ("name", "institution", "address", "town", "phone", "email", "url", "postcode", "professional_id")
_MAXIMUM = 200_000  # distinct terms and lines held while counting
_STAFF_RULES = ("names.title", "names.label", "names.signature", "names.header_line", "known.staff")


@dataclass(frozen=True)
class Term:
    """A text that is replaced wherever it stands: folded, blanks collapsed."""

    text: str
    kind: str
    patients: int  # in whose reports it stands


class Recurrence:
    """Counts terms by the patients in whose reports they stand.

    Args:
        pack: its everyday and clinical words never become terms of their own.
        minimum: patients from which a term counts as recurring.
        share: share of all patients from which a line counts as boilerplate.
    """

    def __init__(self, pack: Pack, minimum: int = 3, share: float = 0.005) -> None:
        self._words = KnownWords(pack)
        names = pack["detectors"]["names"]
        roles = words_of(
            " ".join(str(word) for topic in ("labels", "cues", "roles", "titles") for word in names[topic])
        )
        words = self._words
        self._plain = words.common | words.clinical | words.protected.words | words.particles | frozenset(roles)
        self._minimum, self._share = minimum, share
        self._terms: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._lines: Counter[str] = Counter()
        self._seen_lines: set[tuple[str, str]] = set()
        self._patients: set[str] = set()
        self._names: set[str] = set()  # words of patients' names

    def add(self, silver: Silver) -> None:
        """Take in one report. Values of the patient's own columns are left out."""
        text, patient = silver.report.text, silver.report.identity.patient_id
        self._patients.add(patient)
        own = {(span.start, span.end) for span in silver.from_columns if not span.rule.startswith("known.staff")}
        if len(self._terms) < _MAXIMUM:
            for span in silver.spans:
                if span.kind in _KINDS and (span.start, span.end) not in own:
                    self._terms[normal(text[span.start : span.end]), span.kind].add(patient)
        identity = silver.report.identity
        self._names.update(words_of(" ".join((identity.surname, identity.birth_name, identity.given_name))))
        for line in self._edge_lines(text, own):
            if len(line) >= 8 and (line, patient) not in self._seen_lines and len(self._seen_lines) < 10 * _MAXIMUM:
                self._seen_lines.add((line, patient))
                self._lines[line] += 1

    @staticmethod
    def _edge_lines(text: str, own: Iterable[tuple[int, int]]) -> set[str]:
        """Shapes of the first twelve and last eight lines, without those that name the patient."""
        places = [match.span() for match in re.finditer(r"[^\n]+", text)]
        spans = list(own)
        kept = [(a, b) for a, b in [*places[:12], *places[-8:]] if not any(s < b and a < e for s, e in spans)]
        return {shape(text[a:b]) for a, b in kept}

    def terms(self) -> list[Term]:
        """Recurring terms that can stand alone, most frequent first."""
        found = [
            Term(text, kind, len(patients))
            for (text, kind), patients in self._terms.items()
            if len(patients) >= self._minimum
            and self._telling(text, kind)
            and not self._names.issuperset(words_of(text))
        ]
        return sorted(found, key=lambda term: (-term.patients, term.text, term.kind))

    def lines(self) -> list[tuple[str, int]]:
        """Recurring lines of letterheads and signatures as shapes (digits as 9), with their patients."""
        least = max(self._minimum, self._share * len(self._patients))
        return sorted(
            ((line, n) for line, n in self._lines.items() if n >= least), key=lambda item: (-item[1], item[0])
        )

    def _telling(self, text: str, kind: str) -> bool:
        words = [word for word in words_of(text) if len(word) > 2]
        if kind in ("phone", "email", "url", "professional_id", "postcode"):
            return len(text) >= 5
        return any(word not in self._plain for word in words) and (len(text) > 4 or kind == "institution")


def normal(text: str) -> str:
    """Folded, blanks as one."""
    return re.sub(r"\s+", " ", fold(text)).strip()


def shape(line: str) -> str:
    """A line without its numbers."""
    return re.sub(r"\d", "9", normal(line))
