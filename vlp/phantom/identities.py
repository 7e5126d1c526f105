"""Fake people and institutions: deterministic, from the language pack's identities.yaml, with valid check digits.

Names, streets and towns are real words; the combinations are drawn at random and mean nobody.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stdnum import ean, luhn
from stdnum.es import dni
from stdnum.fr import nir

from anonymize.languages import load_pack
from vlp.phantom.chance import stream, weighted
from vlp.phantom.config import PhantomConfig
from vlp.phantom.population import Patient


@dataclass(frozen=True)
class Person:
    """A person's name."""

    surname: str
    first_name: str
    sex: str


@dataclass(frozen=True)
class Staff:
    """A member of staff; ``number`` is the professional register's (RPPS in France: 11 digits, Luhn)."""

    person: Person
    number: str
    phone: str
    mail: str


@dataclass(frozen=True)
class Place:
    """A postal address; ``country`` is an ISO 3166 code."""

    street: str
    postcode: str
    town: str
    country: str


@dataclass(frozen=True)
class Hospital:
    """One site of the export."""

    site: int
    name: str
    place: Place
    phone: str
    fax: str
    mail: str


@dataclass(frozen=True)
class PatientIdentity:
    """Everything that identifies a patient in header and report."""

    person: Person
    birth_surname: str  # equal to the surname where it never changed
    second_name: str  # "" where there is none
    birth_date: dt.date
    place: Place
    phone: str
    mobile: str
    mail: str
    number: str  # of social security or national register, written as people write it
    ipp: str
    relative: Person
    doctor: Staff  # the patient's general practitioner

    def values(self) -> dict[str, str]:
        """Every identifying value by name, for the truth table."""
        named = {
            "surname": self.person.surname,
            "first_name": self.person.first_name,
            "birth_surname": self.birth_surname,
            "second_name": self.second_name,
            "birth_date": self.birth_date.isoformat(),
            "street": self.place.street,
            "postcode": self.place.postcode,
            "town": self.place.town,
            "phone": self.phone,
            "mobile": self.mobile,
            "mail": self.mail,
            "number": self.number,
            "ipp": self.ipp,
            "relative_surname": self.relative.surname,
            "relative_first_name": self.relative.first_name,
            "doctor_surname": self.doctor.person.surname,
            "doctor_first_name": self.doctor.person.first_name,
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class VisitIdentity:
    """Numbers and staff of one examination."""

    accession: str
    nda: str
    time: dt.time
    ward: str
    hospital: Hospital
    radiologist: Staff
    prescriber: Staff
    technician: Staff
    colleague: Staff  # second reader, or the surgeon told by telephone
    style: str

    def values(self) -> dict[str, str]:
        """Every identifying value by name, for the truth table."""
        named = {"accession": self.accession, "nda": self.nda, "hospital": self.hospital.name}
        for role in ("radiologist", "prescriber", "technician", "colleague"):
            staff: Staff = getattr(self, role)
            named |= {f"{role}_surname": staff.person.surname, f"{role}_first_name": staff.person.first_name}
            named[f"{role}_number"] = staff.number
        return named


class Directory:
    """Who is who in the synthetic hospital; every entry depends on the seed and its own index only."""

    def __init__(self, config: PhantomConfig) -> None:
        self.config = config
        pack = load_pack(config.language)
        self.words: Mapping[str, Any] = pack["identities"]
        self.styles: Mapping[str, Any] = pack["phantom"]["styles"]
        self._hospitals: dict[int, Hospital] = {}
        self._staff: dict[tuple[int, str, int], Staff] = {}

    def hospital(self, site: int) -> Hospital:
        """The site ``site`` (0-based)."""
        if site not in self._hospitals:
            self._hospitals[site] = self._make_hospital(site)
        return self._hospitals[site]

    def _make_hospital(self, site: int) -> Hospital:
        rng = stream(self.config.seed, "hospital", site)
        country = (
            weighted(rng, {code: c["weight"] for code, c in self.words["countries"].items()}) if site else self._home()
        )
        place = self._place(rng, country)
        name = rng.choice(self.words["countries"][country]["hospitals"]).replace("{town}", place.town)
        mail = f"secretariat{site}@{rng.choice(self.words['hospital_domains'])}"
        return Hospital(site, name, place, self._phone(rng, country), self._phone(rng, country), mail)

    def staff(self, site: int, role: str, number: int) -> Staff:
        """A member of a site's staff."""
        key = (site, role, number)
        if key not in self._staff:
            self._staff[key] = self._make_staff(site, role, number)
        return self._staff[key]

    def _make_staff(self, site: int, role: str, number: int) -> Staff:
        rng = stream(self.config.seed, "staff", site, role, number)
        hospital = self.hospital(site)
        person = self._person(rng, rng.choice("FM"))
        digits = "10" + _digits(rng, 8)
        domain = rng.choice(self.words["hospital_domains"])
        mail = f"{ascii_slug(person.first_name)[:1]}.{ascii_slug(person.surname)}@{domain}"
        return Staff(person, digits + luhn.calc_check_digit(digits), self._phone(rng, hospital.place.country), mail)

    def patient(self, patient: Patient) -> PatientIdentity:
        """The identity of a patient of the population."""
        rng = stream(self.config.seed, patient.index, "identity")
        country = self.hospital(patient.site).place.country
        if rng.random() < 0.06:
            country = self._country(rng)
        birth = self._person(rng, patient.sex)
        surname = birth.surname
        adult = patient.birth_date.year < 1998
        if patient.sex == "F" and adult and rng.random() < self.words["married_name"]:
            surname = self._person(rng, "M").surname
        person = Person(surname, birth.first_name, patient.sex)
        place = self._place(rng, country)
        relative = self._person(rng, rng.choice("FM"))
        if rng.random() < 0.6:
            relative = Person(surname, relative.first_name, relative.sex)
        handle = f"{ascii_slug(person.first_name)}.{ascii_slug(surname)}{rng.choice(['', f'{patient.birth_date:%y}'])}"
        return PatientIdentity(
            person=person,
            birth_surname=birth.surname,
            second_name=self._person(rng, patient.sex).first_name if rng.random() < 0.3 else "",
            birth_date=patient.birth_date,
            place=place,
            phone=self._phone(rng, country),
            mobile=fill_pattern(rng, rng.choice(self.words["countries"][country]["mobiles"])),
            mail=f"{handle}@{rng.choice(self.words['mail_domains'])}",
            number=NUMBERS[self.words["countries"][country]["number"]](rng, person, patient),
            ipp=_patient_number(self.config.seed, patient.index),
            relative=relative,
            doctor=self.staff(1000 + patient.index % 97, "general practitioner", patient.index % 13),
        )

    def visit(self, patient: Patient, number: int) -> VisitIdentity:
        """Who and which numbers belong to the patient's visit ``number`` (0-based)."""
        rng = stream(self.config.seed, patient.index, "visit identity", number)
        site = patient.site
        visit = patient.visits[number]
        # radiologists 0-5 write in the usual styles, 6-7 in the held-out ones: a style is a person's habit
        reader = rng.randrange(6, 8) if patient.held_out else rng.randrange(6)
        return VisitIdentity(
            accession=_accession(self.config.seed, patient.index * 8 + number, visit.date),
            nda=f"{visit.date.year % 100:02d}{(patient.index * 8 + number) * 7919 % 10_000_000:07d}",
            time=dt.time(rng.randint(7, 22), rng.randrange(60), rng.randrange(60)),
            ward=rng.choice(self.words["wards"]["child" if visit.exam.age_months < 16 * 12 else "adult"]),
            hospital=self.hospital(site),
            radiologist=self.staff(site, "radiologist", reader),
            prescriber=self.staff(site, "physician", rng.randrange(12)),
            technician=self.staff(site, "technician", rng.randrange(6)),
            colleague=self.staff(site, "physician", 12 + rng.randrange(6)),
            style=self._style(site, reader, patient.held_out),
        )

    def _style(self, site: int, reader: int, held_out: bool) -> str:
        styles = {n: s["weight"] for n, s in self.styles.items() if bool(s.get("held_out")) == held_out}
        if not self.config.holdout_styles or not styles:
            styles = {n: s["weight"] for n, s in self.styles.items()}
        names = list(styles)
        if reader < len(names):  # each style has at least one reader at every site
            return names[(reader + site) % len(names)]
        return weighted(stream(self.config.seed, "style", site, reader), styles)

    def _country(self, rng: random.Random) -> str:
        return weighted(rng, {code: entry["weight"] for code, entry in self.words["countries"].items()})

    def _home(self) -> str:
        return max(self.words["countries"], key=lambda code: self.words["countries"][code]["weight"])

    def _person(self, rng: random.Random, sex: str) -> Person:
        origins = self.words["origins"]
        pool = origins[weighted(rng, {name: o["weight"] for name, o in origins.items()})]
        given = pool["female" if sex == "F" else "male"]
        surname, first = rng.choice(pool["surnames"]), rng.choice(given)
        second, middle = rng.choice(pool["surnames"]), rng.choice(given)
        if rng.random() < self.words["compound_surname"] and second != surname:
            surname += rng.choice(self.words["compound_joins"]) + second
        if rng.random() < self.words["compound_first"] and not {"-", " "} & set(first + middle) and middle != first:
            first += "-" + middle
        return Person(surname, first, sex)

    def _place(self, rng: random.Random, country: str) -> Place:
        entry = self.words["countries"][country]
        postcode, town = rng.choice(entry["towns"])
        pattern = choose_brackets(rng, entry["street"])
        street = pattern.format(
            number=rng.randint(1, 240),
            kind=rng.choice(self.words["street_kinds"]),
            name=rng.choice(self.words["street_names"]),
        )
        return Place(fill_pattern(rng, street), fill_pattern(rng, postcode), town, country)

    def _phone(self, rng: random.Random, country: str) -> str:
        return fill_pattern(rng, rng.choice(self.words["countries"][country]["phones"]))


def fill_pattern(rng: random.Random, pattern: str) -> str:
    """Each ``#`` becomes a digit."""
    return re.sub("#", lambda _: str(rng.randrange(10)), pattern)


def choose_brackets(rng: random.Random, pattern: str) -> str:
    """Each ``[a|b]`` becomes one of its options."""
    return re.sub(r"\[([^]]*)\]", lambda match: rng.choice(match.group(1).split("|")), pattern)


def ascii_slug(text: str) -> str:
    """Lower-case ASCII letters of ``text``, blanks and apostrophes left out."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z-]", "", plain.lower())


def _digits(rng: random.Random, count: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(count))


def _patient_number(seed: int, index: int) -> str:
    """Nine digits, another for each index below 10^9 (multiplication by a unit modulo 10^9)."""
    return f"{(index * 73_939_133 + 600_000_000 + seed * 7) % 1_000_000_000:09d}"


def _accession(seed: int, serial: int, date: dt.date) -> str:
    return f"R{date.year % 100:02d}{(serial * 99_990_001 + seed * 11) % 1_000_000_000:09d}"


def _nir(rng: random.Random, person: Person, patient: Patient) -> str:
    born = patient.birth_date
    place, serial = f"{rng.randint(1, 95):02d}{rng.randint(1, 500):03d}", f"{rng.randint(1, 400):03d}"
    digits = f"{1 if person.sex == 'M' else 2}{born:%y%m}" + place.replace("20", "21", 1) + serial
    full = digits + nir.calc_check_digits(digits)
    grouped = " ".join(full[a:b] for a, b in ((0, 1), (1, 3), (3, 5), (5, 7), (7, 10), (10, 13), (13, 15)))
    return rng.choice([full, grouped, f"{full[:13]} {full[13:]}"])


def _niss(rng: random.Random, person: Person, patient: Patient) -> str:
    """Belgian national register: birth date, a serial (odd for men), 97 minus the rest modulo 97."""
    serial = rng.randrange(1, 996, 2) + (person.sex == "F")
    digits = f"{patient.birth_date:%y%m%d}{serial:03d}"
    check = 97 - int(("2" if patient.birth_date.year >= 2000 else "") + digits) % 97
    return f"{digits[:2]}.{digits[2:4]}.{digits[4:6]}-{digits[6:]}.{check:02d}"


def _avs(rng: random.Random, person: Person, patient: Patient) -> str:
    digits = "756" + _digits(rng, 9)
    full = digits + ean.calc_check_digit(digits)
    return f"{full[:3]}.{full[3:7]}.{full[7:11]}.{full[11:]}"


def _ramq(rng: random.Random, person: Person, patient: Patient) -> str:
    """Quebec health insurance: letters of surname and given name, birth date (month + 50 for women), two digits."""
    letters = (ascii_slug(person.surname).replace("-", "") + "xxx")[:3] + ascii_slug(person.first_name)[:1]
    born = patient.birth_date
    month = born.month + (50 if person.sex == "F" else 0)
    return f"{letters.upper()} {born:%y}{month:02d} {born:%d}{_digits(rng, 2)}"


def _dni(rng: random.Random, person: Person, patient: Patient) -> str:
    digits = _digits(rng, 8)
    return f"{digits}{rng.choice(['', '-', ' '])}{dni.calc_check_digit(digits)}"


def _kvnr(rng: random.Random, person: Person, patient: Patient) -> str:
    """German health insurance number: a letter, eight digits, a Luhn digit over the letter's number (A is 01)."""
    letter, digits = chr(ord("A") + rng.randrange(26)), _digits(rng, 8)
    values = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(f"{ord(letter) - 64:02d}{digits}")]
    return f"{letter}{digits}{sum(v // 10 + v % 10 for v in values) % 10}"


def _nhs(rng: random.Random, person: Person, patient: Patient) -> str:
    """NHS number: nine digits and a modulo-11 check digit; 10 is not given out."""
    while True:
        digits = rng.choice("4567") + _digits(rng, 8)
        check = (11 - sum(int(d) * (10 - i) for i, d in enumerate(digits)) % 11) % 11
        if check < 10:
            return f"{digits[:3]} {digits[3:6]} {digits[6:]}{check}"


NUMBERS: dict[str, Callable[[random.Random, Person, Patient], str]] = {
    "nir": _nir,
    "niss": _niss,
    "avs": _avs,
    "ramq": _ramq,
    "dni": _dni,
    "kvnr": _kvnr,
    "nhs": _nhs,
}
