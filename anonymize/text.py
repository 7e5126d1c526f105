"""A report's text as the detectors see it: folded to lower case without accents, at unchanged offsets.

How a rule stays fast and linear: it begins at a word. :class:`View` splits a text into words once and knows where each
one stands; :class:`Anchored` tries a pattern only there, instead of at every character. A rule that begins with digits
takes its starts from ``view.digits``. Quantifiers have upper bounds, so that one trial costs a bounded time.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple, TypeVar

WORD = re.compile(r"[^\W\d_]+(?:['’\-‐‑][^\W\d_]+)*")
TOKEN = re.compile(r"[^\W\d_]+|\d+")
_PARTS = re.compile(r"([^\W\d_]+|\d+)")
_WIDE = re.compile(r"([^\x00-\xff]+)")

T = TypeVar("T")


class _Fold(dict[int, str]):
    """Maps each code point to one base character in lower case, so that offsets stay."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in "’‘ʼ`´":
            base = "'"
        elif char in "‐‑‒–—−":
            base = "-"
        elif char not in "\n\r" and char.isspace():
            base = " "
        else:
            base = unicodedata.normalize("NFD", char)[0].lower()
            base = base if len(base) == 1 else char
        self[code] = base
        return base


_FOLD = _Fold()
_NARROW = "".join(_FOLD[code] for code in range(256)).encode("latin-1")
_CASE = b"".join(b"U" if chr(code).isupper() else b"l" if chr(code).islower() else b"." for code in range(256))


def fold(text: str) -> str:
    """Lower case without accents, curly signs straightened; the same length as ``text``."""
    try:
        return text.encode("latin-1").translate(_NARROW).decode("latin-1")
    except UnicodeEncodeError:  # Latin-1 is translated as bytes, fifty times faster; the rest sign by sign
        pieces = _WIDE.split(text)
        pieces[::2] = [piece.encode("latin-1").translate(_NARROW).decode("latin-1") for piece in pieces[::2]]
        pieces[1::2] = [piece.translate(_FOLD) for piece in pieces[1::2]]
        return "".join(pieces)


def folded(entries: Iterable[object]) -> frozenset[str]:
    """The entries of a word list, folded."""
    return frozenset(fold(str(entry)) for entry in entries)


def collapse(text: str) -> str:
    """Folded letters and digits of ``text`` only: the form in which names are compared. Ligatures are spelled out."""
    plain = fold(text.replace("œ", "oe").replace("Œ", "OE").replace("æ", "ae"))
    return plain if plain.isalnum() else "".join(filter(str.isalnum, plain))


def words_of(text: str) -> list[str]:
    """Folded runs of letters."""
    return [fold(match) for match in re.findall(r"[^\W\d_]+", text)]


class Token(NamedTuple):
    """A run of letters or of digits: ``text[start:end]``."""

    start: int
    end: int
    folded: str
    shape: str  # "upper" (two or more capitals), "title" (one capital first), "lower", "mixed", "digit"


class View:
    """One text and what several detectors ask about it. Computed once, when first needed.

    Words are runs of letters or of digits, numbered from 0: ``words[i]`` (folded) stands at
    ``text[starts[i]:ends[i]]``.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = fold(text)
        self._memo: dict[Hashable, object] = {}

    @cached_property
    def _parts(self) -> list[str]:
        """What stands before the first word, the first word, what stands between them, and so on to the end."""
        return _PARTS.split(self.folded)

    @cached_property
    def _edges(self) -> list[int]:
        """Start and end of each word in turn, and the end of the text."""
        return list(accumulate(map(len, self._parts)))

    @cached_property
    def words(self) -> list[str]:
        """Each word, folded."""
        return self._parts[1::2]

    @cached_property
    def starts(self) -> list[int]:
        """Offset of the first character of each word."""
        return self._edges[0:-1:2]

    @cached_property
    def ends(self) -> list[int]:
        """Offset behind the last character of each word."""
        return self._edges[1::2]

    @cached_property
    def where(self) -> dict[str, list[int]]:
        """The numbers of the words that are written so (folded), in order."""
        found: dict[str, list[int]] = {}
        for index, word in enumerate(self.words):
            if word in found:
                found[word].append(index)
            else:
                found[word] = [index]
        return found

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """The words of this text, folded."""
        return frozenset(self.where)

    @cached_property
    def digits(self) -> list[int]:
        """The numbers of the words that are runs of digits, in order."""
        return [index for index, word in enumerate(self.words) if word[0].isdigit()]

    @cached_property
    def tokens(self) -> list[Token]:
        """The words with their offsets and shapes. Dear: a rule for few words asks for those with :meth:`token`."""
        return [self.token(index) for index in range(len(self.words))]

    def token(self, index: int) -> Token:
        """Word ``index`` with its offsets and shape."""
        start, end = self.starts[index], self.ends[index]
        return Token(start, end, self.words[index], shape(self.text[start:end]))

    def shape(self, index: int) -> str:
        """How word ``index`` is written, see :class:`Token`."""
        return shape(self.text[self.starts[index] : self.ends[index]])

    def gap(self, index: int) -> str:
        """What stands between word ``index`` and the next one, as written."""
        return self.text[self.ends[index] : self.starts[index + 1]]

    @cached_property
    def case(self) -> str:
        """``lower`` or ``upper`` where the letters of the whole text are nearly all so, else ``mixed``."""
        narrow = self.text.encode("latin-1", "ignore").translate(_CASE)
        upper, lower = narrow.count(b"U"), narrow.count(b"l")
        if len(narrow) < len(self.text):
            wide = "".join(_WIDE.findall(self.text))
            upper, lower = upper + sum(map(str.isupper, wide)), lower + sum(map(str.islower, wide))
        if upper <= 0.004 * lower:
            return "lower"
        return "upper" if lower <= 0.1 * upper else "mixed"

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of every line, empty ones too."""
        return list(accumulate((len(line) + 1 for line in self.text.split("\n")[:-1]), initial=0))

    @cached_property
    def lines(self) -> list[tuple[int, int]]:
        """Start and end of each line that is not empty, without the line break."""
        starts = self.line_starts
        ends = [*(start - 1 for start in starts[1:]), len(self.text)]
        return [(start, end) for start, end in zip(starts, ends, strict=True) if end > start]

    def in_lower_case(self, word: str) -> bool:
        """Whether a folded word stands in lower case somewhere in this text: seldom a name."""
        return any(self.text[self.starts[index] : self.ends[index]].islower() for index in self.where.get(word, ()))

    def line_of(self, position: int) -> tuple[int, int]:
        """Start and end of the line around ``position``."""
        starts = self.line_starts
        number = bisect_right(starts, position)
        return starts[number - 1], starts[number] - 1 if number < len(starts) else len(self.text)

    def opens_line(self, position: int) -> bool:
        """Whether nothing but blanks stands before the word at ``position`` on its line."""
        start = self.line_of(position)[0]
        first = bisect_left(self.starts, start)
        return first == bisect_left(self.starts, position) and not self.folded[start:position].strip(" ")

    def once(self, key: Hashable, compute: Callable[[View], T]) -> T:
        """``compute(self)``, done once for each ``key``: for what several detectors ask."""
        if key not in self._memo:
            self._memo[key] = compute(self)
        return self._memo[key]  # type: ignore[return-value]


def shape(word: str) -> str:
    """How ``word`` is written: upper, title, lower, mixed or digit."""
    if word.islower():
        return "lower"
    if word[0].isdigit():
        return "digit"
    if word.isupper():
        return "upper" if len(word) > 1 else "title"
    return "title" if word[0].isupper() and word[1:].islower() else "mixed"


@lru_cache(maxsize=32)
def view_of(text: str) -> View:
    """The view of ``text``, shared by the detectors that look at the same report."""
    return View(text)


class Anchored:
    """A pattern for folded text that is tried only where one of its first words stands.

    Args:
        entries: what a match can begin with, as given to :func:`alternatives`: cue words or phrases.
        pattern: a regular expression whose every match begins with one of ``entries``. It may look behind itself. Words
            are looked up whole: where an entry is one word, no letter may follow it in a match (``cue\\w``).

    Yields what ``re.finditer`` would, at a cost that follows the number of such words, not the length of the text.
    """

    def __init__(self, entries: Iterable[str], pattern: str) -> None:
        self.first, signs = _beginnings(entries)
        self._signs = re.compile("[" + re.escape("".join(sorted(signs))) + "]") if signs else None
        self.regex = re.compile(pattern)
        self._match = self.regex.match

    def starts(self, view: View) -> list[int]:
        """Where the first words stand, in order."""
        where, starts = view.where, view.starts
        found = self.first & view.vocabulary
        if len(found) == 1:
            positions = [starts[index] for index in where[next(iter(found))]]
        else:
            positions = [starts[index] for word in found for index in where[word]]
            positions.sort()
        if self._signs:
            positions = sorted({*positions, *(match.start() for match in self._signs.finditer(view.folded))})
        return positions

    def finditer(self, view: View) -> Iterator[re.Match[str]]:
        """Matches from left to right, without overlaps."""
        done, folded, match_at = 0, view.folded, self._match
        for start in self.starts(view):
            if start >= done:
                match = match_at(folded, start)
                if match:
                    done = match.end()
                    yield match


class Endings:
    """A compound of small letters and hyphens that ends as one of ``entries``: ``Bergstrasse``, ``St-Josefs-Klinik``.

    Args:
        entries: the endings.
        pattern: a regular expression for an ending and what follows it.
        least: how many characters stand before the ending at least; there are 30 at most.
    """

    def __init__(self, entries: Iterable[str], pattern: str, least: int = 2) -> None:
        self._endings = tuple(sorted({fold(str(entry)).rsplit(" ", 1)[-1] for entry in entries}))
        self._regex = re.compile(rf"(?<![\w\-])[a-z\-]{{{least},30}}{pattern}")

    def finditer(self, view: View) -> Iterator[re.Match[str]]:
        """Matches from left to right, without overlaps."""
        if not self._endings:
            return
        found = [word for word in view.where if word.endswith(self._endings)]
        done, folded = 0, view.folded
        for index in sorted(index for word in found for index in view.where[word]):
            start = view.starts[index]
            least = max(done, start - 32)
            while start > least and (folded[start - 1] == "-" or "a" <= folded[start - 1] <= "z"):
                start -= 1
            match = self._regex.match(folded, start)
            if match:
                done = match.end()
                yield match


def _beginnings(entries: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The first words of the entries (folded runs of letters or of digits), and the first signs of those without."""
    words, signs = set(), set()
    for entry in map(fold, map(str, entries)):
        match = TOKEN.match(entry)
        if match:
            words.add(match.group())
        elif entry:
            signs.add(entry[0])
    return frozenset(words), frozenset(signs)


def alternatives(entries: Iterable[str]) -> str:
    """A regular expression for any of ``entries`` in folded text: longest first, blanks and hyphens flexible.

    Entries share their beginnings as in a tree, so that the time of a trial does not grow with their number.
    """
    tree: dict[str, dict] = {}
    for entry in entries:
        node = tree
        for char in fold(str(entry)):
            node = node.setdefault(char, {})
        node[""] = {}
    return f"(?:{_branch(tree)})" if tree else "(?!)"  # matches nowhere


def _branch(node: dict[str, dict]) -> str:
    """The entries below a node: longer ones before those that end here."""
    choices = []
    for char in sorted(filter(None, node)):
        piece: str = {" ": r"[ \-]{1,3}", "'": "'[ ]?"}.get(char) or re.escape(char)
        child = node[char]
        while len(child) == 1 and "" not in child:
            (char,) = child
            piece += {" ": r"[ \-]{1,3}", "'": "'[ ]?"}.get(char) or re.escape(char)
            child = child[char]
        below = _branch(child)
        choices.append(f"{piece}(?:{below})" if below else piece)
    if "" in node:
        choices.append("")
    return "|".join(choices)
