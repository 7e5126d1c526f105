"""Findings mined from the words of a report by the language pack: present, absent, uncertain, after NegEx.

Terms, cues and scope words come from ``labels.yaml`` of the pack (Chapman 2001 for the method). Text is matched in
lower case without accents, so that "Epanchement" and "épanchement" are one term. A rule-based labeler errs; it serves
to compare reports with one another and to find labels that a person then checks.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from anonymize.config import ConfigError
from anonymize.languages import load_pack

PRESENT, UNCERTAIN, ABSENT = 1.0, 0.5, 0.0
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
_BREAK = re.compile(r"(?<!\d)[.!;](?=\s|$)|\d\.(?=\s|$)|\n\s*(?=[-*•]|\n)|\?(?=\s|$)|\r?\n(?=\s*\w[^\n]{0,40}:)")


@dataclass(frozen=True)
class Mention:
    """One finding in one sentence; offsets are into the folded text."""

    finding: str
    status: float  # PRESENT, UNCERTAIN or ABSENT
    start: int
    end: int


@dataclass(frozen=True)
class Labeler:
    """Compiled rules of one language. Make it with :func:`labeler`."""

    language: str
    findings: dict[str, tuple[re.Pattern[str], re.Pattern[str] | None]]
    negation: tuple[re.Pattern[str], re.Pattern[str]]
    uncertainty: tuple[re.Pattern[str], re.Pattern[str]]
    scope_end: re.Pattern[str]
    pseudo: re.Pattern[str]
    abbreviation: re.Pattern[str]
    values: dict[str, re.Pattern[str]]

    def mentions(self, text: str) -> list[Mention]:
        """Every finding named in ``text``, in order."""
        folded = self.pseudo.sub(lambda match: "_" * len(match.group()), fold(text))
        found: list[Mention] = []
        for start, end in self._sentences(folded):
            sentence = folded[start:end]
            for finding, (terms, normal) in self.findings.items():
                healthy = [m.span() for m in normal.finditer(sentence)] if normal is not None else []
                named = [m.span() for m in terms.finditer(sentence)]
                # "heart not enlarged" holds a term inside a normal wording: the normal wording decides
                named = [(a, b) for a, b in named if not any(a < d and c < b for c, d in healthy)]
                found += [Mention(finding, ABSENT, start + a, start + b) for a, b in healthy]
                found += [Mention(finding, self._status(sentence, a, b), start + a, start + b) for a, b in named]
        return sorted(found, key=lambda mention: (mention.start, mention.finding))

    def labels(self, text: str) -> dict[str, float]:
        """Status of each finding that ``text`` names: 1.0 present, 0.5 uncertain, 0.0 absent; the highest wins.

        With ``values`` of the pack (``kl_grade``): the largest grade written.
        """
        result: dict[str, float] = {}
        for mention in self.mentions(text):
            result[mention.finding] = max(mention.status, result.get(mention.finding, ABSENT))
        folded = fold(text)
        for name, pattern in self.values.items():
            read = [m.group("value") for m in pattern.finditer(folded)]
            if read:
                result[name] = float(max(_ROMAN[v] if v in _ROMAN else int(v) for v in read))
        return result

    def vector(self, text: str, *, uncertain: bool = True) -> npt.NDArray[np.float64]:
        """[findings] 1.0 where present (or uncertain, if counted so), else 0.0, in the order of ``findings``."""
        labels = self.labels(text)
        floor = UNCERTAIN if uncertain else PRESENT
        return np.asarray([float(labels.get(name, ABSENT) >= floor) for name in self.findings])

    def _sentences(self, text: str) -> list[tuple[int, int]]:
        bounds, start = [], 0
        for match in _BREAK.finditer(text):
            if match.group().startswith(".") and self.abbreviation.search(text[start : match.start()]):
                continue
            bounds.append((start, match.end()))
            start = match.end()
        return [*bounds, (start, len(text))]

    def _status(self, sentence: str, start: int, end: int) -> float:
        before, after = sentence[:start], sentence[end:]
        stops = list(self.scope_end.finditer(before))
        if stops:
            before = before[stops[-1].end() :]
        stop = self.scope_end.search(after)
        # the text after a term belongs to it only up to the next clause
        after = re.split(r",", after[: stop.start()] if stop else after, maxsplit=1)[0]
        if self.uncertainty[0].search(before) or self.uncertainty[1].search(after):
            return UNCERTAIN
        if self.negation[0].search(before) or self.negation[1].search(after):
            return ABSENT
        return PRESENT


@lru_cache(maxsize=16)
def labeler(language: str) -> Labeler:
    """The labeler of a language pack.

    Raises:
        ConfigError: the pack lacks ``labels.yaml``, or one of its expressions cannot be compiled.
    """
    topic = load_pack(language)["labels"]
    try:
        return Labeler(
            language=language,
            findings={
                name: (_compile(rules["terms"]), _compile(rules["normal"]) if rules.get("normal") else None)
                for name, rules in topic["findings"].items()
            },
            negation=(_compile(topic["negation"]["before"]), _compile(topic["negation"]["after"])),
            uncertainty=(_compile(topic["uncertainty"]["before"]), _compile(topic["uncertainty"]["after"])),
            scope_end=_compile(topic["scope_end"]),
            pseudo=_compile(topic["pseudo"]),
            abbreviation=re.compile(rf"\b(?:{'|'.join(topic['abbreviations'])})$"),
            values={name: _compile(patterns) for name, patterns in topic.get("values", {}).items()},
        )
    except (KeyError, TypeError, re.error) as error:
        raise ConfigError(f"language pack '{language}', labels.yaml: {type(error).__name__}: {error}") from None


def fold(text: str) -> str:
    """Lower case without accents; œ becomes oe, ß becomes ss."""
    text = unicodedata.normalize("NFC", text).lower()
    text = text.replace("œ", "oe").replace("æ", "ae").replace("ß", "ss").replace("’", "'")
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _compile(patterns: list[str]) -> re.Pattern[str]:
    joined = "|".join("(?:" + pattern.replace(" ", r"(?:\s+)") + ")" for pattern in patterns)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)")
