"""Left and right in a text, swapped in the form that the grammar asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from anonymize.labels.scope import compile_patterns
from anonymize.text import fold

_BACK = re.compile(r"[^\W\d_]+|[.;:!?\n]")
_REACH = 8  # words before a side that are asked for its gender


class Sides:
    """The side words of one language, from ``sides`` of rewrite.yaml.

    ``pairs``: [left, right] forms that stand for each other as they are. ``agree``: where one form of a side stands for
    two of the other, ``{form: [masculine, feminine]}``, and ``left`` the forms among them that mean left; ``masculine``
    and ``feminine`` are patterns for words (nouns, articles, adjectives) that tell which. ``both``: words for both sides.
    ``not_sides``: wordings that look like a side and are none. ``normal``: what is said of one side and likely to be
    true of the other. ``unclear``: wordings whose side cannot be swapped: organs that have one, single letters.
    """

    def __init__(self, topic: Mapping[str, Any]) -> None:
        self._swap: dict[str, str] = {}
        self._side: dict[str, str] = {}
        for left, right in topic["pairs"]:
            self._add(str(left), str(right))
        self._agree: dict[str, tuple[str, str]] = {}
        for form, (masculine, feminine) in (topic.get("agree") or {}).items():
            left = fold(form) in {fold(str(word)) for word in topic.get("left") or ()}
            self._agree[fold(form)] = (masculine, feminine)
            self._side[fold(form)] = "left" if left else "right"
            for other in (masculine, feminine):
                self._swap[fold(other)] = form
                self._side[fold(other)] = "right" if left else "left"
        words = sorted({*self._swap, *self._agree}, key=len, reverse=True)
        forms = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)
        self._words = re.compile(rf"(?<!\w)(?:{forms})(?!\w)")
        self._genders = [_full(topic.get(key), plain) for plain in (False, True) for key in ("masculine", "feminine")]
        self._both = compile_patterns(topic.get("both"))
        self._not = compile_patterns(topic.get("not_sides"))
        self._normal = compile_patterns(topic.get("normal"))
        self._unclear = compile_patterns(topic.get("unclear"))

    def _add(self, left: str, right: str) -> None:
        for one, other, side in ((left, right, "left"), (right, left, "right")):
            self._swap[fold(one)] = other
            self._side[fold(one)] = side

    def only(self, text: str) -> str:
        """``left`` or ``right`` where ``text`` names that side and no other; "" otherwise, and where it is unclear."""
        folded = self._plain(text)
        if self._both.search(folded) or self._unclear.search(folded):
            return ""
        named = {self._side[_key(match)] for match in self._words.finditer(folded)}
        return named.pop() if len(named) == 1 else ""

    def is_normal(self, text: str) -> bool:
        """Whether ``text`` calls something normal."""
        return bool(self._normal.search(fold(text)))

    def swap(self, text: str) -> str | None:
        """``text`` with every side swapped, as written otherwise; None where a side cannot be."""
        folded = self._plain(text)
        if self._unclear.search(folded):
            return None
        pieces: list[str] = []
        done = 0
        for match in self._words.finditer(folded):
            other = self._swap.get(_key(match)) or self._agreeing(text[: match.start()], _key(match))
            if other is None:
                return None
            pieces += [text[done : match.start()], _as_written(other, text[match.start() : match.end()])]
            done = match.end()
        return "".join([*pieces, text[done:]])

    def kind(self, phrase: str) -> str:
        """``m``, ``f`` or ``plural`` of the first word of ``phrase`` that has a gender, "" where none is known."""
        for word in re.findall(r"[^\W\d_]+", phrase)[:3]:
            if gender := self._gender(word):
                return gender
            if self._gender(word[:-1]) and word[-1] in "sxn":
                return "plural"
        return ""

    def _gender(self, word: str) -> str:
        """``m``, ``f`` or "": with its accents, else without them where that leaves no doubt (côté, côte)."""
        for form, masculine, feminine in ((word.lower(), *self._genders[:2]), (fold(word), *self._genders[2:])):
            found = [kind for kind, pattern in (("m", masculine), ("f", feminine)) if pattern.match(form)]
            if len(found) == 1:
                return found[0]
        return ""

    def _plain(self, text: str) -> str:
        return self._not.sub(lambda match: "_" * len(match.group()), fold(text))

    def _agreeing(self, before: str, form: str) -> str | None:
        """The form of the other side that agrees with the nearest word in ``before`` that has a gender."""
        for word in reversed(_BACK.findall(before)[-_REACH:]):
            if word in ".;:!?\n":
                break
            gender = self._gender(word) or (self._gender(word[:-1]) if word[-1] in "sx" else "")
            if gender:
                return self._agree[form][gender == "f"]
        return None


def _key(match: re.Match[str]) -> str:
    return " ".join(match.group().split())


def _full(patterns: list[str] | None, plain: bool) -> re.Pattern[str]:
    """Any of ``patterns`` as a whole word; ``plain``: without accents."""
    joined = "|".join(patterns or ("(?!)",))
    return re.compile(rf"(?:{fold_pattern(joined) if plain else joined})\Z")


def fold_pattern(pattern: str) -> str:
    """``pattern`` without accents; classes such as \\W keep their case."""
    return "".join(sign if sign.isascii() else fold(sign) for sign in pattern)


def _as_written(word: str, old: str) -> str:
    """``word`` in the capitals of ``old``."""
    if old.isupper() and len(old) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if old[:1].isupper() else word
