"""A small text grammar, interpreted from the ``rules`` of a language pack's phantom.yaml.

A rule is a list of wordings, one of which is drawn::

    fracture.buckle:
      - "fracture en motte de beurre <bone.{bone}>[| sans déplacement]"
      - "3* fracture sous-périostée <bone.{bone}>"
      - "~ tassement cortical <bone.{bone}>"

``{slot}`` is a value of the context, ``{slot:upper}`` / ``:capital`` / ``:initial`` its form, ``<rule>`` another rule
(slots may stand in its name), ``[a|b|]`` a free choice. ``3*`` is a weight. ``~`` marks a held-out wording: held-out
patients use these where a rule has any, all others never do. A wording that needs a slot or a rule that does not exist
here is not drawn. ``rule@style`` takes the place of ``rule`` in that style.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from anonymize.config import ConfigError
from vlp.phantom.marked import Marked, Phi, Piece, upper_keeping_length

Value = str | Phi | Marked | Callable[[], "str | Phi | Marked"]
Context = Mapping[str, Value]


@dataclass(frozen=True)
class _Slot:
    name: str
    form: str


@dataclass(frozen=True)
class _Rule:
    name: tuple[Any, ...]


@dataclass(frozen=True)
class _Choice:
    options: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Wording:
    """One way to put it."""

    template: tuple[Any, ...]
    weight: float
    held_out: bool
    source: str


class Grammar:
    """The rules of one language. Raises :class:`ConfigError` for a rule that is not there or cannot be said."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        self._rules: dict[str, tuple[Wording, ...]] = {
            name: tuple(_wording(item) for item in items) for name, items in _flatten(rules)
        }

    def names(self) -> list[str]:
        """All rules' names."""
        return list(self._rules)

    def wordings(self, name: str) -> tuple[Wording, ...]:
        """The wordings of a rule; none where it does not exist."""
        return self._rules.get(name, ())

    def say(self, rule: str, context: Context, rng: random.Random, style: str = "", held_out: bool = False) -> Marked:
        """One wording of ``rule`` with its slots filled."""
        return Marked(_Speaker(self, context, rng, style, held_out).rule(rule))

    def say_each(
        self, rule: str, context: Context, rng: random.Random, style: str = "", held_out: bool = False
    ) -> Iterator[Marked]:
        """Every wording of ``rule`` that fits, each once, in random order."""
        speaker = _Speaker(self, context, rng, style, held_out)
        pool = speaker.pool(rule)
        for wording in rng.sample(pool, k=len(pool)):
            yield Marked(speaker.expand(wording.template))


class _Speaker:
    """One utterance: where it draws from, and what for."""

    def __init__(self, grammar: Grammar, context: Context, rng: random.Random, style: str, held_out: bool) -> None:
        self.grammar, self.context, self.rng, self.style, self.held_out = grammar, context, rng, style, held_out

    def pool(self, name: str) -> list[Wording]:
        wordings = self.grammar.wordings(f"{name}@{self.style}") or self.grammar.wordings(name)
        possible = [w for w in wordings if self.can(w.template)]
        pool = [w for w in possible if w.held_out == self.held_out] or possible
        if not pool:
            raise ConfigError(f"phantom.yaml: the rule '{name}' has no wording that fits")
        return pool

    def rule(self, name: str) -> list[Piece]:
        pool = self.pool(name)
        return self.expand(self.rng.choices(pool, weights=[w.weight for w in pool])[0].template)

    def expand(self, template: tuple[Any, ...]) -> list[Piece]:
        pieces: list[Piece] = []
        for node in template:
            if isinstance(node, str):
                pieces.append(node)
            elif isinstance(node, _Slot):
                pieces += self.slot(node)
            elif isinstance(node, _Rule):
                pieces += self.rule(self.name(node))
            else:
                pieces += self.expand(self.rng.choice([o for o in node.options if self.can(o)]))
        return pieces

    def slot(self, node: _Slot) -> list[Piece]:
        value = self.context[node.name]
        value = value() if callable(value) else value
        if isinstance(value, Marked):
            return list(value.pieces)
        if isinstance(value, Phi):
            return [Phi(_form(value.text, node.form), value.label, value.value, value.altered)]
        return [_form(value, node.form)]

    def name(self, node: _Rule) -> str:
        return Marked(self.expand(node.name)).text

    def can(self, template: tuple[Any, ...]) -> bool:
        """Whether every slot and rule that the template needs exists."""
        for node in template:
            if isinstance(node, _Slot) and node.name not in self.context:
                return False
            if isinstance(node, _Rule):
                if not self.can(node.name):
                    return False
                name = self.name(node)
                if not (self.grammar.wordings(name) or self.grammar.wordings(f"{name}@{self.style}")):
                    return False
            if isinstance(node, _Choice) and not any(self.can(option) for option in node.options):
                return False
        return True


def _form(text: str, form: str) -> str:
    if form == "upper":
        return upper_keeping_length(text)
    if form == "initial":
        return text[:1]
    if form == "capital":
        return text[:1].upper() + text[1:]
    return text


def _flatten(rules: Mapping[str, Any], prefix: str = "") -> list[tuple[str, list[str]]]:
    """Nested mappings as dotted names."""
    flat: list[tuple[str, list[str]]] = []
    for key, value in rules.items():
        if isinstance(value, Mapping):
            flat += _flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value if isinstance(value, list) else [value]))
    return flat


def _wording(source: Any) -> Wording:
    text = str(source)
    held_out = text.startswith("~ ")
    text = text[2:] if held_out else text
    match = re.match(r"(\d+(?:\.\d+)?)\* ", text)
    weight = float(match.group(1)) if match else 1.0
    template, _ = _parse(text[match.end() :] if match else text, 0, "")
    return Wording(template, weight, held_out, str(source))


@lru_cache(maxsize=100_000)
def _parse(text: str, start: int, stops: str) -> tuple[tuple[Any, ...], int]:
    """Nodes of ``text`` from ``start`` up to one of ``stops``, and the place of that stop."""
    nodes: list[Any] = []
    plain, at = "", start
    while at < len(text) and text[at] not in stops:
        letter = text[at]
        if letter in "{<[":
            if plain:
                nodes.append(plain)
            plain = ""
            node, at = _parse_node(text, at)
            nodes.append(node)
        else:
            plain += letter
            at += 1
    if at >= len(text) and stops:
        raise ConfigError(f"phantom.yaml: a bracket is not closed in: {text}")
    if plain:
        nodes.append(plain)
    return tuple(nodes), at


def _parse_node(text: str, at: int) -> tuple[Any, int]:
    if text[at] == "{":
        end = text.find("}", at)
        if end < 0:
            raise ConfigError(f"phantom.yaml: a bracket is not closed in: {text}")
        name, _, form = text[at + 1 : end].partition(":")
        return _Slot(name, form), end + 1
    if text[at] == "<":
        name, end = _parse(text, at + 1, ">")
        return _Rule(name), end + 1
    options = []
    while text[at] != "]":
        option, at = _parse(text, at + 1, "|]")
        options.append(option)
    return _Choice(tuple(options)), at + 1
