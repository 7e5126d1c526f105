"""Hide in plain sight: values of the same form instead of real ones, the same within a patient, new for the next one.

Hiding what detection missed among look-alikes halves what a reader can find (Carrell et al. 2013, JAMIA 20:342).
Everything is drawn from the secret, the patient and the folded original: equal in every run and every worker.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache

from rapidfuzz.distance import OSA

from anonymize.dates import DateForms, Written, forms_of, moved, shift
from anonymize.given_names import gender_of
from anonymize.keys import Keys
from anonymize.languages import Pack
from anonymize.report import Gazetteer, Identity, Span
from anonymize.surrogate_numbers import network_address, number, other, phone
from anonymize.text import collapse, fold, folded

CAP_MONTHS = 1068
_RUN = re.compile(r"[^\W\d_]+")
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){4,}")
_APOSTROPHES = ("'", "’")
_VOWELS = frozenset("aeiouyh")


@dataclass(frozen=True)
class Person:
    """What the surrogates of one report depend on."""

    identity: Identity
    offset_days: int
    exam_date: str  # ISO, real
    age_months: int | None
    taken: frozenset[str] = frozenset()  # folded words and numbers of this document that no surrogate may equal


class Surrogates:
    """Replacement values of one language.

    Args:
        pack: made-up syllables, tags, words that stay.
        keys: the secret.
        gazetteer: given names of the export.
        avoid: folded real names, towns and streets of the export; no surrogate word equals one of them.
        gender: F, M or "" of a given name.
    """

    def __init__(
        self,
        pack: Pack,
        keys: Keys,
        gazetteer: Gazetteer,
        avoid: Collection[str] = frozenset(),
        gender: Callable[[str], str] = gender_of,
    ) -> None:
        self._keys = keys
        self._gender = gender
        self._regions: list[str] = pack["pack"]["phone_regions"]
        self._syllables = pack["surrogates"]
        self._tags: dict[str, str] = pack["pack"]["tags"]
        self._forms = forms_of(pack)
        self._given_names = gazetteer.given_names
        self._avoid = avoid
        names, places, institutions = (pack["detectors"][topic] for topic in ("names", "places", "institutions"))
        self._particles = folded(names["particles"])
        # titles that stand inside spans of names stay (``names.title_included``)
        titles = names["titles"] if names.get("title_included") else ()
        self._titles = frozenset(part for title in titles for part in re.split(r"[ .]", fold(str(title))) if part)
        offices = [*places["post_office"]]
        self._keep_place = self._particles | frozenset(
            collapse(part)
            for word in [*places["streets"], *places["number_suffixes"], *offices]
            for part in str(word).split()
        )
        self._keep_behind_town = self._keep_place - self._particles
        self._keep_institution = self._particles | frozenset(
            collapse(part)
            for word in [*institutions["heads"], *institutions["connectors"], *institutions["stop"]]
            for part in re.split(r"[ ']", str(word))
        )
        self._drawn = lru_cache(maxsize=20_000)(self._draw_word)

    def replace(self, span: Span, text: str, person: Person, action: str, after: str = "") -> str:
        """What stands instead of ``text``, which ``span`` found; ``after`` is what follows it in the document."""
        if action == "keep":
            return text
        if action == "delete":
            return ""
        if action == "mask":
            return re.sub(r"[^\W_]", "x", text)
        if action == "tag":
            return self.tag(span.kind)
        if span.kind == "age":
            oldest = CAP_MONTHS // 12
            return str(oldest) if text[:1].isdigit() else _spelled(self._forms, oldest, text)
        if span.kind in ("date", "birth_date"):
            if action == "generalise":
                return self._year(text, span.kind, person, after) or self.tag(span.kind)
            return self._date(text, span.kind, person, after) or self.tag(span.kind)
        if action == "generalise":
            return self.tag(span.kind)
        return self._look_alike(span.kind, text, person)

    def tag(self, kind: str) -> str:
        """The tag of a kind in the pack's language, such as ``[NOM]``."""
        return f"[{self._tags[kind]}]"

    def _look_alike(self, kind: str, text: str, person: Person) -> str:
        if kind in ("name", "initials"):
            # a span that grew over a number must not leave it
            return self._digits(self._name(text, person), kind, person)
        if kind == "town":
            kept = [match for match in _RUN.finditer(text) if fold(match.group()) in self._keep_behind_town]
            stop = kept[0].start() if kept else len(text)
            new = _cased(self._word("place", person, collapse(text[:stop])), text[:stop].strip())
            return new + (" " + self._digits(text[stop:], kind, person) if kept else "")
        if kind in ("address", "institution"):
            keep = self._keep_place if kind == "address" else self._keep_institution
            worded = _RUN.sub(lambda match: self._unless(keep, match.group(), person), text)
            return self._digits(worded, kind, person)
        value = f"{person.identity.patient_id}\0{collapse(text) or text}"
        for attempt in range(20):
            draw = self._keys.random(f"surrogate {kind}", value + "\0" * attempt)
            new = self._contact(kind, text, draw)
            if collapse(new) not in person.taken and collapse(new) not in self._avoid:
                return new
        return self.tag(kind)

    def _contact(self, kind: str, text: str, draw: random.Random) -> str:
        """An e-mail or web address, a telephone or another number."""
        letters = "".join(draw.choices("bcdfghjklmnpqrstvwz", k=8))
        if kind == "email":
            return f"{letters}@{self._syllables['mail_host']}"
        if kind == "phone":
            return phone(text, self._regions, draw)
        if kind in ("url", "id"):
            address = network_address(text, draw)
            if address:
                return address
        if kind == "url":
            return f"@{letters}" if text.startswith("@") else f"https://{letters}.invalid"
        if _UID.fullmatch(text):
            return self._keys.uid(text)  # as in the images
        return number(text, kind, draw)

    def _unless(self, keep: frozenset[str], word: str, person: Person) -> str:
        return word if fold(word) in keep or len(word) == 1 else _cased(self._word("place", person, fold(word)), word)

    def _name(self, text: str, person: Person) -> str:
        runs = _RUN.findall(text)
        if len(runs) >= 3 and all(len(run) == 1 for run in runs):
            return _cased(self._name_word(collapse(text), person), text)
        last = text.rstrip().rfind(runs[-1]) if runs else 0
        return _RUN.sub(
            lambda match: (
                match.group()  # d'Albret, D'ALBRET
                if text[match.end() : match.end() + 1] in _APOSTROPHES and fold(match.group()) in self._particles
                else self._name_part(match.group(), person, match.start() == last)
            ),
            text,
        )

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
        return self._word(self._name_kind(folded, person), person, folded)

    def _name_kind(self, folded: str, person: Person) -> str:
        """surname, given_f or given_m: by the record, then by the list of given names, then by the ending."""
        own_given = _words(person.identity.given_name)
        own_surname = _words(f"{person.identity.surname} {person.identity.birth_name}")
        if folded in own_given and person.identity.sex in ("F", "M"):
            return {"F": "given_f", "M": "given_m"}[person.identity.sex]
        if folded in own_surname and folded not in own_given:
            return "surname"
        if folded in own_given or folded in self._given_names:
            listed = self._gender(folded)
            if not listed:
                listed = "F" if folded.endswith(("a", "e")) else "M"
            return {"F": "given_f", "M": "given_m"}[listed]
        return "surname"

    def _word(self, kind: str, person: Person, folded: str) -> str:
        """A made-up word; another one in the one document that holds it as a real one."""
        word = self._drawn(kind, person.identity.patient_id, folded)
        if fold(word) in person.taken:
            return self._draw_word(kind, person.identity.patient_id, folded, person.taken)
        return word

    def _draw_word(self, kind: str, patient: str, folded: str, taken: frozenset[str] = frozenset()) -> str:
        parts = self._syllables[kind]
        starts = parts["vowel" if folded[:1] in _VOWELS else "consonant"]
        if folded[:1] == "h":
            starts = parts.get("h", starts)
        draw = self._keys.random(f"surrogate {kind}", f"{patient}\0{folded}")
        for attempt in range(400):
            middle = "".join(draw.choice(parts["middle"]) for _ in range(attempt // 40))
            word = f"{draw.choice(starts)}{middle}{draw.choice(parts['end'])}"
            new = fold(word)
            # nor one that resembles the original: a reader would take it for a misspelling
            alike = OSA.normalized_similarity(new, folded) >= 0.7
            if new not in self._avoid and new not in taken and not alike:
                return word
        raise ValueError(f"the language pack's syllables for '{kind}' are too few")

    # -- dates --------------------------------------------------------------------------------------------------------

    def _date(self, text: str, kind: str, person: Person, after: str) -> str | None:
        written = self._forms.parse(text)
        if written is None:
            return None
        capped = self._capped_birth(written, kind, person)
        if capped:
            return shift(replace(written, year=capped.year, month=capped.month, day=capped.day), 0, None)
        year, month, following = self._context(written, kind, person, after)
        if written.day and not written.month:
            return self._lone_day(written, person, year, month, following)
        return shift(written, person.offset_days, year, month)

    def _year(self, text: str, kind: str, person: Person, after: str) -> str | None:
        written = self._forms.parse(text)
        if written is None or written.year is None:
            return None
        year, month, _ = self._context(written, kind, person, after)
        new = self._capped_birth(written, kind, person) or moved(written, person.offset_days, year, month)
        return str(new.year) if new else None

    def _capped_birth(self, written: Written, kind: str, person: Person) -> date | None:
        """A birth date of the day on which a person over 89 would be 89."""
        is_birth = kind == "birth_date" or (
            written.whole is not None and written.whole.isoformat() == person.identity.birth_date
        )
        if not is_birth or person.age_months is None or person.age_months <= CAP_MONTHS or not person.exam_date:
            return None
        exam = date.fromisoformat(person.exam_date) + timedelta(person.offset_days)
        draw = self._keys.random("surrogate birth", person.identity.patient_id)
        return exam - timedelta(days=round(CAP_MONTHS * 30.4375) + draw.randrange(1, 360))

    def _context(
        self, written: Written, kind: str, person: Person, after: str
    ) -> tuple[int | None, int | None, Written | None]:
        """Year and month where the text gives none: of the date that follows in a range, else of the examination."""
        year = int(person.exam_date[:4]) if person.exam_date else None
        month = int(person.exam_date[5:7]) if person.exam_date else None
        birth = person.identity.birth_date
        if kind == "birth_date" and birth:
            year, month = int(birth[:4]), int(birth[5:7])
        following = _following(self._forms, after) if not (written.year and written.month) else None
        if following and following.month:
            year, month = following.year or year, following.month
        return year, month, following

    def _lone_day(
        self, written: Written, person: Person, year: int | None, month: int | None, following: Written | None
    ) -> str | None:
        """A day whose month stands elsewhere gets its month where the move takes it into another one."""
        new = moved(written, person.offset_days, year, month)
        if following and following.month:
            anchor = moved(following, person.offset_days, year, month)
        else:
            anchor = date.fromisoformat(person.exam_date) + timedelta(person.offset_days) if person.exam_date else new
        if new is None or anchor is None or (new.month, new.year) == (anchor.month, anchor.year):
            return written.render(new) if new else None
        if following and following.form in ("named", "words"):
            return f"{written.render(new)} {self._forms.month_written(new.month, 'a')}"
        return f"{new.day:02d}/{new.month:02d}"

    def _digits(self, text: str, kind: str, person: Person) -> str:
        if not any(map(str.isdigit, text)):
            return text
        draw = self._keys.random(f"surrogate {kind} number", f"{person.identity.patient_id}\0{collapse(text)}")
        return re.sub(r"\d+", lambda match: other(match.group(), draw), text)


@lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
    return frozenset(_RUN.findall(fold(name)))


def originals(text: str, spans: Iterable[Span]) -> frozenset[str]:
    """What no surrogate of a document may equal: the folded words and numbers of its spans."""
    found: set[str] = set()
    for span in spans:
        value = text[span.start : span.end]
        found.add(collapse(value))
        found.update(fold(word) for word in _RUN.findall(value))
    return frozenset(found)


def _following(forms: DateForms, after: str) -> Written | None:
    """The date that begins within ten characters of ``after``, as far as it goes."""
    first = re.search(r"\d", after[:12])
    if not first:
        return None
    best = None
    for end in re.finditer(r"(?<=\w)(?!\w)|$", after[first.start() : first.start() + 36]):
        best = forms.parse(after[first.start() : first.start() + end.start()]) or best
    return best


def _spelled(forms: DateForms, value: int, like: str) -> str:
    word = forms.numbers.day(value) or str(value)
    return word.upper() if like.isupper() else word.capitalize() if like[:1].isupper() else word


def _cased(word: str, like: str) -> str:
    letters = [char for char in like if char.isalpha()]
    if len(letters) > 1 and all(map(str.isupper, letters)):
        return word.upper()
    if letters and all(map(str.islower, letters)):
        return word.lower()
    return word.upper() if len(word) == 1 else word[0].upper() + word[1:].lower()
