"""Labelled text from a language pack's ``templates.yaml``. The format is described in docs/train-ner.md.

Every draw comes from one generator, so that a seed gives the same documents everywhere. Names are dealt to the three
splits by a hash of their folded form: training, tuning and test share none.
"""

from __future__ import annotations

import hashlib
import random
import re
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, Literal

from anonymize.config import ConfigError
from anonymize.languages import Pack
from anonymize.ner.lexicon import read_names
from anonymize.report import KINDS
from anonymize.text import fold

Split = Literal["train", "tune", "test"]
_SLOT = re.compile(
    r"\{\{|\}\}|\{(?:(?P<kind>[a-z_]+)=)?(?P<name>[A-Za-z_][\w]*)(?P<arguments>(?::[\w\-]+)*)"
    r"(?P<case>[\^~!])?(?:\?(?P<chance>[\d.]+))?\}|(?P<bad>[{}])"
)
_DEPTH = 24
_ENDINGS = ("com", "org", "net", "eu", "fr", "be", "ch", "de", "es", "nl", "it")


@dataclass(frozen=True)
class Labelled:
    """A generated document and what identifies in it: ``(start, end, kind)``, in order, without overlaps."""

    text: str
    spans: tuple[tuple[int, int, str], ...] = field(default=())


@dataclass(frozen=True)
class _Choice:
    """Templates of one rule with their cumulative weights, parsed into literals and slots."""

    bounds: tuple[float, ...]
    templates: tuple[tuple[str | re.Match[str], ...], ...]


class Grammar:
    """Expands the templates of a pack.

    Args:
        pack: with the topic ``templates`` (keys ``documents`` and ``rules``).
        split: which third of the names to draw from.

    Raises:
        ConfigError: a template does not parse or names a rule that does not exist.
    """

    def __init__(self, pack: Pack, split: Split = "train") -> None:
        topic = pack["templates"]
        self._pack = pack
        self._atoms = Atoms(pack, split)
        self._rules = {name: self._choice(name, entries) for name, entries in topic["rules"].items()}
        self._documents = self._choice("documents", [[weight, "{" + name + "}"] for weight, name in topic["documents"]])
        self.check()

    def check(self) -> None:
        """Every slot names a rule or an atom and every label is a kind."""
        for name, choice in {**self._rules, "documents": self._documents}.items():
            for slot in (piece for template in choice.templates for piece in template if not isinstance(piece, str)):
                if slot["kind"] and slot["kind"] not in KINDS:
                    raise ConfigError(
                        f"templates.yaml, rule {name}: '{slot['kind']}' is no kind; there are {', '.join(KINDS)}"
                    )
                if slot["name"] not in self._rules and slot["name"] not in self._atoms.names:
                    raise ConfigError(f"templates.yaml, rule {name}: there is no rule or atom '{slot['name']}'")

    def documents(self, count: int, seed: int) -> Iterator[Labelled]:
        """``count`` documents."""
        for index in range(count):
            yield self.document(random.Random(f"{seed} {index}"))

    def document(self, draw: random.Random) -> Labelled:
        """One document."""
        pieces: list[str] = []
        spans: list[tuple[int, int, str]] = []
        self._expand(self._documents, draw, pieces, spans, "", "", 0)
        text = "".join(pieces)
        return Labelled(text, tuple(_trimmed(text, spans)))

    def _choice(self, name: str, entries: Any) -> _Choice:
        if not isinstance(entries, list) or not entries:
            raise ConfigError(f"templates.yaml, rule {name}: needs a list of templates")
        weights, templates = [], []
        for entry in entries:
            weight, template = entry if isinstance(entry, list) else (1.0, entry)
            weights.append(float(weight))
            templates.append(self._parse(name, str(template)))
        return _Choice(tuple(accumulate(weights)), tuple(templates))

    def _parse(self, rule: str, template: str) -> tuple[str | re.Match[str], ...]:
        pieces: list[str | re.Match[str]] = []
        position = 0
        for match in _SLOT.finditer(template):
            if match["bad"]:
                raise ConfigError(
                    f"templates.yaml, rule {rule}: a brace is not part of a slot near character {match.start()}"
                )
            pieces.append(template[position : match.start()])
            pieces.append(match.group()[0] if match.group() in ("{{", "}}") else match)
            position = match.end()
        pieces.append(template[position:])
        return tuple(piece for piece in pieces if piece)

    def _expand(
        self,
        choice: _Choice,
        draw: random.Random,
        pieces: list[str],
        spans: list[tuple[int, int, str]],
        case: str,
        label: str,
        depth: int,
    ) -> None:
        if depth > _DEPTH:
            raise ConfigError("templates.yaml: rules call each other without end")
        template = choice.templates[bisect(choice.bounds, draw.random() * choice.bounds[-1])]
        for piece in template:
            if isinstance(piece, str):
                pieces.append(_cased(piece, case))
                continue
            if piece["chance"] and draw.random() >= float(piece["chance"]):
                continue
            inner_case = piece["case"] or case
            kind = "" if label else piece["kind"] or ""
            start = sum(map(len, pieces)) if kind else 0
            rule = self._rules.get(piece["name"])
            if rule is None:
                pieces.append(_cased(self._atoms.draw(piece["name"], piece["arguments"], draw), inner_case))
            else:
                self._expand(rule, draw, pieces, spans, inner_case, label or kind, depth + 1)
            if kind:
                spans.append((start, sum(map(len, pieces)), kind))


class Atoms:
    """What templates may draw without a rule: names, numbers, dates."""

    def __init__(self, pack: Pack, split: Split) -> None:
        self._pack = pack
        self._lists = _name_lists(pack, split)
        self._eponyms = sorted(pack.words("protected"))
        self._clinical = sorted(pack.words("clinical"))
        self._months: list[list[str]] = pack["pack"]["months"]
        self._simple: dict[str, Callable[[random.Random], str]] = {
            "given_f": lambda draw: self._name("f", draw),
            "given_m": lambda draw: self._name("m", draw),
            "given": lambda draw: self._name(draw.choice("fm"), draw),
            "surname": lambda draw: self._name("s", draw),
            "town": lambda draw: self._name("t", draw),
            "date": lambda draw: self._date(draw, 1990, 2025),
            "birth": lambda draw: self._date(draw, 1920, 2024),
            "time": lambda draw: draw.choice(("{h:02d}:{m:02d}", "{h}h{m:02d}", "{h}:{m:02d}")).format(
                h=draw.randrange(24), m=draw.randrange(60)
            ),
            "phone": self._phone,
            "email": self._email,
            "url": lambda draw: f"www.{_letters(draw, 7).lower()}.{draw.choice(_ENDINGS)}",
            "postcode": lambda draw: f"{draw.randrange(1000, 99999):05d}",
            "eponym": lambda draw: draw.choice(self._eponyms),
            "clinical": lambda draw: draw.choice(self._clinical),
        }
        self.names = frozenset(self._simple) | {"int", "digits", "letters", "hex", "age"}

    def draw(self, name: str, arguments: str, draw: random.Random) -> str:
        """One value of the atom ``name``; ``arguments`` as written, ``:1:31``."""
        values = [value for value in arguments.split(":") if value]
        if name in ("int", "age"):
            low, high = (int(value) for value in values) if len(values) == 2 else (0, 95)
            return str(draw.randint(low, high))
        if name in ("digits", "letters", "hex"):
            length = int(values[0]) if values else 5
            letters = {"digits": "0123456789", "letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "hex": "0123456789abcdef"}[name]
            return "".join(draw.choices(letters, k=length))
        return self._simple[name](draw)

    def _name(self, kind: str, draw: random.Random) -> str:
        forms, bounds = self._lists[kind]
        return forms[bisect(bounds, draw.random() * bounds[-1])]

    def _date(self, draw: random.Random, first: int, last: int) -> str:
        day = date(first, 1, 1) + timedelta(draw.randrange(365 * (last - first + 1)))
        names = self._months[day.month - 1]
        form = draw.random()
        if form < 0.55:
            separator = draw.choice("//..-")
            year = f"{day.year}" if draw.random() < 0.8 else f"{day:%y}"
            return f"{day.day:02d}{separator}{day.month:02d}{separator}{year}"
        if form < 0.65:
            return day.isoformat()
        if form < 0.7:
            return f"{day:%Y%m%d}"
        month = names[0] if draw.random() < 0.8 else draw.choice(names)
        return f"{day.day} {month} {day.year}" if form < 0.95 else f"{month} {day.year}"

    def _email(self, draw: random.Random) -> str:
        return f"{fold(self._name('s', draw)).replace(' ', '')}@{_letters(draw, 6).lower()}.{draw.choice(_ENDINGS)}"

    def _phone(self, draw: random.Random) -> str:
        separator = draw.choice((" ", ".", "-", ""))
        start = draw.choice(("0", "+33 ", "+32 ", "+41 ", "+49 ", "+34 ", "00 "))
        return start + separator.join(f"{draw.randrange(100):02d}" for _ in range(draw.choice((4, 5))))


def split_of(form: str) -> Split:
    """Which split a name belongs to: 80 % train, 10 % tune, 10 % test, by a hash of its folded form."""
    bucket = hashlib.blake2b(fold(form).encode(), digest_size=2).digest()[0] % 10
    return "tune" if bucket == 0 else "test" if bucket == 1 else "train"


def _name_lists(pack: Pack, split: Split) -> dict[str, tuple[list[str], list[float]]]:
    """By kind: forms and cumulative weights. Names of the pack's own regions have nine tenths of the weight."""
    settings = pack["templates"].get("names", {})
    languages = set(settings.get("languages", [pack.language]))
    countries = set(settings.get("countries", pack["pack"]["phone_regions"]))
    collected: dict[str, dict[str, float]] = {kind: {} for kind in "fmst"}
    for name in read_names():
        if split_of(name.form) != split or len(name.form) < 3:
            continue
        home = name.region in (countries if name.kind == "t" else languages)
        # common names are drawn more often, but rare ones make the bulk of what a hospital sees
        weight = {1: 4.0, 2: 2.0, 3: 1.0}[name.rank] * (1.0 if home else 0.02)
        forms = collected[name.kind]
        forms[name.form] = max(forms.get(name.form, 0.0), weight)
    return {kind: (list(forms), list(accumulate(forms.values()))) for kind, forms in collected.items()}


def _cased(text: str, case: str) -> str:
    if case == "^":
        return (
            text.upper()
            if len(text.upper()) == len(text)
            else "".join(c.upper() if len(c.upper()) == 1 else c for c in text)
        )
    if case == "~":
        return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
    if case == "!":
        return re.sub(r"[^\W\d_]+", lambda match: match.group()[0].upper() + match.group()[1:].lower(), text)
    return text


def _letters(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=count))


def _trimmed(text: str, spans: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    for start, end, kind in sorted(spans):
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if start < end:
            yield start, end, kind
