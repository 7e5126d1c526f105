"""The French pack: its protected terms stay, the same words as persons' names go, its grammar is broad and sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.report import KINDS, Span
from anonymize.text import fold

_SLOT = re.compile(r"\{(?:(?P<kind>[a-z_]+)=)?(?P<name>[A-Za-z_]\w*)(?::[\w\-:]+)?[\^~!]?(?:\?[\d.]+)?\}")
_ATOMS = {
    *("given_f", "given_m", "given", "surname", "town", "int", "digits", "letters", "hex", "date", "birth", "time"),
    *("age", "phone", "email", "url", "postcode", "eponym", "clinical"),
}
_CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "clinical_damage_fr.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.fixture(scope="module")
def anonymizer() -> Anonymizer:
    return Anonymizer(ReportsConfig(language="fr"), Keys(b"0123456789abcdef0123456789abcdef"))


def covered(spans: list[Span], start: int, end: int) -> int:
    """Characters of the range that some span covers."""
    return sum(any(span.start <= place < span.end for span in spans) for place in range(start, end))


def test_the_set_is_large_enough() -> None:
    assert len(_CASES) >= 150
    assert sum(bool(case.get("names")) for case in _CASES) >= 50


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["text"][:40])
def test_terms_stay_and_names_go(anonymizer: Anonymizer, case: dict[str, Any]) -> None:
    text = case["text"]
    spans = anonymizer.detect(text)
    altered = [text[t["start"] : t["end"]] for t in case["protected"] if covered(spans, t["start"], t["end"])]
    left = [
        text[n["start"] : n["end"]]
        for n in case.get("names", [])
        if covered(spans, n["start"], n["end"]) < len(text[n["start"] : n["end"]].replace(" ", ""))
    ]
    assert (altered, left) == ([], []), spans


def _templates() -> dict[str, list[str]]:
    rules = load_pack("fr")["templates"]["rules"]
    return {name: [e if isinstance(e, str) else e[1] for e in entries] for name, entries in rules.items()}


def test_every_slot_of_the_grammar_names_a_rule_or_atom() -> None:
    rules = _templates()
    wanted = {name for _, name in load_pack("fr")["templates"]["documents"]}
    for entries in rules.values():
        for entry in entries:
            for slot in _SLOT.finditer(entry.replace("{{", "").replace("}}", "")):
                wanted.add(slot["name"])
                assert slot["kind"] is None or slot["kind"] in KINDS, entry
    assert wanted - set(rules) - _ATOMS == set()
    assert set(rules) - wanted == set(), "rules that nothing uses"


def test_labels_do_not_nest() -> None:
    rules = _templates()

    def labelled(name: str, seen: frozenset[str]) -> bool:
        if name not in rules or name in seen:
            return False
        slots = [slot for entry in rules[name] for slot in _SLOT.finditer(entry)]
        return any(slot["kind"] or labelled(slot["name"], seen | {name}) for slot in slots)

    inside = {slot["name"] for es in rules.values() for e in es for slot in _SLOT.finditer(e) if slot["kind"]}
    assert [name for name in inside if labelled(name, frozenset())] == []


def test_text_without_identity_is_plenty_and_holds_no_label() -> None:
    rules = {name: entries for name, entries in _templates().items() if name.startswith("neg_")}
    sentences = {entry for entries in rules.values() for entry in entries}
    assert len(sentences) >= 500
    assert [entry for entry in sentences if any(slot["kind"] for slot in _SLOT.finditer(entry))] == []


def test_word_lists_hold_no_entry_twice() -> None:
    pack = load_pack("fr")
    for name, least in (("protected", 400), ("clinical", 800)):
        words = [fold(word) for word in pack.words(name)]
        assert len(words) >= least
        assert len(words) - len(set(words)) <= len(words) // 50, name  # accented and plain forms of one word
