"""Numbers, identifiers, addresses and initials that the record's own columns hold, in any spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date

from anonymize.detectors.known_words import KnownWords, beginnings_of, places_of, spelled_out
from anonymize.report import Identity, Span
from anonymize.text import View, collapse, fold, words_of

_DIGITS = re.compile(r"\d(?:[ .\-/_()\u00a0]{0,3}\d)*")
_DIALLED = re.compile(r"(?:\(?\+ ?\d{2,3}|00 ?\d{2,3})?[ .\-/]{0,2}(?:\(?0?\)?)?[ .]?$")
_LETTER = r"([^\W\d_])\."
_INITIALS = [  # what each letter is the first of: g, a given name; s, a surname
    (re.compile(rf"(?<![\w.]){letters}(?!\w)"), order)
    for letters, order in (
        (rf"{_LETTER}[ \-]?{_LETTER} ?{_LETTER}", "ggs"),
        (rf"{_LETTER} ?{_LETTER}", "gs"),
        (rf"{_LETTER} ?{_LETTER}[ \-]?{_LETTER}", "sgg"),
        (rf"{_LETTER} ?{_LETTER}", "sg"),
    )
]


class KnownColumns:
    """Searches what the columns of a patient's records say beside names: numbers, identifiers, addresses, initials.

    Args:
        identities: of the patient's records.
        words: the pack's word lists.
    """

    def __init__(self, identities: Sequence[Identity], words: KnownWords) -> None:
        self._words = words
        self._towns = frozenset().union(*(self._joined(town) for town in {item.town for item in identities}))
        self._numbers = list(dict.fromkeys(number for item in identities for number in self._known_numbers(item)))
        self._codes = {
            collapse(value): kind
            for item in identities
            for value, kind in self._id_values(item)
            if len(collapse(value)) >= 4 and not collapse(value).isdigit()
        }
        self._code_starts = beginnings_of(self._codes)
        self._streets = [self._street(address) for address in dict.fromkeys(item.address for item in identities)]
        self._postcodes = {collapse(item.postcode) for item in identities}
        firsts = {word[0] for item in identities for word in words_of(item.given_name)}
        lasts = {word[0] for item in identities for word in words_of(f"{item.surname} {item.birth_name}")}
        self._initials = {"g": firsts, "s": lasts} if firsts and lasts else {}
        self._town_starts = beginnings_of(self._towns)

    def find(self, view: View) -> list[Span]:
        """Spans of every form of every value."""
        return [*self._numbers_in(view), *self._codes_in(view), *self._places(view), *self._initials_in(view)]

    def _joined(self, name: str) -> frozenset[str]:
        offices = "|".join(map(re.escape, self._words.offices))
        words = re.sub(rf"\b(?:{offices})\b.*|\d+", "", fold(name)).replace("'", " ").split()
        whole = collapse(
            "".join(self._words.abbreviations.get(collapse(word), word) for part in words for word in part.split("-"))
        )
        return frozenset((whole,)) if len(whole) > 2 else frozenset()

    def _street(self, address: str) -> tuple[list[str], list[str]]:
        """The telling words of a street, and the numbers of its houses."""
        telling = [
            word
            for word in words_of(address)
            if collapse(word) not in self._words.streets and word not in self._words.particles and len(word) > 2
        ]
        return telling, re.findall(r"\d+", address)

    def _id_values(self, identity: Identity) -> list[tuple[str, str]]:
        further = [(number, "id") for number in identity.numbers.splitlines()]
        return [
            (identity.patient_id, "patient_id"),
            (identity.visit, "visit_id"),
            (identity.accession, "id"),
            *further,
        ]

    def _known_numbers(self, identity: Identity) -> list[tuple[str, str]]:
        found = []
        for value, kind in self._id_values(identity):
            digits = re.sub(r"\D", "", value)
            for form in (digits, digits.lstrip("0")):
                if len(form) >= 5:
                    found.append((form, kind))
        phone = re.sub(r"\D", "", identity.phone)
        if len(phone) >= 8:
            found.append((phone[-9:] if len(phone) > 9 else phone.lstrip("0"), "phone"))
        if identity.birth_date:
            born = date.fromisoformat(identity.birth_date)
            forms = {f"{born:%d%m%Y}", f"{born:%Y%m%d}", f"{born:%d%m%y}", f"{born:%y%m%d}", f"{born:%m%d%Y}"}
            forms |= {f"{born.day}{born.month}{born.year}"} if len(f"{born.day}{born.month}{born.year}") >= 6 else set()
            found += [(form, "birth_date") for form in sorted(forms, key=len, reverse=True)]
        return found

    def _initials_in(self, view: View) -> Iterable[Span]:
        """``J.-P. D.`` and ``D. J.``, of any given name and any surname."""
        letters = set().union(*self._initials.values()) & view.vocabulary
        done = 0
        for index in sorted(index for letter in letters for index in view.where[letter]):
            start = view.starts[index]
            if start < done or not (view.text[start].isupper() or view.case == "lower"):
                continue
            for pattern, order in _INITIALS:
                match = pattern.match(view.folded, start)
                if match and all(map(lambda letter, kind: letter in self._initials[kind], match.groups(), order)):
                    done = match.end()
                    yield Span(start, done, "initials", 0.9, "known.initials")
                    break

    def _numbers_in(self, view: View) -> Iterable[Span]:
        if not self._numbers:
            return
        for match in _DIGITS.finditer(view.text):
            if match.end() - match.start() < 5:
                continue
            places = [match.start() + index for index, char in enumerate(match.group()) if char.isdigit()]
            digits = "".join(view.text[place] for place in places)
            for known, kind in self._numbers:
                at = digits.find(known)
                if at < 0 or (kind == "birth_date" and not self._whole_date(digits, known, view, places, at)):
                    continue
                start, end = places[at], places[at + len(known) - 1] + 1
                if kind == "phone":
                    lead = _DIALLED.search(view.text, max(0, start - 12), start)
                    start = lead.start() if lead else start
                yield Span(start, end, kind, 0.98, f"known.{kind}")

    def _codes_in(self, view: View) -> Iterable[Span]:
        """Identifiers with letters, whatever stands between their parts: ``PAT-12/3`` and ``pat123``."""
        words = view.words
        for index in places_of(view, self._code_starts):
            start, joined = view.starts[index], ""
            if start and view.text[start - 1].isalnum():
                continue
            for stop in range(index, min(index + 12, len(words))):
                if stop > index and view.gap(stop - 1).strip("-./_"):
                    break
                joined += spelled_out(words[stop])
                if joined not in self._code_starts:
                    break
                end = view.ends[stop]
                if joined in self._codes and not view.text[end : end + 1].isalnum():
                    yield Span(start, end, self._codes[joined], 0.98, f"known.{self._codes[joined]}")
                    break

    @staticmethod
    def _whole_date(digits: str, known: str, view: View, places: list[int], at: int) -> bool:
        """Six digits are a birth date only when nothing but they stand in the run; eight may have neighbours."""
        return len(digits) == len(known) if len(known) < 8 else True

    def _places(self, view: View) -> Iterable[Span]:
        for street, house in self._streets:
            for index in view.where.get(street[0], ()) if street else ():
                if len(street) > 1 or view.shape(index) != "lower" or view.case != "mixed":
                    yield from self._street_at(view, index, street, house)
        for postcode in self._postcodes & view.vocabulary:
            for index in view.where[postcode] if postcode.isdigit() else ():
                yield Span(view.starts[index], view.ends[index], "postcode", 0.9, "known.postcode")
        for index in places_of(view, self._town_starts, self._words.abbreviations):
            yield from self._town_at(view, index)

    def _street_at(self, view: View, index: int, street: list[str], house: list[str]) -> Iterable[Span]:
        """The street's own words in order, with its type and number before them; one word suffices beside them."""
        words, starts, ends = view.words, view.starts, view.ends
        last, wanted = index, 1
        for step in range(index + 1, min(index + 8, len(words))):
            if "\n\n" in view.text[ends[last] : starts[step]] or wanted == len(street):
                break
            if words[step] == street[wanted]:
                last, wanted = step, wanted + 1
            elif words[step] not in self._words.particles:
                break
        first = index
        while first > 0 and first > index - 7:
            before = words[first - 1]
            link = before in self._words.particles or before in self._words.streets or before in house
            if not link or "\n" in view.gap(first - 1):
                break
            first -= 1
        typed = any(spelled_out(words[i]) in self._words.streets or words[i] in house for i in range(first, index))
        if typed or wanted == len(street) > 1:
            yield Span(starts[first], ends[last], "address", 0.95, "known.address")

    def _town_at(self, view: View, index: int) -> Iterable[Span]:
        words, joined = view.words, ""
        for stop in range(index, min(index + 6, len(words))):
            joined += self._words.abbreviations.get(words[stop], words[stop])
            if joined not in self._town_starts:
                return
            if joined in self._towns:
                if (
                    stop == index
                    and view.shape(index) == "lower"
                    and view.case == "mixed"
                    and joined in self._words.common
                ):
                    return
                yield Span(view.starts[index], view.ends[stop], "town", 0.9, "known.town")
                return
