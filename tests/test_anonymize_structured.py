"""Dates, ages, numbers, contacts: found whole in every written form, and clinical figures left alone."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.config import ConfigError, load_config
from anonymize.dates import forms_of, shift
from anonymize.detectors import build, national
from anonymize.detectors.ages import Ages
from anonymize.detectors.dates import Dates
from anonymize.detectors.identifiers import Identifiers
from anonymize.detectors.national import NUMBERS, NationalNumbers, validates
from anonymize.forms import IdentifierForm, risk
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.report import Span
from anonymize.text import View

FRENCH = load_pack("fr")
FORMS = forms_of(FRENCH)
DATES = Dates(FRENCH)
STRUCTURED = [
    detector
    for detector in build(FRENCH)
    if type(detector).__name__ in ("Dates", "Contacts", "Online", "NationalNumbers", "Identifiers", "Devices", "Ages")
]
MONTHS = [names[0] for names in FORMS.month_names]
SHORT = [names[1] if len(names) > 1 else names[0] for names in FORMS.month_names]


def spans(text: str) -> list[Span]:
    return [span for detector in STRUCTURED for span in detector.find(View(text))]


def hidden(text: str) -> str:
    out = list(text)
    for span in spans(text):
        out[span.start : span.end] = "█" * (span.end - span.start)
    return "".join(out)


def words(day: date) -> str:
    return f"{FORMS.numbers.day(day.day)} {MONTHS[day.month - 1]} {FORMS.numbers.year(day.year)}"


def named(day: date) -> str:
    return f"{day.day}{'er' if day.day == 1 else ''} {MONTHS[day.month - 1]} {day.year}"


WRITTEN = {
    "slashes": lambda d: f"{d:%d/%m/%Y}",
    "dots": lambda d: f"{d:%d.%m.%Y}",
    "hyphens": lambda d: f"{d:%d-%m-%Y}",
    "blanks": lambda d: f"{d:%d %m %Y}",
    "bars": lambda d: f"{d:%d|%m|%Y}",
    "wide slashes": lambda d: f"{d:%d / %m / %Y}",
    "no zeros": lambda d: f"{d.day}/{d.month}/{d.year}",
    "short year": lambda d: f"{d:%d/%m/%y}",
    "short year, no zeros": lambda d: f"{d.day}-{d.month}-{d:%y}",
    "iso": lambda d: f"{d:%Y-%m-%d}",
    "year first": lambda d: f"{d:%Y/%m/%d}",
    "compact": lambda d: f"{d:%Y%m%d}",
    "compact, day first": lambda d: f"{d:%d%m%Y}",
    "hl7": lambda d: f"{d:%Y%m%d}1022",
    "boxes": lambda d: " ".join(f"{d:%d%m%Y}"),
    "boxes with dots": lambda d: " . ".join(" ".join(part) for part in (f"{d:%d}", f"{d:%m}", f"{d:%Y}")),
    "month name": named,
    "capitals": lambda d: named(d).upper(),
    "short month": lambda d: f"{d.day} {SHORT[d.month - 1]} {d.year}",
    "words": words,
    "words in capitals": lambda d: words(d).upper(),
    "weekday": lambda d: f"{FORMS.weekdays[d.weekday()]} {named(d)}",
}
WHOLE = tuple(WRITTEN)


@pytest.mark.parametrize("form", WHOLE)
def test_2000_dates_are_found_whole_read_and_written_back(form: str) -> None:
    write, draw = WRITTEN[form], random.Random(7)
    for _ in range(2000):
        day = date(1936, 1, 1) + timedelta(draw.randrange(36_000))  # two-digit years up to 35 are 20xx
        offset = draw.randrange(1, 1000) * draw.choice((-1, 1))
        if "short year" in form and not 1936 <= (day + timedelta(offset)).year <= 2035:
            continue
        text = write(day)
        report = f"Vu le {text} en consultation."
        found = [(s.start, s.end) for s in DATES.find(View(report))]
        assert found == [(6, 6 + len(text))], report
        written = FORMS.parse(text)
        assert written is not None, text
        assert written.whole == day, text
        moved = shift(written, offset, None)
        again = FORMS.parse(moved or "")
        assert again is not None, moved
        assert again.whole == day + timedelta(offset), (text, moved)
        if "no zeros" in form and day.day > 9 and day.month > 9:
            continue  # such a date does not show whether zeros are written
        if form == "short month" and SHORT[day.month - 1] == MONTHS[day.month - 1]:
            continue
        assert moved == write(day + timedelta(offset)), (text, moved)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("le 12/03", ["12/03"]),
        ("le 1er mars", ["1er mars"]),
        ("le 3 courant", ["3"]),
        ("du 3 au 7 mai 2020", ["3", "7 mai 2020"]),
        ("du 3-5/04/2021", ["3", "5/04/2021"]),
        ("les 18 et 19/01/2021", ["18", "19/01/2021"]),
        ("du 29.07.2023-01.08.2023", ["29.07.2023", "01.08.2023"]),
        ("depuis mars 2019", ["mars 2019"]),
        ("opéré en 2018", ["2018"]),
        ("1973-1978 : traitement", ["1973", "1978"]),
        ("de mai à juin 2020", ["mai", "juin 2020"]),
        ("Noël 2019 et l'été 2018", ["Noël 2019", "été 2018"]),
        ("a été 2018 fois noté", []),
        ("opéré à Noël 2019", ["Noël 2019"]),
        ("le 2021-03-12T10:22:00+01:00", ["2021-03-12T10:22:00+01:00"]),
        ("le 2021-03-12 10:22", ["2021-03-12"]),
        ("le l2/O3/2021", ["l2/O3/2021"]),
        ("le 12/o3/202l", ["12/o3/202l"]),
        ("12/XI/2020", ["12/XI/2020"]),
        ("Sept 01,2026", ["Sept 01,2026"]),
        ("dec1993", ["dec1993"]),
        ("12, Mai 1973", ["12, Mai 1973"]),
        ("13 / 03, S9", ["13 / 03"]),
    ],
)
def test_partial_dates_ranges_and_slips(text: str, expected: list[str]) -> None:
    assert sorted(text[s.start : s.end] for s in DATES.find(View(text))) == sorted(expected)


@pytest.mark.parametrize(
    "text",
    [
        "TA 14/8, puis 10/6. Score 3/4, EVA 9/10.",
        "Tiers moyen 1/3 du tibia, fracture du 1/3 distal.",
        "Discopathie L4-L5, tassement T12, CA 19-9 normal.",
        "Depuis sept ans, la marche. Il a été opéré.",
        "Version 2.3.1 du logiciel, à 10h30 puis 10:36.",
        "Produit de contraste 2000 UI, 1953 UI, 1500 ml, 382000 plaquettes.",
        "Clairance en kg.h ; sans particularités.Il revient.",
        "Coupes de 1.25 mm, pas de 0.8, 120 kV, 200 mAs.",
        "Nodule de 12 x 14 x 10 mm, segment VIII, Bosniak 2.",
        "Patient de 72 ans, nourrisson de 9 mois et 12 jours de vie.",
        "Grossesse de 32 SA + 4, G2P1. Il marche. Hb 12,4 g/dl.",
        "PA 120/80 mmHg, pouls 98, SpO2 98 %, poids 95 kg, taille 192 cm.",
        "Valeurs 10 20 30 40 50 60 ; 0.5 1 1.5 2 2.5 3 3.5",
        "Mutation G20210A, rs121912744, HLA B27.",
    ],
)
def test_clinical_figures_stay(text: str) -> None:
    assert hidden(text) == text


def test_birth_and_examination_dates_are_told_apart() -> None:
    text = "Né le 12/03/1957, vu le 04.05.2024. DDN : 12 mars 1957. Date de naissance\n12 03 57"
    kinds = [(text[s.start : s.end], s.kind) for s in DATES.find(View(text))]
    assert kinds[:3] == [("12/03/1957", "birth_date"), ("04.05.2024", "date"), ("12 mars 1957", "birth_date")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("âgée de 98 ans", ["98"]),
        ("patient de 97ans", ["97"]),
        ("âge : 93", ["93"]),
        ("âgé de 101 ans", ["101"]),
        ("quatre-vingt-dix-sept ans", ["quatre-vingt-dix-sept"]),
        ("cent deux ans", ["cent deux"]),
        ("97 yo", ["97"]),
        ("89 ans, 12 mois, 95 jours, vingt ans, 95 mm", []),
    ],
)
def test_ages_above_89(text: str, expected: list[str]) -> None:
    assert [text[s.start : s.end] for s in Ages(FRENCH).find(View(text))] == expected


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Tél : 01 42 37 47 71 poste 4512", "01 42 37 47 71 poste 4512"),
        ("bip 712", "712"),
        ("DECT 45 12", "45 12"),
        ("poste 4512", "4512"),
        ("0 1 4 2 3 7 4 7 7 1", "0 1 4 2 3 7 4 7 7 1"),
        ("au 01.42.16.10.O2 demain", "01.42.16.10.O2"),
        ("nom (at) hopital.fr", "nom (at) hopital.fr"),
        ("nom [at] hopital [dot] fr", "nom [at] hopital [dot] fr"),
        ("é.dupont @ chu-brest . fr", "é.dupont @ chu-brest . fr"),
        ("voir chu-brest.fr/prendre", "chu-brest.fr/prendre"),
        ("twitter @dr_martin", "@dr_martin"),
        ("serveur 192.168.1.12", "192.168.1.12"),
        ("hôte 2001:db8::ff00:42:8329", "2001:db8::ff00:42:8329"),
        ("carte 00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E"),
        ("SECU 2 57 03 29 200 123 45", "2 57 03 29 200 123 45"),
        ("2 9 1 4 8 2 3 9 8 4 2 9 6 5 4", "2 9 1 4 8 2 3 9 8 4 2 9 6 5 4"),
        ("NISS 85.07.30-033.28", "85.07.30-033.28"),
        ("AVS 756.9217.0769.85", "756.9217.0769.85"),
        ("TREM 5601 0112", "TREM 5601 0112"),
        ("IBAN FR76 3000 6000 0112 3456 7890 189", "FR76 3000 6000 0112 3456 7890 189"),
        ("carte 4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("BIC : BNPAFRPPXXX", "BNPAFRPPXXX"),
        ("Son IPP est 8392.", "8392"),
        ("N° de série : AYZ12049210", "AYZ12049210"),
        ("SN 47-12B", "47-12B"),
        ("véhicule AA-123-AA", "AA-123-AA"),
        ("plaque VD 123456", "VD 123456"),
        ("UID 1.2.840.113619.2.55.3.604688", "1.2.840.113619.2.55.3.604688"),
        (r"voir \\serveur\radio\dupont", r"\\serveur\radio\dupont"),
        ("login : jdupont2", "jdupont2"),
        ("séjour 28BG04493", "28BG04493"),
    ],
)
def test_numbers_and_contacts_are_found_whole(text: str, secret: str) -> None:
    shown = hidden(text)
    start = text.index(secret)
    visible = [c for c, o in zip(shown[start : start + len(secret)], secret, strict=True) if o.isalnum() and c != "█"]
    assert not visible, shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fr.nir", "2 55 08 14 168 025 38"),
        ("fr.rpps", "10247104978"),
        ("be.nn", "85.07.30-033.28"),
        ("be.inami", "1-23456-25-004"),
        ("ch.ssn", "756.9217.0769.85"),
        ("ca.ramq", "TREM 5601 0112"),
        ("de.kvnr", "A123456780"),
        ("de.svnr", "15 070649 C 103"),
        ("es.dni", "54362315K"),
        ("es.nie", "X-2482300W"),
        ("es.nss", "28 12345678 40"),
        ("nl.bsn", "111222333"),
        ("it.codicefiscale", "RCCMNL83S18D969H"),
        ("gb.nhs", "943 476 5870"),
        ("us.npi", "1234567893"),
        ("at.vnr", "1237 010180"),
    ],
)
def test_check_digits(name: str, value: str) -> None:
    """A valid number is known without its label; one wrong digit and it is not."""
    number = NUMBERS[name]
    plain = "".join(char for char in value.upper() if char.isalnum())
    assert number.check(plain)
    if name != "ca.ramq":  # no check digit
        place = 7 if name == "be.inami" else max(index for index, char in enumerate(plain) if char.isdigit())
        wrong = plain[:place] + str((int(plain[place]) + 1) % 10) + plain[place + 1 :]
        assert not number.check(wrong)
        assert validates(value)


@pytest.mark.parametrize("language", ["fr", "en", "de", "es"])
def test_every_pack_names_known_numbers(language: str) -> None:
    NationalNumbers(load_pack(language))


def test_a_hospitals_own_form_needs_no_label() -> None:
    forms = (
        IdentifierForm(kind="patient_id", example="9999999-A"),
        IdentifierForm(kind="visit_id", pattern=r"V\d{4}", label="venue interne"),
    )
    text = "Revu 1234567-b ce jour, V2024, venue interne 771."
    found = {(text[s.start : s.end], s.kind) for s in Identifiers(FRENCH, forms).find(View(text))}
    assert {("1234567-b", "patient_id"), ("V2024", "visit_id"), ("771", "visit_id")} <= found


@pytest.mark.parametrize(
    "pattern", [r"(\d+)+", r"(a|aa)*\d", r"(", r"\d*", r"\d+\d+\d+\d+", r"(\d)\1", r"(?:\d{1,3}){2,}"]
)
def test_risky_patterns_are_refused(pattern: str) -> None:
    assert risk(pattern)
    with pytest.raises(ConfigError, match="identifiers"):
        load_config(ReportsConfig, None, [f"identifiers=[{{kind: id, pattern: '{pattern}'}}]"])


def test_safe_patterns_pass() -> None:
    for pattern in (r"\d{7}-[A-Z]", r"(?:IPP|NIP)-?\d{6,9}", r"[A-Z]{2}\d+", r"(?:ab)?\d{4}"):
        assert not risk(pattern), pattern


@settings(max_examples=80, deadline=2000)
@given(
    st.lists(
        st.sampled_from(
            ["12", "/", ".", " ", "-", "mars", "2020", "a", "@", "é", "le", "\n", ":", "0", "l", "(", "IPP"]
        ),
        max_size=80,
    )
)
def test_any_text_gives_spans_inside(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert all(0 <= span.start < span.end <= len(text) for span in spans(text))


@pytest.mark.parametrize(
    "piece", ["1 ", "1.", "a.", "12/", "a@", "1-", "(a", ":a", "mars ", "deux ", "0 1 ", "IPP ", "é-", "1a"]
)
def test_cost_is_linear(piece: str) -> None:
    import time

    def seconds(size: int) -> float:
        text = (piece * size)[:size]
        best = 9.0
        for _ in range(3):
            began = time.process_time()
            spans(text + " ")
            best = min(best, time.process_time() - began)
        return best

    assert seconds(10_000) < 0.25
    assert seconds(8_000) < 12 * seconds(2_000) + 0.005


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789", min_size=7, max_size=24))
def test_digits_are_asked_of_every_number_of_their_length(digits: str) -> None:
    assert validates(digits) >= any(module.is_valid(digits) for module in national._LIBRARY)


def test_one_trial_finds_what_the_numbers_find_one_by_one() -> None:
    detector, draw = NationalNumbers(FRENCH), random.Random(0)
    found = 0
    for text in (drawn_number(draw) for _ in range(4000)):
        one_by_one = any(form.match(text) for _, _, *forms in detector._digits for form in forms if form)
        assert bool(detector._any_digits.match(text)) == one_by_one, text
        found += one_by_one
    assert 400 < found < 3900


def drawn_number(draw: random.Random) -> str:
    """Groups of digits as numbers of persons have them, one sign between all groups, sometimes another one in one place."""
    groups = draw.choice(
        [(1, 2, 2, 2, 3, 3, 2), (2, 2, 2, 3, 2), (3, 4, 4, 2), (3, 3, 3), (9,), (11,), (13,), (4, 4, 4, 4)]
    )
    signs = [draw.choice(["", " ", ".", "-", "/"])] * len(groups)
    if draw.random() < 0.3:
        signs[draw.randrange(len(signs))] = draw.choice(" .-")
    return "".join("".join(draw.choices("0123456789", k=size)) + sign for size, sign in zip(groups, signs, strict=True))
