"""Replacement: consistent, unlike the original, of the same form, and never valid."""

from __future__ import annotations

import re
from datetime import date, timedelta

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.be import bis, nn
from stdnum.ch import ssn as avs
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.us import ssn

from anonymize.dates import forms_of, whole_weeks
from anonymize.engine import Anonymizer
from anonymize.given_names import gender_of
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.policy import Policy, ReportsConfig
from anonymize.report import Gazetteer, Identity, Report, Span
from anonymize.surrogate_numbers import number
from anonymize.surrogates import Person, Surrogates
from anonymize.text import collapse, fold

FRENCH = load_pack("fr")
KEYS = Keys(b"a test secret of some length")
MADE = Surrogates(FRENCH, KEYS, Gazetteer())
IDENTITY = Identity(patient_id="42", surname="Hubert", given_name="Odile Jeanne", sex="F", birth_date="1957-03-12")
PERSON = Person(IDENTITY, 100, "2024-05-03", 805)
NUMBER_FORMS = [
    "2 55 08 14 168 025 38",
    "255081416802538",
    "85.07.30-033.28",
    "756.9217.0769.85",
    "TREM 5601 0112",
    "54362315K",
    "X-2482300W",
    "111222333",
    "943 476 5870",
    "123-45-6789",
    "RCCMNL83S18D969H",
    "FR76 3000 6000 0112 3456 7890 189",
    "4111 1111 1111 1111",
    "10247104978",
    "A123456780",
    "36574261809",
]


def made(kind: str, text: str, action: str = "surrogate", person: Person = PERSON, after: str = "") -> str:
    return MADE.replace(Span(0, len(text), kind, 0.9, "x"), text, person, action, after)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(NUMBER_FORMS),
    st.integers(0, 10**9),
    st.sampled_from(["national_id", "id", "professional_id", "patient_id"]),
)
def test_no_surrogate_number_passes_any_check(text: str, seed: int, kind: str) -> None:
    new = number(text, kind, Keys(f"secret number {seed:012d}".encode()).random("x", text))
    assert re.sub(r"\d", "0", re.sub("[^\\W\\d_]", "a", new)) == re.sub(r"\d", "0", re.sub("[^\\W\\d_]", "a", text))
    assert collapse(new) != collapse(text)
    for module in (nir, nn, bis, avs, dni, nie, bsn, nhs, codicefiscale, idnr, iban):
        assert not module.is_valid(new), module.__name__
    if "-" in text or kind == "national_id":  # without check digits, any nine digits are a social security number
        assert not ssn.is_valid(new)
    digits = re.sub(r"\D", "", new)
    assert not (
        13 <= len(digits) <= 19 and new.replace(" ", "").isdigit() and new[0] in "3456" and luhn.is_valid(digits)
    )


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("01 42 37 47 71", r"(?:01 99 00|02 61 91|03 53 01|04 65 71|05 36 49) \d\d \d\d"),
        ("06.12.34.56.78", r"06\.39\.98\.\d\d\.\d\d"),
        ("+33 6 12 34 56 78", r"\+33 6 39 98 \d\d \d\d"),
        ("0142374771 poste 4512", r"0\d{9} poste \d{4}"),
        ("514-555-1234", r"\d{3}-555-01\d\d"),
    ],
)
def test_phones_come_from_ranges_for_fiction(text: str, pattern: str) -> None:
    new = made("phone", text)
    assert re.fullmatch(pattern, new), new
    assert new != text


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10**8 - 1))
def test_phones_keep_their_form_and_are_nobodys(area: int, rest: int) -> None:
    text = f"0{area} " + re.sub(r"(\d\d)(?=\d)", r"\1 ", f"{rest:08d}")
    new = made("phone", text)
    assert re.fullmatch(r"0\d( \d\d){4}", new)
    assert collapse(new) != collapse(text)
    if phonenumbers.is_valid_number(phonenumbers.parse(new, "FR")):
        assert re.match(r"0(?:1 99 00|2 61 91|3 53 01|4 65 71|5 36 49|6 39 98)", new)


def test_networks_use_documentation_addresses() -> None:
    assert made("url", "192.168.1.12").startswith(("192.0.2.", "198.51.100.", "203.0.113."))
    assert made("url", "fe80::1:2").startswith("2001:db8::")
    assert made("email", "a.b@chu.fr").endswith("@exemple.invalid")
    assert made("url", "@dr_martin").startswith("@")
    assert made("id", "1.2.840.113619.2.55.3.604688") == KEYS.uid("1.2.840.113619.2.55.3.604688")


def whole(text: str) -> date:
    """The day that ``text`` says."""
    written = forms_of(FRENCH).parse(text)
    assert written is not None, text
    assert written.whole is not None, text
    return written.whole


DAYS = st.dates(date(1990, 1, 1), date(2030, 12, 31))
OFFSETS = st.integers(-1000, 1000).filter(bool)


@given(DAYS, DAYS, OFFSETS, st.sampled_from(["%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%Y%m%d", "%d %m %Y"]))
def test_intervals_stay_exact(first: date, second: date, offset: int, form: str) -> None:
    person = Person(IDENTITY, offset, "2024-05-03", 805)
    moved = [whole(made("date", day.strftime(form), person=person)) for day in (first, second)]
    assert moved[1] - moved[0] == second - first


@given(OFFSETS)
def test_whole_weeks_keep_the_weekday(offset: int) -> None:
    weeks = whole_weeks(offset)
    assert weeks % 7 == 0
    assert weeks != 0
    assert abs(weeks - offset) <= 6
    moved = made("date", "lundi 4 mars 2024", person=Person(IDENTITY, weeks, "2024-05-03", 805))
    assert moved.startswith("lundi ")


def test_weekdays_follow_the_date() -> None:
    moved = made("date", "lundi 4 mars 2024", person=Person(IDENTITY, 1, "2024-05-03", 805))
    assert moved == "mardi 5 mars 2024"


def test_days_of_a_range_move_with_its_month() -> None:
    def step(days: int) -> Person:
        return Person(IDENTITY, days, "2020-05-20", 805)

    assert made("date", "3", person=step(4), after=" au 7 mai 2020") == "7"
    assert made("date", "29", person=step(4), after=" au 31 mai 2020") == "2"
    assert made("date", "25", person=step(4), after=" au 30 mai 2020") == "29 mai"
    assert made("date", "3", person=step(1), after="-5/04/2021") == "4"


@pytest.mark.parametrize(
    ("kind", "text", "action", "expected"),
    [
        ("name", "Hubert", "tag", "[NOM]"),
        ("name", "Hubert", "mask", "xxxxxx"),
        ("name", "Hubert", "delete", ""),
        ("name", "Hubert", "keep", "Hubert"),
        ("name", "Hubert", "generalise", "[NOM]"),
        ("date", "12/03/2020", "generalise", "2020"),
        ("date", "12032020", "generalise", "2020"),
        ("date", "12 mars", "generalise", "[DATE]"),
        ("date", "12/03/2020", "surrogate", "20/06/2020"),
        ("date", "12/03/2020", "mask", "xx/xx/xxxx"),
        ("date", "31/02/2020", "surrogate", "[DATE]"),
        ("town", "Brest", "generalise", "[VILLE]"),
        ("age", "97", "generalise", "89"),
        ("age", "quatre-vingt-dix-sept", "generalise", "quatre-vingt-neuf"),
        ("phone", "01 42 37 47 71", "mask", "xx xx xx xx xx"),
        ("phone", "01 42 37 47 71", "tag", "[TEL]"),
    ],
)
def test_each_action(kind: str, text: str, action: str, expected: str) -> None:
    assert made(kind, text, action) == expected


NAMES = st.text("abcdefghijklmnoprstuvzéèç", min_size=3, max_size=12).map(str.capitalize)


@settings(max_examples=150, deadline=None)
@given(NAMES, st.sampled_from([str, str.upper, str.lower]), st.integers(0, 10**6))
def test_names_are_consistent_cased_and_new(name: str, case, patient: int) -> None:
    person = Person(Identity(patient_id=str(patient)), 3, "", None)
    first = made("name", case(name), person=person)
    assert first == made("name", case(name), person=person)
    assert fold(first) == fold(made("name", name, person=person))
    assert fold(first) != fold(name)
    assert first.isupper() == case(name).isupper()
    assert first.islower() == case(name).islower()
    vowel = fold(name)[0] in "aeiouy"
    assert (fold(first)[0] in "aeiouy") == vowel, first  # d'Albret stays right, and de Bourgueil
    taken = Person(person.identity, 3, "", None, frozenset((fold(first),)))
    assert fold(made("name", name, person=taken)) != fold(first)


def test_names_begin_with_h_where_the_real_one_does() -> None:
    assert fold(made("name", "Hubert"))[0] == "h"


def test_number_of_words_hyphens_and_particles_stay() -> None:
    new = made("name", "Jean-Marc DE LA TOUR")
    assert re.fullmatch(r"[^\W\d_]+-[^\W\d_]+ DE LA [^\W\d_]+", new), new


def test_an_elided_particle_stays() -> None:
    assert re.fullmatch(r"d'[AEIOUH][^\W\d_]+", made("name", "d'Albret"))
    assert re.fullmatch(r"D'[AEIOUH][^\W\d_]+", made("name", "D'ALBRET"))


def test_a_country_code_stays() -> None:
    assert made("phone", "+32 2 345 67 89").startswith("+32 0 00")


def test_given_names_keep_their_gender() -> None:
    """From the record, from the list of names, and from a list of the caller."""
    assert gender_of("Odile") == "F"
    assert gender_of("Didier") == "M"
    known = Gazetteer(given_names=frozenset(("didier", "odile", "xqwzt")))
    one = Surrogates(FRENCH, KEYS, known, gender=lambda name: {"didier": "M", "odile": "F"}.get(name, "M"))
    assert one._name_kind("didier", PERSON) == "given_m"
    assert one._name_kind("odile", PERSON) == "given_f"
    assert one._name_kind("hubert", PERSON) == "surname"
    assert one._name_kind("xqwzt", PERSON) == "given_m"


REPORTS = [
    "Mme HUBERT Odile, née le 12/03/1957, vue le 03/05/2024 par le Dr Kerbrat. Tél 06 12 34 56 78. NIR 2 57 03 29 200 123 45.",
    "Odile HUBERT revient le 10 mai 2024, adressée par le Dr KERBRAT. IPP 8392831. Rappeler le 06.12.34.56.78 hier.",
]


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=16, max_size=32))
def test_the_five_promises_of_replacement(secret: bytes) -> None:
    """Same person, same surrogate; no original left; intervals exact; relative dates stay; another secret, other values."""
    engine = Anonymizer(
        ReportsConfig(ner="none"),
        Keys(secret),
    )
    texts = [
        engine.anonymize(Report(n, IDENTITY, "2024-05-03", "", text)).report.text for n, text in enumerate(REPORTS)
    ]
    first = re.match(r"Mme (\w+) (\w+), née le (\S+), vue le (\S+) par le Dr (\w+)\. Tél ([\d ]+)\.", texts[0])
    second = re.match(
        r"(\w+) (\w+) revient le (.+), adressée par le Dr (\w+)\. IPP (\d+)\. Rappeler le ([\d.]+) hier\.", texts[1]
    )
    assert first is not None, texts[0]
    assert second is not None, texts[1]
    assert (first[1], first[2]) == (second[2], second[1])
    assert first[5].upper() == second[4]
    assert collapse(first[6]) == collapse(second[6])
    words = {fold(word) for text in texts for word in re.findall(r"[^\W\d_]+", text)}
    assert not words & {"hubert", "odile", "kerbrat"}
    assert not {"12/03/1957", "03/05/2024", "8392831"} & set(re.split(r"[ ,.]", " ".join(texts)))
    assert whole(second[3]) - whole(first[4]) == timedelta(7)
    assert whole(first[4]) - whole(first[3]) == date(2024, 5, 3) - date(1957, 3, 12)


def test_another_secret_gives_unrelated_names() -> None:
    def names(secret: bytes) -> list[str]:
        one = Surrogates(FRENCH, Keys(secret), Gazetteer())
        people = [Person(Identity(patient_id=str(n)), 1, "", None) for n in range(200)]
        return [one.replace(Span(0, 6, "name", 1, "x"), "Kerbrat", person, "surrogate") for person in people]

    first, second = names(b"0123456789abcdef"), names(b"fedcba9876543210")
    assert sum(a == b for a, b in zip(first, second, strict=True)) <= 4
    assert len(set(first)) > 150


def test_keep_weekdays_is_an_option_of_the_run() -> None:
    config = ReportsConfig(keep_weekdays=True, ner="none")
    safe = Anonymizer(config, KEYS).anonymize(Report(1, IDENTITY, "2024-05-03", "", "Vue le 06/05/2024.")).report
    assert (date.fromisoformat(safe.date) - date(2024, 5, 3)).days % 7 == 0


def test_policy_reaches_each_kind() -> None:
    policy = Policy(date="generalise", phone="tag", name="mask")
    text = (
        Anonymizer(ReportsConfig(policy=policy, ner="none"), KEYS)
        .anonymize(Report(1, IDENTITY, "2024-05-03", "", REPORTS[0]))
        .report.text
    )
    assert "[TEL]" in text
    assert re.search(r"vue le 20\d\d par", text)
    assert "xxxxxx" in text.lower()
