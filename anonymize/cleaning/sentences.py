"""Sentences of a report as offsets: by rules for every language, or by EDS-NLP for French.

The rules serve the label miner, where a scope must not run over the end of a statement: list items, titled lines and
lines that begin with a capital end a sentence, hard-wrapped ones do not.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from anonymize.config import ConfigError
from anonymize.languages import Pack
from anonymize.text import fold

Method = Literal["rules", "eds", "sentencizer"]

_END = re.compile(
    r"(?<!\d)(?P<dot>\.)(?=\s|$)|\d\.(?=\s|$)|[!;](?=\s|$)|\?(?=\s|$)|\n[ \t]*\n"
    r"|\n(?=[ \t]*(?:[\-–*•#>]|\d{1,2}[.)] ))|\n(?=[ \t]*[^\W\d][^\n:]{0,40}:)"
)
_CAPITAL_LINE = re.compile(r"\n(?=[ \t]*(?P<first>[^\W\d_])(?P<second>.?))")


class Sentences:
    """Splits texts of one language. Build it once per pack: :func:`sentences_of`."""

    def __init__(self, pack: Pack) -> None:
        topic = pack["labels"]
        self._abbreviation = re.compile(rf"\b(?:{'|'.join(topic['abbreviations'])})$")
        self._capital_nouns = bool(topic.get("capital_nouns", False))
        spoken = "|".join(map(re.escape, topic.get("spoken_stops") or ()))
        self._spoken = re.compile(rf"(?<!\w)(?:{spoken})(?=\s+(?P<next>[^\W\d_]))") if spoken else None

    def split(self, text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
        """Start and end of each sentence in ``text[start:end]``, in order; together they cover the range."""
        end = len(text) if end is None else end
        ends = {m.end() for m in _END.finditer(text, start, end) if not self._inside_abbreviation(text, start, m)}
        if not self._capital_nouns:
            for match in _CAPITAL_LINE.finditer(text, start, end):
                # a line that begins like a sentence; in capitals only where the line before is not full
                if match["first"].isupper() and (match["second"].islower() or _short_line(text, match.start())):
                    ends.add(match.end())
        if self._spoken:  # the dictated name of the full stop, before a capital
            ends |= {m.end() for m in self._spoken.finditer(text, start, end) if m["next"].isupper()}
        bounds, begin = [], start
        for stop in sorted(ends):
            if begin < stop < end and not text[begin:stop].isspace():
                bounds.append((begin, stop))
                begin = stop
        return [*bounds, (begin, end)] if begin < end or not bounds else bounds

    def _inside_abbreviation(self, text: str, start: int, match: re.Match[str]) -> bool:
        if match["dot"] is None:
            return False
        return bool(self._abbreviation.search(fold(text[max(start, match.start() - 12) : match.start()])))


def _short_line(text: str, stop: int) -> bool:
    return stop - (text.rfind("\n", 0, stop) + 1) < 50


_BUILT: dict[str, Sentences] = {}


def sentences_of(pack: Pack) -> Sentences:
    """The rule-based splitter of a pack."""
    key = str(pack.folder)
    if key not in _BUILT:
        _BUILT[key] = Sentences(pack)
    return _BUILT[key]


def split_sentences(text: str, pack: Pack, method: Method = "rules") -> list[tuple[int, int]]:
    """Start and end of each sentence: by ``rules``, by ``eds`` (``eds.sentences``, French) or spaCy's ``sentencizer``.

    Raises:
        ConfigError: the library that ``method`` needs is not installed.
    """
    if method == "rules":
        return sentences_of(pack).split(text)
    doc = _pipeline(pack.language, method)(text)
    return [(sentence.start_char, sentence.end_char) for sentence in doc.sents]


@lru_cache(maxsize=8)
def _pipeline(language: str, method: str) -> Any:
    try:
        if method == "eds":
            import edsnlp

            nlp = edsnlp.blank("eds")
            nlp.add_pipe("eds.sentences")
            return nlp
        import spacy

        nlp = spacy.blank(language)
        nlp.add_pipe("sentencizer")
        return nlp
    except ImportError as error:
        raise ConfigError(f"sentences by '{method}' need the package {error.name}; install it or use 'rules'") from None
