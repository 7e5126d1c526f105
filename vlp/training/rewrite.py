"""A text made false of its study, or true of its study's mirror image, by the words of a language pack (rewrite.yaml).

Negation: "Fracture du radius." against "Pas de fracture du radius.". Sides: "poignet gauche" against "poignet droit".
Text is matched in lower case without accents at unchanged offsets; what is not rewritten stays as it was written.
What counts as present or absent is what the label miner reads, before and after: a rewriting that the miner does not
read as the contrary is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from anonymize.config import ConfigError
from anonymize.labels.miner import miner
from anonymize.labels.row import Mention, Value
from anonymize.labels.scope import compile_patterns
from anonymize.languages import Pack, load_pack
from anonymize.sections import SectionSpan
from anonymize.text import fold
from vlp.training.sides import Sides
from vlp.training.texts import split_statements

_CONTRARY = {Value.PRESENT: Value.ABSENT, Value.ABSENT: Value.PRESENT}


@dataclass(frozen=True)
class Facts:
    """What a whole report says, against which a rewritten statement must be false."""

    values: Mapping[str, Value]  # by label; uncertain and old findings are left out
    side: str  # the one side that the report names, "" for none, both or one that is not clear


@dataclass(frozen=True)
class Rewriting:
    """One way to turn a statement into its contrary."""

    text: str
    kind: Literal["negation", "side"]
    label: str  # of the miner; "" for a side
    was: Value | str  # what must be true of the study for ``text`` to be false: a value, or the side


@dataclass(frozen=True)
class Contrary:
    """A text that is false of its study in one thing.

    Attributes:
        text: the whole of it.
        statement, rewriting: the first statement that was turned, and into what.
    """

    text: str
    statement: str
    rewriting: Rewriting

    @property
    def kind(self) -> Literal["negation", "side"]:
        """What was turned."""
        return self.rewriting.kind


@dataclass(frozen=True)
class _Rule:
    """What stands before a finding, and what stands there in the contrary."""

    before: re.Pattern[str]
    write: str


class Rewriter:
    """Rewrites the reports of one language. Build it once per pack: :func:`rewriter`."""

    def __init__(self, pack: Pack) -> None:
        """Raises ConfigError: the pack has no labels.yaml or rewrite.yaml, or one of their expressions does not compile."""
        topic = pack["rewrite"]
        try:
            self._rules = {
                Value.PRESENT: [_Rule(_whole(rule["before"]), rule["write"]) for rule in topic["negate"]],
                Value.ABSENT: [_Rule(_whole(rule["before"]), rule["write"]) for rule in topic["affirm"]],
            }
            self._joins = [(_loose(pattern), text) for pattern, text in topic.get("affirm_joins") or ()]
            self._opposites = [(_word(a), a, _word(b), b) for a, b in topic.get("opposites") or ()]
            self._elide = {name: tuple(forms) for name, forms in (topic.get("elisions") or {}).items()}
            self._vowels = re.compile(topic.get("vowels") or r"(?!)")
            self._articles: dict[str, str] = dict(topic.get("articles") or {})
            self._capital_nouns = bool(topic.get("capital_nouns", False))
            self.sides = Sides(topic["sides"])
        except (KeyError, TypeError, ValueError, re.error) as error:
            name = type(error).__name__
            raise ConfigError(f"language pack '{pack.language}', rewrite.yaml: {name}: {error}") from None
        self._miner = miner(str(pack.folder))
        cues = pack["labels"]["negation"]
        self._negation = compile_patterns([*cues["before"], *cues["after"]])
        self.candidates = lru_cache(maxsize=20_000)(self._candidates)  # reports repeat themselves

    def facts(self, report: str) -> Facts:
        """What ``report`` (the whole of it) says."""
        found = self._miner.read(report)
        values = {name: m.value for name, m in found.items() if m.value in _CONTRARY and not m.qualifiers.history}
        return Facts(values, self.sides.only(report))

    def false(self, text: str, facts: Facts, rng: np.random.Generator) -> str:
        """``text`` made false of the study in one thing, wherever it says it; "" where nothing can be turned.

        Negation and sides are chosen with equal chances where both are possible.
        """
        kinds: dict[str, list[str]] = {}
        for contrary in self.contraries(text, facts):
            kinds.setdefault(contrary.kind, []).append(contrary.text)
        if not kinds:
            return ""
        options = kinds[sorted(kinds)[int(rng.integers(len(kinds)))]]
        return options[int(rng.integers(len(options)))]

    def contraries(self, text: str, facts: Facts) -> list[Contrary]:
        """``text`` with every statement of one finding, or of the side, turned: one for each of which it speaks.

        All of them, because a report whose conclusion contradicts its results is known to be false without an image.
        """
        turned: dict[tuple[str, str], list[tuple[int, int, Rewriting]]] = {}
        for found in self._falsehoods(text, facts):
            turned.setdefault((found[2].kind, found[2].label), []).append(found)
        return [
            Contrary(_replaced(text, items), text[items[0][0] : items[0][1]], items[0][2]) for items in turned.values()
        ]

    def _falsehoods(self, text: str, facts: Facts) -> Iterator[tuple[int, int, Rewriting]]:
        """Every statement of ``text`` (its start and end) with a contrary that is false of the study, in order."""
        for start, end in split_statements(text):
            for rewriting in self.candidates(text[start:end]):
                true = facts.side if rewriting.kind == "side" else facts.values.get(rewriting.label)
                if true and true == rewriting.was:
                    yield start, end, rewriting

    def mirror(self, text: str) -> str | None:
        """``text`` as it is true of the mirror image: every side swapped. None where it names a side that cannot be."""
        return self.sides.swap(text)

    def _candidates(self, statement: str) -> tuple[Rewriting, ...]:
        mentions = self._mentions(statement)
        found = [rewriting for mention in mentions for rewriting in self._contraries(statement, mention)]
        side = self.sides.only(statement)
        certain = all(m.value is Value.PRESENT for m in mentions) and not self.sides.is_normal(statement)
        if side and certain and not self._negation.search(fold(statement)):
            swapped = self.sides.swap(statement)
            if swapped is not None:
                found.append(Rewriting(swapped, "side", "", side))
        return tuple(dict.fromkeys(found))

    def _mentions(self, statement: str) -> list[Mention]:
        section = SectionSpan("results", 0, len(statement))
        return self._miner.mentions(statement, [section])

    def _contraries(self, statement: str, mention: Mention) -> Iterator[Rewriting]:
        if mention.value not in _CONTRARY or mention.qualifiers.history:
            return
        for text in (*self._by_opposite(statement), *self._by_rule(statement, mention)):
            after = [m.value for m in self._mentions(text) if m.label == mention.label]
            if after and all(value is _CONTRARY[mention.value] for value in after):
                yield Rewriting(text, "negation", mention.label, mention.value)
                return

    def _by_rule(self, statement: str, mention: Mention) -> Iterator[str]:
        head, rest = statement[: mention.start], statement[mention.start :]
        folded = fold(head)
        for rule in self._rules[mention.value]:
            match = rule.before.match(folded)
            if match is None:
                continue
            groups = {str(i): head[match.start(i) : match.end(i)] for i in range(1, len(match.groups()) + 1)}
            if mention.value is Value.ABSENT:
                for pattern, joined in self._joins:
                    rest = _substitute(pattern, joined, rest)
            written = self._written(rule.write, groups, rest)
            if written is not None:
                yield _first_letter_like(statement, written)
                return

    def _written(self, write: str, groups: Mapping[str, str], rest: str) -> str | None:
        """``write`` and ``rest`` together: elided, with the article of the noun that follows. None: no article known."""
        noun = rest if self._capital_nouns or rest[:2].isupper() else rest[:1].lower() + rest[1:]
        vowel = self._vowels.match(fold(noun)) is not None
        values = dict(groups)
        for name, forms in self._elide.items():
            values[name] = forms[vowel]
        if "{article}" in write:
            kind = self.sides.kind(noun)
            if kind not in self._articles:
                return None
            values["article"] = self._articles[kind]
        for name, value in values.items():
            write = write.replace(f"{{{name}}}", value)
        return write + noun

    def _by_opposite(self, statement: str) -> Iterator[str]:
        folded = fold(statement)
        for one, one_text, other, other_text in self._opposites:
            for pattern, text in ((one, other_text), (other, one_text)):
                match = pattern.search(folded)
                if match:
                    old = statement[match.start() : match.end()]
                    new = text.upper() if old.isupper() else text[:1].upper() + text[1:] if old[0].isupper() else text
                    yield statement[: match.start()] + new + statement[match.end() :]


@lru_cache(maxsize=16)
def rewriter(language: str) -> Rewriter | None:
    """The rewriter of a language pack; None where there is no such pack, or it has no rewrite.yaml."""
    try:
        pack = load_pack(language)
    except ConfigError:
        return None
    return Rewriter(pack) if "rewrite" in pack and "labels" in pack else None


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})\Z")


def _loose(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(fold(text))}(?!\w)")


def _substitute(pattern: re.Pattern[str], written: str, text: str) -> str:
    """``text`` with what ``pattern`` matches in its folded form replaced by ``written``."""
    pieces: list[str] = []
    done = 0
    for match in pattern.finditer(fold(text)):
        pieces += [text[done : match.start()], written]
        done = match.end()
    return "".join([*pieces, text[done:]])


def _replaced(text: str, items: Sequence[tuple[int, int, Rewriting]]) -> str:
    """``text`` with each of ``items`` in place of what stands there; the first of those for one place."""
    pieces: list[str] = []
    done = 0
    for start, end, rewriting in items:
        if start >= done:
            pieces += [text[done:start], rewriting.text]
            done = end
    return "".join([*pieces, text[done:]])


def _first_letter_like(model: str, text: str) -> str:
    """``text`` with a capital as its first letter where ``model`` has one (a bullet or number may stand before it); all
    capitals where ``model`` is."""
    if model.isupper() and len(model) > 3:
        return text.upper()
    if next(filter(str.isalpha, model), "").isupper():
        place = next((i for i, letter in enumerate(text) if letter.isalpha()), 0)
        return text[:place] + text[place : place + 1].upper() + text[place + 1 :]
    return text


def rewritable(languages: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of ``languages``, those that can be rewritten and those that cannot."""
    known = sorted({language for language in languages if language and rewriter(language) is not None})
    return known, sorted(set(languages) - set(known))
