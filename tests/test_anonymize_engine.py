"""Detection and replacement: what identifies goes, what is clinical stays, offsets hold."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.overlaps import resolve
from anonymize.policy import Policy, ReportsConfig
from anonymize.report import KINDS, Identity, Report, Span
from anonymize.text import View, collapse, fold

KEYS = Keys(b"a test secret of some length")
ENGINE = Anonymizer(ReportsConfig(), KEYS)
IDENTITY = Identity(
    patient_id="80012345",
    surname="LE GOFF-MARCHAND",
    birth_name="Bélanger",
    given_name="Marie-Ève",
    sex="F",
    birth_date="1957-03-12",
    address="12 bis rue des Tilleuls",
    postcode="29200",
    town="Saint-Renan",
    phone="06 12 34 56 78",
    visit="770099881",
    accession="ACC2024-0077",
    staff=("Dr Karim BENALI", "Pr Sylvie Garreau"),
)


def covered(text: str, identity: Identity | None = IDENTITY) -> str:
    """``text`` with a bar for each hidden character."""
    spans = ENGINE.detect(text, ENGINE.known(identity) if identity else None)
    out = list(text)
    for span in spans:
        out[span.start : span.end] = "█" * (span.end - span.start)
    return "".join(out)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Vue ce jour : Le Goff-Marchand.", "Goff"),
        ("LEGOFF MARCHAND MARIE EVE", "MARCHAND"),
        ("La patiente belanger est connue.", "belanger"),
        ("B E L A N G E R Marie-Eve", "B E L A N G E R"),
        ("Mme Bélnager, suivie depuis longtemps", "Bélnager"),
        ("BELANGERMARIEEVE", "BELANGER"),
        ("MARIEEVE_BELANGER", "BELANGER"),
        ("M.-È. Bélanger consulte", "M.-È."),
        ("Patiente M.L. revue", "M.L."),
        ("née le 12.03.57", "12.03.57"),
        ("Naissance 12 mars 1957", "12 mars 1957"),
        ("DDN 19570312", "19570312"),
        ("dossier 12031957", "12031957"),
        ("Portable +33 6.12.34.56.78", "6.12.34.56.78"),
        ("tél 0612345678", "0612345678"),
        ("vit 12 bis, rue des Tilleuls", "Tilleuls"),
        ("dans St Renan", "St Renan"),
        ("numéro 8001 2345", "8001 2345"),
        ("examen ACC20240077", "ACC20240077"),
        ("séjour 770099881", "770099881"),
        ("avis de Benali demandé", "Benali"),
        ("relu par GARREAU", "GARREAU"),
    ],
)
def test_known_identity_in_any_spelling(text: str, secret: str) -> None:
    shown = covered(text)
    start = text.index(secret)
    hidden = [
        char for char, original in zip(shown[start : start + len(secret)], secret, strict=True) if original.isalnum()
    ]
    assert set(hidden) == {"█"}, shown


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Signé : Dr Yvon Kerbrat", "Kerbrat"),
        ("Opéré par le Pr VAN DEN BROECK en 2019.", "BROECK"),
        ("Dr Lemaitre / Dr Oulad", "Oulad"),
        ("Accompagnée de sa mère Anouk Delorme.", "Delorme"),
        ("KERBRAT Yvon né le 03/04/1980", "KERBRAT"),
        ("NIR 2 57 03 29 200 123 45", "200 123"),
        ("RPPS 10247104978", "10247104978"),
        ("Écrire à y.kerbrat@chu-exemple.fr", "kerbrat"),
        ("hospitalisée au CHU de Brestval", "Brestval"),
        ("35 avenue Victor Hugo, 75016 Paris", "Paris"),
        ("PID|1||99887766^^^H||KERBRAT^YVON||19800403|M", "KERBRAT"),
        ("revu le 1 6 0 3 2 0 0 9", "1 6 0 3 2 0 0 9"),
        ("depuis mars 2019", "mars 2019"),
    ],
)
def test_rules_without_identity(text: str, secret: str) -> None:
    assert secret not in covered(text, None)


@pytest.mark.parametrize(
    "text",
    [
        "Gonarthrose de grade 3 de Kellgren-Lawrence, kyste de Baker.",
        "Fracture Salter-Harris II, Osgood-Schlatter. Pouteau-Colles.",
        "Âge osseux selon Greulich et Pyle : 12 ans et 6 mois.",
        "Tassement de T12, discopathie L4-L5, tiers moyen 3/4, TA 10/6.",
        "Interligne à 2,4 mm ; épanchement de 12 ml ; 382000 plaquettes.",
        "Petit épanchement. Rotule droite normale. IRM CEREBRALE",
        "Patient de 72 ans. Polygone de Willis perméable.",
    ],
)
def test_clinical_text_stays(text: str) -> None:
    assert covered(text, None) == text
    assert covered(text) == text


def test_a_title_beats_the_protection_of_an_eponym() -> None:
    assert "Baker" not in covered("Adressé par le Dr Baker. ", None)


REPORT = Report(
    2,
    IDENTITY,
    "2024-05-03",
    "Radiographie du genou",
    "CENTRE HOSPITALIER DE BREST\nMme LE GOFF-MARCHAND Marie-Ève née Bélanger le 12/03/1957\n\n"
    "INDICATION : douleurs depuis le 03/04/2024.\nRésultats : Interligne à 2,4 mm. Mme Bélanger, 67 ans.\n"
    "CONCLUSION : normal.\n\nCordialement\nDr Karim BENALI\n",
)


def test_surrogates_are_consistent_and_dates_keep_their_distance() -> None:
    safe = ENGINE.anonymize(REPORT).report
    for real in ("goff", "marchand", "belanger", "benali", "brest", "eve"):
        assert not re.search(rf"\b{real}\b", fold(safe.text))
    born = re.search(r"née (\w+) le (\d\d)/(\d\d)/(\d{4})", safe.text)
    assert born is not None
    assert f"Mme {born[1]}, 67 ans" in safe.text
    assert safe.age_months == 805
    assert safe.indication.startswith("douleurs depuis le ")
    assert safe.conclusion == "normal."
    assert "Cordialement" not in safe.conclusion
    assert ENGINE.anonymize(REPORT).report == safe
    other = Anonymizer(ReportsConfig(), Keys(b"another secret, long enough")).anonymize(REPORT).report
    assert other.text != safe.text


def test_age_above_89_is_capped() -> None:
    identity = Identity(patient_id="1", birth_date="1920-01-01")
    safe = ENGINE.anonymize(Report(2, identity, "2020-01-02", "", "Patiente de 100 ans, née le 01/01/1920.")).report
    assert safe.age_months == 1068
    assert "89 ans" in safe.text
    year = int(re.search(r"\d\d/\d\d/(\d{4})", safe.text)[1])
    assert int(safe.date[:4]) - year in (89, 90)


@pytest.mark.parametrize(("action", "expected"), [("tag", "[NOM]"), ("mask", "xxxxxxx"), ("delete", "Dr  signe")])
def test_policy_actions(action: str, expected: str) -> None:
    engine = Anonymizer(ReportsConfig(policy=Policy(name=action)), KEYS)
    report = Report(2, Identity(patient_id="9"), "", "", "Le Dr KERBRAT signe")
    assert expected in engine.anonymize(report).report.text


WORDS = st.sampled_from(
    [
        "Interligne",
        "normal.",
        "Dr",
        "Kerbrat",
        "12/03/2019",
        "mm",
        "06",
        "12",
        "34",
        "56",
        "78",
        "IPP",
        ":",
        "123456",
        "\n",
        "é",
        "Œ",
        "Mme",
        "D'Orval",
        "rue",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(WORDS, st.text(max_size=6)), max_size=25).map(" ".join))
def test_any_text_spans_are_ordered_and_the_rest_is_untouched(text: str) -> None:
    spans = ENGINE.detect(text, ENGINE.known(IDENTITY))
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    report = Report(2, IDENTITY, "2024-05-03", "", text)
    tagged = Anonymizer(ReportsConfig(policy=Policy(**dict.fromkeys(Policy.model_fields, "keep"))), KEYS)
    assert tagged.substitute(text, spans, _person(report)) == text


def _person(report: Report):
    from anonymize.surrogates import Person

    return Person(report.identity, 100, report.exam_date, 800)


NAMES = st.text("abcdefghijklmnoprstuvéèç", min_size=5, max_size=12).map(str.capitalize)


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES, st.sampled_from(["{n} {g}", "{g} {n}", "{N} {g}", "Mme {n}", "{g}-{n}", "vu {N} ce jour"]))
def test_any_known_name_is_hidden(surname: str, given_name: str, form: str) -> None:
    identity = Identity(patient_id="7", surname=surname, given_name=given_name)
    text = "Examen de " + form.format(n=surname, N=surname.upper(), g=given_name) + " réalisé."
    words = ENGINE.words
    if {fold(surname), fold(given_name)} & (words.common | words.particles | words.protected.words):
        return
    assert fold(surname) not in fold(covered(text, identity)).replace("█", " ")


def test_no_surrogate_equals_an_avoided_word() -> None:
    first = ENGINE.anonymize(REPORT).report.text
    new = {collapse(word) for word in re.findall(r"[^\W\d_]{4,}", first)} - {
        collapse(w) for w in re.findall(r"[^\W\d_]{4,}", REPORT.text)
    }
    assert new
    again = Anonymizer(ReportsConfig(), KEYS, avoid=frozenset(new)).anonymize(REPORT).report.text
    assert not new & {collapse(word) for word in re.findall(r"[^\W\d_]+", again)}


@given(cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.sampled_from(KINDS)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_what_any_span_covers_stays_covered(cuts: list[tuple[int, int, str]]) -> None:
    text = "TRAN Thi Mai - 25/05/2022 IPP 123456 Brest tel 0102030405"
    spans = [Span(start, min(len(text), start + length), kind, 0.9, "x") for start, length, kind in cuts]
    found = resolve(View(text), spans)
    ends = 0
    for span in found:
        assert ends <= span.start < span.end
        ends = span.end
    for index, char in enumerate(text):
        wanted = char.isalnum() and any(span.start <= index < span.end for span in spans)
        assert not wanted or any(span.start <= index < span.end for span in found)


def test_a_date_in_a_name_is_replaced_as_a_date() -> None:
    text = "TRAN Thi Mai - 25/05/2022"
    found = resolve(View(text), [Span(0, 25, "name", 0.9, "x"), Span(15, 25, "date", 0.9, "y")])
    assert [(span.start, span.end, span.kind) for span in found] == [(0, 14, "name"), (15, 25, "date")]


@given(
    unit=st.sampled_from(
        ["06 12 34 56 78\n", "Dr Kerbrat ", "né le 3/4/1980 ", "a.b@chu.fr ", "Vu par le Dr Kerbrat, pas de lésion.\n"]
    ),
    before=st.text(alphabet="abc é\n", max_size=40),
    count=st.integers(130, 400),
)
@settings(max_examples=20, deadline=None)
def test_what_identifies_is_hidden_in_every_repeat(unit: str, before: str, count: int) -> None:
    text = f"{before}\n{unit * count}fin du compte rendu"
    found = ENGINE.find(text)
    hidden = bytearray(len(text))
    for span in found:
        hidden[span.start : span.end] = b"\1" * (span.end - span.start)
    telling = "Kerbrat" if "Kerbrat" in unit else max(unit.split(), key=len)
    position = text.find(telling)
    while position >= 0:
        assert all(hidden[position : position + len(telling)])
        position = text.find(telling, position + 1)
    assert text.endswith("compte rendu")
    assert not any(hidden[-len("compte rendu") :])
