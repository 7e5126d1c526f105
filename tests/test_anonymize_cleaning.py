"""Cleaning: offsets lead back, findings stay, what stands around the body goes; near-duplicates are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from anonymize.cleaning.abbreviations import compile_abbreviations, expansions
from anonymize.cleaning.characters import repairs
from anonymize.cleaning.clean import Cleaner, Steps
from anonymize.cleaning.duplicates import near_duplicates
from anonymize.cleaning.layout import LineCounts, line_key
from anonymize.cleaning.offsets import Edit, Edited
from anonymize.cleaning.sentences import split_sentences
from anonymize.cleaning.wraps import joins
from anonymize.cli import app
from anonymize.files import read_rows, write_table
from anonymize.languages import load_pack
from anonymize.report import SAFE_SCHEMA

FRENCH = load_pack("fr")
REPORT = (
    "CHU de Granbec\nService de radiologie\nTél : 00 01 02 03 04\n\nRadiographie du genou gche F+P\n\n"
    "INDICATION : chute\nRESULTATS :\nPas de frac-\nture. Ostéophytose marginale du plateau tibial interne sans\n"
    "pincement de l'interligne.\n- Pas d'épanchement\n- Rotule centrée\nPage 1/2\nCONCLUSION : Examen normal.\n\n"
    "Bien cordialement,\nDr Alban Morvec"
)

edits_of = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 6), st.text(alphabet="xyz", max_size=3)), max_size=6
).map(lambda items: [Edit(start, start + length, new) for start, length, new in items])


@given(st.text(alphabet="abc \n", max_size=40), edits_of, edits_of)
@settings(max_examples=300, deadline=None)
def test_pieces_cover_both_texts_and_unchanged_ones_are_equal(text: str, first: list[Edit], second: list[Edit]) -> None:
    edited = Edited.unchanged(text).edit(first).edit(second)
    position = 0
    for piece in edited.pieces:
        assert piece.start == position
        position = piece.end
        if piece.same:
            assert edited.text[piece.start : piece.end] == text[piece.source_start : piece.source_end]
            assert edited.original(piece.start, piece.end) == edited.text[piece.start : piece.end]
    assert position == len(edited.text)
    # putting every source range back gives the source
    assert all(a.source_end <= b.source_end for a, b in zip(edited.pieces, edited.pieces[1:], strict=False))


def test_the_whole_report_in_order() -> None:
    cleaned = Cleaner(FRENCH, Steps(abbreviations=True)).clean(REPORT)
    assert cleaned.edited.text.strip() == (
        "Radiographie du genou gauche face et profil\nINDICATION : chute\nRESULTATS :\n"
        "Pas de fracture. Ostéophytose marginale du plateau tibial interne sans pincement de l'interligne.\n"
        "- Pas d'épanchement\n- Rotule centrée\nCONCLUSION : Examen normal."
    )
    start = cleaned.edited.text.index("gauche")
    assert cleaned.edited.original(start, start + len("gauche")) == "gche"
    assert set(cleaned.counts) == {"letterhead", "signature", "pages", "wraps", "abbreviations"}


@pytest.mark.parametrize(
    "step", ["characters", "pages", "letterhead", "signature", "boilerplate", "wraps", "abbreviations"]
)
def test_each_step_can_be_switched_off(step: str) -> None:
    off = Steps(**{name: name == "none" for name in Steps.model_fields})
    assert Cleaner(FRENCH, off).clean(REPORT).edited.text == REPORT
    only = Cleaner(FRENCH, off.model_copy(update={step: True})).clean(REPORT)
    assert set(only.counts) <= {step}


@pytest.mark.parametrize(
    ("spoiled", "wanted"),
    [
        ("fracture dÃ©placÃ©e", "fracture déplacée"),
        ("Ã\xa0 droite", "à droite"),
        ("lâ€™os", "l’os"),
        ("À GAUCHE", "À GAUCHE"),
        ("a\u200bb\xa0c\r\nd", "ab c\nd"),
    ],
)
def test_wrongly_decoded_letters(spoiled: str, wanted: str) -> None:
    assert Edited.unchanged(spoiled).edit(repairs(spoiled)).text == wanted


@given(st.text(alphabet="éàçœ’ùêÉ a", max_size=30))
@settings(max_examples=100, deadline=None)
def test_spoiled_text_is_repaired_and_sound_text_stays(text: str) -> None:
    spoiled = "".join(bytes([b]).decode("cp1252", errors="ignore") or chr(b) for b in text.encode("utf-8"))
    assert Edited.unchanged(spoiled).edit(repairs(spoiled)).text == text
    assert Edited.unchanged(text).edit(repairs(text)).text == text


def test_lists_titles_and_short_lines_are_not_joined() -> None:
    text = "Rotule centrée\nPas de fracture\n1. Genou droit\n2. Genou gauche\nConclusion :\nexamen normal de tout le genou droit"
    assert list(joins(text)) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Poignet : fr. non dépl. du radius", "Poignet : fracture non dépl. du radius"),
        ("M. Fr. Martin est venu", "M. Fr. Martin est venu"),
        ("genou D et main G", "genou droit et main gauche"),
        ("vitamine D, groupe G", "vitamine D, groupe G"),
        ("Rx du genou", "Radiographie du genou"),
    ],
)
def test_abbreviations_need_their_context(text: str, wanted: str) -> None:
    entries = compile_abbreviations(FRENCH["cleaning"]["abbreviations"], "fr")
    edited = Edited.unchanged(text).edit(expansions(text, entries))
    assert edited.text == wanted
    restored = "".join(edited.source[p.source_start : p.source_end] for p in edited.pieces)
    assert restored == text


def test_repeated_lines_count_reports_in_bounded_memory() -> None:
    counts = LineCounts(share=0.1)
    for number in range(3000):
        letters = chr(97 + number % 26) * (number % 97 + 4)
        counts.add(f"Groupe hospitalier des Deux Rives, poste {number}\nligne unique {letters}{'y' * (number // 97)}\n")
    assert counts.repeated() == {line_key("groupe hospitalier des deux rives, poste 7")}
    assert len(counts._counts) < 400


def test_shared_lines_go_outside_of_the_body_only() -> None:
    shared = "Groupe des Deux Rives"
    text = f"INDICATION : chute\nRESULTATS : Pas de fracture.\n{shared}"
    keys = frozenset(key for line in (shared, "RESULTATS : Pas de fracture.") if (key := line_key(line)))
    off = Steps(**dict.fromkeys(Steps.model_fields, False)).model_copy(update={"boilerplate": True})
    cleaned = Cleaner(FRENCH, off, keys).clean(f"{shared}\n{text}").edited.text
    assert "Pas de fracture." in cleaned
    assert not cleaned.startswith(shared)


def test_sentences_by_rules_and_by_eds_nlp() -> None:
    text = "Pas de fracture du Dr. Colles de 3.5 mm. Épanchement.\n- Rotule centrée\n- Pas de luxation"
    parts = [text[a:b].strip() for a, b in split_sentences(text, FRENCH)]
    assert parts == [
        "Pas de fracture du Dr. Colles de 3.5 mm.",
        "Épanchement.",
        "- Rotule centrée",
        "- Pas de luxation",
    ]
    pytest.importorskip("edsnlp")
    eds = [text[a:b] for a, b in split_sentences("Pas de fracture. Épanchement droit.", FRENCH, "eds")]
    assert len(eds) == 2
    assert len(split_sentences("No fracture. Small effusion.", load_pack("en"), "sentencizer")) == 2


def test_near_duplicates_are_grouped() -> None:
    pytest.importorskip("datasketch")
    base = ["pas", "de", "fracture", "visible", "sur", "les", "deux", "incidences"] + [f"mot{i}" for i in range(60)]
    reports = [
        ("a", " ".join(base)),
        ("b", "un autre compte rendu qui ne ressemble en rien au premier " * 3),
        ("c", " ".join([*base[:-1], "fin"])),
        ("d", ""),
        ("e", " ".join(base).upper()),
    ]
    found = list(near_duplicates(reports))
    assert [row.report_id for row in found] == ["a", "c", "e"]
    assert {row.group for row in found} == {0}
    assert found[0].jaccard == found[2].jaccard == 1.0
    assert 0.85 <= found[1].jaccard < 1.0


def test_the_command_writes_cleaned_reports_and_near_duplicates(tmp_path: Path) -> None:
    pytest.importorskip("datasketch")
    row = {name: "" for name in SAFE_SCHEMA.names} | {"age_months": None, "language": "fr", "text": REPORT}
    rows = [row | {"report_id": str(i), "patient": str(i), "study": str(i)} for i in range(3)]
    write_table(tmp_path / "reports" / "part-00000.parquet", rows, SAFE_SCHEMA)
    result = CliRunner().invoke(app, ["clean", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["reports"] == 3
    assert summary["near_duplicates"] == {"groups": 1, "reports": 3}
    cleaned = read_rows(tmp_path / "clean")[0]
    assert cleaned["results"].startswith("Pas de fracture. Ostéophytose")
    for piece in cleaned["offsets"]:
        new, old = cleaned["text"][piece["start"] : piece["end"]], REPORT[piece["safe_start"] : piece["safe_end"]]
        assert new == old or len(new) != len(old) or new in " "
    assert read_rows(tmp_path / "near_duplicates.parquet")[0]["group"] == 0


def test_an_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["clean", str(tmp_path)])
    assert result.exit_code == 2
