"""The reach of a cue within a sentence, after NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009).

A cue before a finding reaches it unless a word that ends the scope, or a comma that does not continue a list, stands
between. A cue behind a finding belongs to it up to the next clause.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anonymize.config import ConfigError

_NOTHING = re.compile(r"(?!)")
_WORD = re.compile(r"\w+")
_REACH = 300  # characters; keeps the work linear in the length of the text
_COLON = re.compile(r":(?=\s*(?:\S+\s+){2}\S)")  # a statement of its own follows, not an answer
_LOOK_BEHIND = re.compile(r"(\(\?<[!=][^)]*\))")


def compile_patterns(patterns: Sequence[str] | None) -> re.Pattern[str]:
    """Any of ``patterns`` as whole words in folded text; a blank stands for white space, ``oe`` and ``ss`` also for the
    letters œ and ß."""
    if not patterns:
        return _NOTHING
    joined = "|".join(f"(?:{_blanks(pattern)})" for pattern in patterns)
    joined = re.sub(r"oe(?![?*+{])", "(?:oe|œ)", joined)
    joined = re.sub(r"ss(?![?*+{])", "(?:ss|ß)", joined)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)")


def _blanks(pattern: str) -> str:
    """Each blank as any white space; exactly one character in a look-behind, whose width must be known."""
    parts = _LOOK_BEHIND.split(pattern)
    return "".join(part.replace(" ", r"\s" if part.startswith("(?<") else r"(?:\s+)") for part in parts)


@dataclass(frozen=True)
class Cue:
    """Patterns that stand before and behind a finding."""

    before: re.Pattern[str]
    after: re.Pattern[str]

    @classmethod
    def of(cls, topic: Mapping[str, Any] | None) -> Cue:
        """From the keys ``before`` and ``after`` of a pack."""
        topic = topic or {}
        return cls(compile_patterns(topic.get("before")), compile_patterns(topic.get("after")))


@dataclass(frozen=True)
class Clause:
    """The surroundings of a finding in its sentence, within which cues count."""

    sentence: str  # folded
    start: int  # of the finding, in the sentence
    end: int
    left: int  # where the reach of cues before the finding begins
    after: str  # what stands behind the finding and belongs to it
    later: str  # the clause behind the next comma, which may hold a cue of its own ("..., not seen")

    @property
    def before(self) -> str:
        """What stands before the finding, from the last word that ends a scope."""
        return self.sentence[self.left : self.start]


class Scope:
    """Cuts clauses.

    Args:
        ends: patterns of words that end a scope.
        joins: words that continue a list behind a comma ("no effusion, nor ...", in French also "de").
        lasts: patterns of words before the last item of a list ("or").
    """

    def __init__(self, ends: Sequence[str], joins: Sequence[str], lasts: Sequence[str]) -> None:
        self._ends = compile_patterns(ends)
        words = [re.escape(word) + ("" if word.endswith("'") else r"(?!\w)") for word in joins]
        self._join_first = re.compile(rf"\s*(?:{'|'.join(words)})") if words else _NOTHING
        self._last = compile_patterns(lasts)

    def clause(self, sentence: str, start: int, end: int) -> Clause:
        """The clause around ``sentence[start:end]``, no further than :data:`_REACH` characters away."""
        begin = max(0, start - _REACH)
        sentence, start, end = sentence[begin : end + _REACH], start - begin, end - begin
        stops = [stop.end() for stop in self._ends.finditer(sentence, 0, start)]
        stop = self._ends.search(sentence, end)
        rest = _COLON.split(sentence[end : stop.start() if stop else len(sentence)], maxsplit=1)[0]
        after, _, later = rest.partition(",")
        return Clause(sentence, start, end, stops[-1] if stops else 0, after, later)

    def reaches(self, cue: re.Pattern[str], clause: Clause) -> re.Match[str] | None:
        """The last match of ``cue`` before the finding, if it reaches the finding."""
        cues = list(cue.finditer(clause.sentence, clause.left, clause.start))
        if not cues:
            return None
        found = cues[-1]
        comma = clause.sentence.rfind(",", found.end(), clause.start)
        if comma < 0:
            return found
        segment = clause.sentence[comma + 1 :].split(",")[0]
        if self._join_first.match(segment) or self._last.search(clause.sentence, comma):
            return found
        return found if len(_WORD.findall(segment)) <= 3 else None


def need(topic: Mapping[str, Any], key: str, place: str) -> Any:
    """``topic[key]``; a :class:`ConfigError` that names ``place`` where it is missing."""
    if key not in topic:
        raise ConfigError(f"{place}: the key '{key}' is missing; see docs/labels.md")
    return topic[key]
