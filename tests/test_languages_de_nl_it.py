"""German, Dutch and Italian rules on sentences written for these tests."""

from __future__ import annotations

from functools import lru_cache

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig


@lru_cache(maxsize=4)
def anonymizer(language: str) -> Anonymizer:
    return Anonymizer(ReportsConfig(language=language, ner="none"), Keys(b"k" * 32))


def hidden(language: str, text: str) -> list[str]:
    return [text[span.start : span.end] for span in anonymizer(language).detect(text)]


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("de", "Sehr geehrte Frau Kollegin Tannhuber,", ["Tannhuber"]),
        ("de", "Prim. Univ. Prof. Dr. Alois Krammel", ["Alois Krammel"]),
        ("de", "Z. n. Knie-TEP links 12/17, Pneumonie 3/21", ["12/17", "3/21"]),
        ("de", "Cholezystektomie 2019, sonst gesund", ["2019"]),
        ("de", "wohnhaft Lindenallee 14, Bergfelden", ["Lindenallee 14", "Bergfelden"]),
        ("de", "Bergfelden, 03.04.2021\n", ["Bergfelden", "03.04.2021"]),
        ("de", "am dritten März zweitausendneunzehn", ["dritten März zweitausendneunzehn"]),
        ("nl", "dr. J. Wagemaker belt terug", ["dr. J. Wagemaker"]),
        ("nl", "gezien met A.B. van der Molenkamp vandaag", ["A.B. van der Molenkamp"]),
        ("nl", "Vonderlaan 12, 3456 KL Roosdrecht", ["Vonderlaan 12", "3456 KL", "Roosdrecht"]),
        ("nl", "zie brief van 4 mrt 2020, Postbus 312", ["4 mrt 2020", "Postbus 312"]),
        ("nl", "BSN 123456782", ["123456782"]),
        ("it", "G.F., 59 anni, iperteso", ["G.F."]),
        (
            "it",
            "Dott.ssa Ornella Gentile, Via Garibaldi 12, Montelago",
            ["Ornella Gentile", "Via Garibaldi 12", "Montelago"],
        ),
        ("it", "Nel novembre del 2011 stava bene", ["novembre del 2011"]),
        ("it", "vive con il coniuge a Torrevara", ["Torrevara"]),
        ("it", "ricovero presso il Policlinico Umberto I", ["Policlinico Umberto I"]),
    ],
)
def test_what_identifies_is_found(language: str, text: str, found: list[str]) -> None:
    spans = hidden(language, text)
    for part in found:
        assert any(part in span for span in spans), spans


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Laut Mutter den Eindruck, dass Tochter und Sohn gesund sind."),
        ("de", "Klinik und Poliklinik für Innere Medizin, Stationsarzt und Operateur anwesend."),
        ("de", "Im distalen Colon eine 2 cm große Raumforderung, Diclo 1 zur Nacht."),
        ("de", "Gonarthrose, Kellgren und Lawrence Grad 3, Baker-Zyste, Morbus Crohn."),
        ("de", "6700 Leukozyten, Kraftgrad 4/5, NRS 3/10, RR 120/80 mmHg."),
        ("nl", "Bakerse cyste, ziekte van Crohn, graad 2 volgens Kellgren, 1250 mg paracetamol."),
        ("nl", "Patiënt is 6,5 jaar geleden gestopt met roken; RR 120/80."),
        ("it", "Frattura di Colles, cisti di Baker, morbo di Crohn, stadio III."),
        ("it", "Terapia con ramipril 5 mg, PA 145/90 mmHg, dolore irradiato al braccio."),
    ],
)
def test_what_is_clinical_stays(language: str, text: str) -> None:
    assert hidden(language, text) == []


@pytest.mark.parametrize("language", ["de", "nl", "it"])
def test_templates_give_labelled_documents_and_documents_without_names(language: str) -> None:
    from anonymize.languages import load_pack
    from anonymize.ner.grammar import Grammar

    documents = list(Grammar(load_pack(language)).documents(60, seed=3))
    kinds = {kind for document in documents for _, _, kind in document.spans}
    assert {"name", "town", "institution", "address", "date", "phone"} <= kinds
    assert any(not document.spans for document in documents)
    assert not any("{" in document.text for document in documents)


def test_a_dutch_title_is_hidden_with_its_name_and_stays_in_the_surrogate() -> None:
    from anonymize.report import Identity, Report

    report = Report(1, Identity(patient_id="1"), "2020-05-04", "", "Mevrouw Wagemaker werd gezien door dr. Molenkamp.")
    text = anonymizer("nl").anonymize(report).report.text
    assert text.startswith("Mevrouw ")
    assert " door dr. " in text
    assert "Wagemaker" not in text
    assert "Molenkamp" not in text
