"""Hide in plain sight: values of the same form instead of real ones, the same within a patient, new for the next one.

Hiding what detection missed among look-alikes halves what a reader can find (Carrell et al. 2013, JAMIA 20:342).
Everything is drawn from the secret, the patient and the folded original: equal in every run and every worker.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from anonymize.dates import forms_of, shift
from anonymize.keys import Keys
from anonymize.languages import Pack
from anonymize.report import Gazetteer, Identity, Span
from anonymize.text import collapse, fold

CAP_MONTHS = 1068
_RUN = re.compile(r"[^\W\d_]+")
_VOWELS = frozenset("aeiouyh")


@dataclass(frozen=True)
class Person:
    """What the surrogates of one report depend on."""

    identity: Identity
    offset_days: int
    exam_date: str  # ISO, real
    age_months: int | None


class Surrogates:
    """Replacement values of one language.

    ``avoid`` holds the folded real names, towns and streets of the export: no surrogate word equals one of them.
    """

    def __init__(self, pack: Pack, keys: Keys, gazetteer: Gazetteer, avoid: Collection[str] = frozenset()) -> None:
        self._keys = keys
        self._syllables = pack["surrogates"]
        self._tags: dict[str, str] = pack["pack"]["tags"]
        self._forms = forms_of(pack)
        self._given_names = gazetteer.given_names
        self._avoid = avoid
        names, places, institutions = (pack["detectors"][topic] for topic in ("names", "places", "institutions"))
        self._particles = frozenset(fold(str(word)) for word in names["particles"])
        # titles that stand inside spans of names stay (``names.title_included``)
        titles = names["titles"] if names.get("title_included") else ()
        self._titles = frozenset(part for title in titles for part in re.split(r"[ .]", fold(str(title))) if part)
        offices = [*places["post_office"]]
        self._keep_place = self._particles | frozenset(
            collapse(part)
            for word in [*places["streets"], *places["number_suffixes"], *offices]
            for part in str(word).split()
        )
        self._keep_institution = self._particles | frozenset(
            collapse(part)
            for word in [*institutions["heads"], *institutions["connectors"], *institutions["stop"]]
            for part in re.split(r"[ ']", str(word))
        )
        self._word = lru_cache(maxsize=20_000)(self._draw_word)

    def replace(self, span: Span, text: str, person: Person, action: str) -> str:
        """What stands instead of ``text``, which ``span`` found."""
        if action == "keep":
            return text
        if action == "delete":
            return ""
        if action == "mask":
            return re.sub(r"[^\W_]", "x", text)
        if action == "tag":
            return self.tag(span.kind)
        if span.kind == "age":
            return str(CAP_MONTHS // 12)
        if span.kind in ("date", "birth_date"):
            moved = self._date(text, span.kind, person)
            if action == "generalise" and moved:
                year = re.search(r"\d{4}", moved)
                return year.group() if year else self.tag(span.kind)
            return moved or self.tag(span.kind)
        if action == "generalise":
            return self.tag(span.kind)
        return self._look_alike(span.kind, text, person)

    def tag(self, kind: str) -> str:
        """The tag of a kind in the pack's language, such as ``[NOM]``."""
        return f"[{self._tags[kind]}]"

    def _look_alike(self, kind: str, text: str, person: Person) -> str:
        patient = person.identity.patient_id
        if kind in ("name", "initials"):
            return self._name(text, person)
        if kind == "town":
            kept = [match for match in _RUN.finditer(text) if fold(match.group()) in self._keep_place - self._particles]
            stop = kept[0].start() if kept else len(text)
            new = _cased(self._word("place", patient, collapse(text[:stop])), text[:stop].strip())
            return new + (" " + self._digits(text[stop:], kind, patient) if kept else "")
        if kind in ("address", "institution"):
            keep = self._keep_place if kind == "address" else self._keep_institution
            worded = _RUN.sub(lambda match: self._unless(keep, match.group(), patient), text)
            return self._digits(worded, kind, patient)
        draw = self._keys.random(f"surrogate {kind}", f"{patient}\0{collapse(text)}")
        if kind == "email":
            return f"{''.join(draw.choices('bcdfghjklmnpqrstvwz', k=8))}@{self._syllables['mail_host']}"
        if kind == "url":
            return f"https://{''.join(draw.choices('bcdfghjklmnpqrstvwz', k=8))}.invalid"
        return self._number(text, kind, draw)

    def _unless(self, keep: frozenset[str], word: str, patient: str) -> str:
        return word if fold(word) in keep or len(word) == 1 else _cased(self._word("place", patient, fold(word)), word)

    def _name(self, text: str, person: Person) -> str:
        runs = _RUN.findall(text)
        if len(runs) >= 3 and all(len(run) == 1 for run in runs):
            return _cased(self._name_word(collapse(text), person), text)
        last = text.rstrip().rfind(runs[-1]) if runs else 0
        return _RUN.sub(lambda match: self._name_part(match.group(), person, match.start() == last), text)

    def _name_part(self, word: str, person: Person, is_last: bool) -> str:
        """A particle stays, unless it ends the name (``NGUYEN VAN``)."""
        folded = fold(word)
        if folded in self._titles and not is_last:
            return word
        if len(word) == 1:
            if folded in self._particles and word.islower():
                return word
            full = [name for name in re.findall(r"[^\W\d_]+", fold(person.identity.given_name)) if name[0] == folded]
            return _cased(self._name_word(full[0] if full else folded, person)[0], word)
        if folded in self._particles and not (is_last and len(folded) > 2):
            return word
        return _cased(self._name_word(folded, person), word)

    def _name_word(self, folded: str, person: Person) -> str:
        own_given = set(_RUN.findall(fold(person.identity.given_name)))
        kind = "surname"
        if folded in own_given:
            kind = {"F": "given_f", "M": "given_m"}.get(person.identity.sex, "given_f")
        elif folded in self._given_names:
            kind = "given_f" if folded.endswith(("a", "e")) else "given_m"
        return self._word(kind, person.identity.patient_id, folded)

    def _draw_word(self, kind: str, patient: str, folded: str) -> str:
        parts = self._syllables[kind]
        starts = parts["vowel" if folded[:1] in _VOWELS else "consonant"]
        draw = self._keys.random(f"surrogate {kind}", f"{patient}\0{folded}")
        for attempt in range(200):
            middle = "".join(draw.choice(parts["middle"]) for _ in range(attempt // 40))
            word = f"{draw.choice(starts)}{middle}{draw.choice(parts['end'])}"
            if fold(word) not in self._avoid and fold(word) != folded:
                return word
        raise ValueError(f"the language pack's syllables for '{kind}' are too few")

    def _date(self, text: str, kind: str, person: Person) -> str | None:
        written = self._forms.parse(text)
        if written is None:
            return None
        birth = person.identity.birth_date
        is_birth = kind == "birth_date" or (written.whole is not None and written.whole.isoformat() == birth)
        if is_birth and person.age_months is not None and person.age_months > CAP_MONTHS and person.exam_date:
            exam = date.fromisoformat(person.exam_date) + timedelta(person.offset_days)
            draw = self._keys.random("surrogate birth", person.identity.patient_id)
            return written.render(exam - timedelta(days=round(CAP_MONTHS * 30.4375) + draw.randrange(1, 360)))
        context = int(person.exam_date[:4]) if person.exam_date else None
        if is_birth and birth:
            context = int(birth[:4])
        return shift(written, person.offset_days, context)

    def _digits(self, text: str, kind: str, patient: str) -> str:
        draw = self._keys.random(f"surrogate {kind} number", f"{patient}\0{collapse(text)}")
        return re.sub(r"\d+", lambda match: _other(match.group(), draw), text)

    @staticmethod
    def _number(text: str, kind: str, draw: random.Random) -> str:
        """Another number of the same form. Phones, postcodes, national numbers start with zeros: no real one does."""
        out, seen = [], 0
        zeros = {"phone": 3, "postcode": 2, "national_id": 3, "professional_id": 2}.get(kind, 0)
        for char in text:
            if char.isdigit():
                out.append("0" if seen < zeros else str(draw.randrange(10)))
                seen += 1
            elif char.isalpha():
                letter = draw.choice("dfiqu" if kind == "postcode" else "abcdefghjklmnpqrstuvwxyz")
                out.append(letter.upper() if char.isupper() else letter)
            else:
                out.append(char)
        new = "".join(out)
        if new == text and seen:
            return "".join(str((int(char) + 1) % 10) if char.isdigit() else char for char in text)
        return new


def _other(digits: str, draw: random.Random) -> str:
    first = draw.choice([str(digit) for digit in range(1, 10) if str(digit) != digits[0]])
    return first + "".join(str(draw.randrange(10)) for _ in digits[1:])


def _cased(word: str, like: str) -> str:
    letters = [char for char in like if char.isalpha()]
    if len(letters) > 1 and all(map(str.isupper, letters)):
        return word.upper()
    if letters and all(map(str.islower, letters)):
        return word.lower()
    return word.upper() if len(word) == 1 else word[0].upper() + word[1:].lower()
