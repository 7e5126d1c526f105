"""Sections: titles in every written form, letters without titles, conclusions by cue; offsets point into the text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.languages import load_pack
from anonymize.report import SECTIONS
from anonymize.sections import parser_of

FRENCH = parser_of(load_pack("fr"))
FORMS = [
    "CONCLUSION : Pas de fracture.",
    "Conclusion\nPas de fracture.",
    "CONCLUSION :\n\nPas de fracture.",
    "Conclusion\n==========\nPas de fracture.",
    "3) CONCLUSION\nPas de fracture.",
    "III - CONCLUSION\nPas de fracture.",
    "C O N C L U S I O N :\nPas de fracture.",
    "CONCLU SION\nPas de fracture.",
    "**Conclusion** : Pas de fracture.",
    "synthese: Pas de fracture.",
]


@pytest.mark.parametrize("form", FORMS)
def test_titles_in_every_written_form(form: str) -> None:
    found = FRENCH.parse(f"INDICATION : chute\nRESULTATS : os sans particularité.\n{form}\n")
    assert found["conclusion"] == "Pas de fracture."
    assert found["results"] == "os sans particularité."
    assert found["indication"] == "chute"


LETTERS = {
    "fr": (
        "Hôpital de Granbec\nService de radiologie\nTél : 00 01 02 03 04\nOrbec, le 3 mai 2020\n\nChère consœur,\n\n"
        "Merci de m'avoir adressé ce patient pour gonalgie. Le genou gauche montre un pincement. "
        "Au total, gonarthrose gauche.\n\nBien confraternellement,\nDr Alban Morvec",
        (
            "Merci de m'avoir adressé ce patient pour gonalgie.",
            "Le genou gauche montre un pincement.",
            "gonarthrose gauche.",
        ),
    ),
    "en": (
        "St Hilda's Hospital\nDepartment of Radiology\nTel: 00 0102\n\nDear Doctor,\n\nThank you for referring this patient "
        "with knee pain. There is narrowing on the left. In summary, mild osteoarthritis.\n\nYours sincerely,\nDr A. Morvec",
        (
            "Thank you for referring this patient with knee pain.",
            "There is narrowing on the left.",
            "mild osteoarthritis.",
        ),
    ),
    "es": (
        "Hospital de Orbec\nServicio de Radiología\nTel.: 00 0102\n\nEstimado compañero:\n\nGracias por remitir a este paciente "
        "con dolor. Se observa pinzamiento. En resumen, gonartrosis leve.\n\nUn saludo,\nDr. Alban Morvec",
        ("Gracias por remitir a este paciente con dolor.", "Se observa pinzamiento.", "gonartrosis leve."),
    ),
    "de": (
        "Klinikum Orbec\nAbteilung für Radiologie\nTel. 00 0102\n\nSehr geehrte Kollegin,\n\nvielen Dank für die Zuweisung "
        "mit Knieschmerz. Der Gelenkspalt ist verschmälert. Zusammenfassend leichte Gonarthrose.\n\n"
        "Mit freundlichen Grüßen\nDr. Alban Morvec",
        ("vielen Dank für die Zuweisung mit Knieschmerz.", "Der Gelenkspalt ist verschmälert.", "leichte Gonarthrose."),
    ),
}


@pytest.mark.parametrize("language", LETTERS)
def test_a_letter_without_titles_gives_its_body(language: str) -> None:
    text, wanted = LETTERS[language]
    found = parser_of(load_pack(language)).parse(text)
    assert (found["indication"], found["results"], found["conclusion"]) == wanted


def test_a_letterhead_without_salutation_stays_out() -> None:
    text = (
        "CHU de Granbec\nService de radiologie\nTél : 00 01 02 03 04\nORVAL Mina 03/05/1950\n\n"
        "Radiographie du genou\nPas de fracture.\n\nDr Alban Morvec\nRPPS 00000000000"
    )
    assert FRENCH.parse(text)["results"] == "Radiographie du genou\nPas de fracture."


def test_findings_below_the_indication_are_results() -> None:
    found = FRENCH.parse("Motif : chute, fracture ?\nBassin de face : pas de fracture.\nConclusion\nNormal.")
    assert (found["indication"], found["results"]) == ("chute, fracture ?", "Bassin de face : pas de fracture.")


def test_a_short_last_paragraph_is_no_signature() -> None:
    assert FRENCH.parse("Genou droit sans anomalie.\n\nPas de luxation.")["results"].endswith("Pas de luxation.")


def test_a_body_before_the_only_title_is_results() -> None:
    found = FRENCH.parse("Pas de fracture. Parties molles normales.\nConclusion : examen normal.")
    assert found["results"] == "Pas de fracture. Parties molles normales."


@given(st.text(alphabet="Cconlusi :.\n\tDr12-_=ABé?", max_size=120), st.sampled_from(["fr", "en", "es", "de"]))
@settings(max_examples=150, deadline=None)
def test_spans_are_in_the_text_in_order_and_apart(text: str, language: str) -> None:
    spans = parser_of(load_pack(language)).spans(text)
    assert all(span.name in SECTIONS and 0 <= span.start < span.end <= len(text) for span in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


def test_a_finding_below_a_line_like_a_signature_stays() -> None:
    text = (
        "RESULTATS :\nPas de fracture.\nContact os sur os du compartiment interne.\nDr Morvec prévenu\n"
        "Gonarthrose gauche de grade 4 selon Kellgren et Lawrence.\nDr Alban Morvec"
    )
    found = FRENCH.parse(text)["results"]
    assert found.endswith("Kellgren et Lawrence.")
    assert "Contact os sur os" in found
