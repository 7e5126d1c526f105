"""What of one patient must not be found: the values of all of the patient's records, in the forms to search for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from anonymize.attack.written_dates import DateFinder
from anonymize.detectors.known_words import KnownWords
from anonymize.report import Report
from anonymize.text import View, collapse, fold, words_of

DIGITS = re.compile(r"\d(?:[ .\-/_()\u00a0\u202f]{0,3}\d)*")
MAIL = re.compile(r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+")
_LONG = 8  # digits of a number in running text that must be somebody's


@dataclass(frozen=True)
class Values:
    """The identifying values of one patient, folded."""

    names: frozenset[str]  # parts of surname, birth name and given names, two letters or more
    staff: frozenset[str]
    wholes: frozenset[str]  # full names and compounds, letters only
    towns: frozenset[str]  # letters only
    streets: tuple[tuple[str, ...], ...]  # significant words in order
    house_numbers: frozenset[str]
    numbers: dict[str, str]  # digits → kind
    codes: dict[str, str]  # letters and digits → kind
    postcodes: frozenset[str]
    mails: frozenset[str]
    births: frozenset[date]
    dates: frozenset[date]  # all days that the originals name, birth included

    @property
    def words(self) -> frozenset[str]:
        """Names of the patient and of staff."""
        return self.names | self.staff


def values_of(reports: Iterable[Report], words: KnownWords, dates: DateFinder) -> Values:
    """Everything that the records and the original texts of one patient give away."""
    names: set[str] = set()
    staff: set[str] = set()
    wholes: set[str] = set()
    towns: set[str] = set()
    streets: set[tuple[str, ...]] = set()
    houses: set[str] = set()
    numbers: dict[str, str] = {}
    codes: dict[str, str] = {}
    postcodes: set[str] = set()
    mails: set[str] = set()
    births: set[date] = set()
    days: set[date] = set()
    for identity in {report.identity for report in reports}:
        parts = [identity.surname, identity.birth_name, identity.given_name]
        names.update(word for name in parts for word in _parts(name, words))
        firsts = [first for first in re.split(r"[,;]", identity.given_name) if first.strip()]
        for last in (identity.surname, identity.birth_name):
            for whole in (last, *firsts, *(a + b for first in firsts for a, b in ((last, first), (first, last)))):
                wholes.add(collapse(whole))
        for person in identity.staff:
            own = [word for word in _parts(person, words) if word not in words.titles]
            staff.update(own)
            wholes.add("".join(own))
        towns.add(_town(identity.town, words))
        street = tuple(
            word
            for word in words_of(identity.address)
            if len(word) > 2 and word not in words.particles and collapse(word) not in words.streets
        )
        if street:
            streets.add(street)
        houses.update(re.findall(r"\d+", identity.address))
        if len(collapse(identity.postcode)) >= 4:
            postcodes.add(collapse(identity.postcode))
        for value, kind in (
            (identity.patient_id, "patient_id"),
            (identity.visit, "visit_id"),
            (identity.accession, "id"),
            (identity.phone, "phone"),
        ):
            _number(value, kind, numbers, codes)
        if identity.birth_date:
            births.add(date.fromisoformat(identity.birth_date))
    for report in reports:
        if report.exam_date:
            days.add(date.fromisoformat(report.exam_date))
        view = View(report.text)
        days.update(day for _, _, day in dates.find(view))
        mails.update(match.group() for match in MAIL.finditer(view.folded))
        for match in DIGITS.finditer(report.text):
            digits = re.sub(r"\D", "", match.group())
            if len(digits) >= _LONG and not _is_date(match.group(), dates):
                numbers.setdefault(digits, "id")
    return Values(
        frozenset(names),
        frozenset(staff),
        frozenset(whole for whole in wholes if len(whole) > 4),
        frozenset(town for town in towns if len(town) > 2),
        tuple(sorted(streets)),
        frozenset(houses),
        numbers,
        codes,
        frozenset(postcodes),
        frozenset(mails),
        frozenset(births),
        frozenset(days | births),
    )


def _parts(name: str, words: KnownWords) -> list[str]:
    return [word for word in words_of(name) if len(word) > 1 and word not in words.particles]


def _town(town: str, words: KnownWords) -> str:
    """Letters of a town's name, abbreviations written out, without the post office's additions."""
    kept = []
    for word in words_of(town):
        if word in words.offices:
            break
        kept.append(words.abbreviations.get(word, word))
    return "".join(kept)


def _number(value: str, kind: str, numbers: dict[str, str], codes: dict[str, str]) -> None:
    digits = re.sub(r"\D", "", value)
    plain = collapse(value)
    if plain and not plain.isdigit() and len(plain) >= 5:
        codes[plain] = kind
    if kind == "phone" and len(digits) >= 8:
        digits = digits[-9:] if len(digits) > 9 else digits.lstrip("0")
    for form in {digits, digits.lstrip("0")}:
        if len(form) >= 5:
            numbers[form] = kind


def _is_date(text: str, dates: DateFinder) -> bool:
    return any(end - start >= len(fold(text).strip()) - 1 for start, end, _ in dates.find(View(text)))
