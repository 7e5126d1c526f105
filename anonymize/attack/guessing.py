"""Surrogate guessing: does a surrogate tell its original? Pairs come from laying safe and original texts side by side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from typing import Any

from rapidfuzz.distance import OSA

from anonymize.attack.chance import binomial_tail, correlation
from anonymize.attack.originals import Case
from anonymize.attack.survival import Survival
from anonymize.text import View, words_of

_VOWELS = frozenset("aeiouy")
_CLOSE = 0.7  # least similarity (1 - OSA distance / longer length) of two names that are close
_RANKS = 50


@dataclass(frozen=True)
class Pair:
    """A name and the surrogate that stands for it in one patient's reports, folded."""

    patient: str
    original: str
    surrogate: str
    group: str = ""  # given names by sex, surnames, staff: each has its own sounds


def pairs_of(case: Case, survival: Survival) -> set[Pair]:
    """Names of the patient and of staff with the words that took their place."""
    values = survival.values(case)
    given = {word for report in case.originals for word in words_of(report.identity.given_name)}
    sex = next((report.identity.sex for report in case.originals), "")
    found: set[Pair] = set()
    for number, original in case.linked.items():
        source = [token.folded for token in View(original.text).tokens]
        safe = [token.folded for token in View(case.safe[number].text).tokens]
        for kind, i1, i2, j1, j2 in SequenceMatcher(None, source, safe, autojunk=False).get_opcodes():
            if kind != "replace" or i2 - i1 != j2 - j1:
                continue
            for old, new in zip(source[i1:i2], safe[j1:j2], strict=True):
                if old in values.words and len(old) > 2 and len(new) > 2 and new.isalpha() and old != new:
                    group = f"given {sex}" if old in given else "surname" if old in values.names else "staff"
                    found.add(Pair(case.patient, old, new, group))
    return found


def guessing(pairs: Iterable[Pair]) -> dict[str, Any]:
    """How far surrogates give their originals away.

    Returns:
        pairs; close (count); first_letter with expected count and p, given that a vowel stays a vowel (elision needs
        it); length_correlation; same_name (pairs of patients who share a name: shared surrogates, expected from pairs
        with other names of the same sound, p); rank (of the commonest names, how many have the surrogate of equal
        rank, and how many a random matching has).
    """
    pairs = sorted(set(pairs), key=lambda pair: (pair.patient, pair.original, pair.surrogate))
    if not pairs:
        return {"pairs": 0}
    close = sum(OSA.normalized_similarity(p.original, p.surrogate) >= _CLOSE for p in pairs)
    return {
        "pairs": len(pairs),
        "close": close,
        "first_letter": _first_letters(pairs),
        "length_correlation": round(
            correlation([float(len(p.original)) for p in pairs], [float(len(p.surrogate)) for p in pairs]), 3
        ),
        "same_name": _same_names(pairs),
        "rank": _ranks(pairs),
    }


def _first_letters(pairs: list[Pair]) -> dict[str, Any]:
    by_class: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        by_class[_sound(pair.original)][pair.surrogate[0]] += 1
    expected = 0.0
    for pair in pairs:
        letters = by_class[_sound(pair.original)]
        expected += letters[pair.original[0]] / letters.total()
    hits = sum(pair.original[0] == pair.surrogate[0] for pair in pairs)
    return {
        "equal": hits,
        "expected": round(expected, 1),
        "p": round(binomial_tail(hits, len(pairs), expected / len(pairs)), 4),
    }


def _same_names(pairs: list[Pair]) -> dict[str, Any]:
    held: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for pair in pairs:
        if pair.group != "staff":
            key = (pair.group, _sound(pair.original), pair.original)
            held[key].setdefault(pair.patient, pair.surrogate)
    # of two patients whose names differ but sound of a kind, the share with equal surrogates is chance
    sounds: dict[tuple[str, str], list[Counter[str]]] = defaultdict(list)
    for (group, vowel, _), surrogates in held.items():
        sounds[group, vowel].append(Counter(surrogates.values()))
    by_chance = {sound: _shared(counters) for sound, counters in sounds.items()}
    trials = equal = 0
    expected = 0.0
    for (group, vowel, _), surrogates in held.items():
        several = sorted(surrogates.items())[:200]
        tried = len(several) * (len(several) - 1) // 2
        trials += tried
        expected += tried * by_chance[group, vowel]
        equal += sum(a == b for (_, a), (_, b) in combinations(several, 2))
    return {
        "patient_pairs": trials,
        "equal_surrogate": equal,
        "expected": round(expected, 2),
        "p": round(binomial_tail(equal, trials, expected / trials), 4) if trials else 1.0,
    }


def _sound(word: str) -> str:
    """What a surrogate keeps of a first letter, for the sake of elision."""
    return "h" if word[0] == "h" else "vowel" if word[0] in _VOWELS else "consonant"


def _shared(counters: list[Counter[str]]) -> float:
    """Share of pairs of draws from two different counters that are equal."""
    total = sum(counters, Counter())
    whole = total.total() ** 2 - sum(counter.total() ** 2 for counter in counters)
    within = sum(count * count for counter in counters for count in counter.values())
    return (sum(count * count for count in total.values()) - within) / whole if whole else 0.0


def _ranks(pairs: list[Pair]) -> dict[str, Any]:
    originals = Counter(pair.original for pair in pairs)
    surrogates = Counter(pair.surrogate for pair in pairs)
    truth = {(pair.original, pair.surrogate) for pair in pairs}
    names = [name for name, _ in sorted(originals.items(), key=lambda item: (-item[1], item[0]))[:_RANKS]]
    guesses = [name for name, _ in sorted(surrogates.items(), key=lambda item: (-item[1], item[0]))[:_RANKS]]
    hits = sum(guess in truth for guess in zip(names, guesses, strict=False))
    likely = sum((name, guess) in truth for name in names for guess in guesses) / max(1, max(len(names), len(guesses)))
    return {"tried": min(len(names), len(guesses)), "right": hits, "expected": round(likely, 1)}
