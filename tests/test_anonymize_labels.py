"""Mined labels: what counts, what does not, and why; F1 on checked reports; labels.parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anonymize.cli import app
from anonymize.files import read_rows, write_table
from anonymize.labels.measure import measure_labels, read_gold_labels
from anonymize.labels.miner import miner
from anonymize.report import SAFE_SCHEMA

GOLD = Path(__file__).parent / "data" / "labels_fr.jsonl"
LANGUAGES = ("fr", "en", "es", "de")
CASES = [
    ("fr", "Fracture du radius. Pas d'autre fracture.", "fracture", "present"),
    ("fr", "Fracture ancienne consolidée du radius.", "fracture", "absent"),
    ("fr", "Indication : fracture ?\nRésultats : os sans particularité.", "fracture", "not_mentioned"),
    ("fr", "Radiographie à la recherche d'une fracture.", "fracture", "not_mentioned"),
    ("fr", "Antécédent familial de scoliose.", "scoliosis", "not_mentioned"),
    ("fr", "Suspicion de fracture du scaphoïde.", "fracture", "uncertain"),
    ("fr", "Fracture sans changement depuis le dernier cliché.", "fracture", "present"),
    ("fr", "Résultats : fracture possible.\nConclusion : pas de fracture.", "fracture", "absent"),
    ("fr", "Pas de luxation, fracture déplacée du radius.", "fracture", "present"),
    ("fr", "Pas de lésion osseuse suspecte.", "lesion", "absent"),
    ("fr", "Radiographie du thorax normale.", "abnormal", "absent"),
    ("en", "Old healed fracture of the radius.", "fracture", "absent"),
    ("en", "Fracture of the radius. No other fracture.", "fracture", "present"),
    ("en", "History: fracture?\nFindings: normal alignment.", "fracture", "not_mentioned"),
    ("en", "No suspicious bone lesion.", "lesion", "absent"),
    ("en", "Family history of scoliosis.", "scoliosis", "not_mentioned"),
    ("en", "Joint effusion of the knee.", "joint_effusion", "present"),
    ("es", "Fractura antigua consolidada del radio.", "fracture", "absent"),
    ("es", "Fractura del radio. Sin otras fracturas.", "fracture", "present"),
    ("es", "Luxación del hombro derecho.", "dislocation", "present"),
    ("de", "Alte konsolidierte Radiusfraktur.", "fracture", "absent"),
    ("de", "Radiusfraktur. Keine weitere Fraktur.", "fracture", "present"),
    ("de", "Schulterluxation links.", "dislocation", "present"),
    ("de", "Keine verdächtige Knochenläsion.", "lesion", "absent"),
]


@pytest.mark.parametrize(("language", "text", "label", "value"), CASES)
def test_what_counts(language: str, text: str, label: str, value: str) -> None:
    found = miner(language).read(text).get(label)
    assert (found.value if found else "not_mentioned") == value


@pytest.mark.parametrize(
    ("text", "label", "qualifier", "value"),
    [
        ("Fracture ancienne du radius gauche.", "fracture", "history", True),
        ("Fracture ancienne du radius gauche.", "fracture", "laterality", "left"),
        ("Sa mère a une scoliose.", "scoliosis", "family", True),
        ("Recherche de fracture.", "fracture", "question", True),
        ("Probable fracture.", "fracture", "hypothetical", True),
        ("Pas de fracture.", "fracture", "negated", True),
        ("Épanchement pleural droit inchangé.", "effusion", "change", "unchanged"),
        ("Apparition d'un épanchement pleural.", "effusion", "change", "new"),
        ("Gonarthrose bilatérale.", "osteoarthritis", "laterality", "both"),
    ],
)
def test_qualifiers(text: str, label: str, qualifier: str, value: object) -> None:
    assert getattr(miner("fr").read(text)[label].qualifiers, qualifier) == value


def test_evidence_points_into_the_text_where_ligatures_and_accents_stand_before() -> None:
    text = "Œdème des sœurs.\nConclusion : Épanchement pleural."
    mention = miner("fr").read(text)["effusion"]
    assert text[mention.start : mention.end] == "Épanchement"
    assert mention.section == "conclusion"


@pytest.mark.parametrize(
    ("text", "grades"),
    [
        ("Arthrose grade 3 de Kellgren à droite, grade 2 à gauche.", (3, 3, 2)),
        ("Genou droit : KL 1.\nGenou gauche : arthrose sévère, KL IV.", (4, 1, 4)),
        ("Décollement épiphysaire grade 2 de Salter.", (None, None, None)),
    ],
)
def test_grades_by_knee(text: str, grades: tuple[int | None, ...]) -> None:
    read = miner("fr").read(text)
    names = ("kl_grade", "kl_right", "kl_left")
    assert tuple(read[name].grade if name in read else None for name in names) == grades


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_pack_has_the_same_labels(language: str) -> None:
    assert set(miner(language).labels) == set(miner("fr").labels)


@pytest.mark.parametrize(("half", "floor"), [("tune", 0.97), ("held_out", 0.92)])
def test_f1_on_checked_reports(half: str, floor: float) -> None:
    gold = [item for item in read_gold_labels(GOLD) if item.half == half]
    result = measure_labels(miner("fr"), gold, draws=50)
    assert result["reports"] == 80
    assert result["all"]["f1"] >= floor
    assert result["all"]["f1_low"] <= result["all"]["f1"] <= result["all"]["f1_high"]


def test_labels_parquet(tmp_path: Path) -> None:
    row = {name: "" for name in SAFE_SCHEMA.names} | {"age_months": None, "language": "fr"}
    texts = ["Conclusion : fracture du radius droit.", "Pas de fracture."]
    rows = [
        row | {"report_id": f"r{i}", "patient": "p", "study": f"s{i}", "text": text} for i, text in enumerate(texts)
    ]
    for i, item in enumerate(rows):
        write_table(tmp_path / "reports" / f"part-{i:05d}.parquet", [item], SAFE_SCHEMA)
    result = CliRunner().invoke(app, ["labels", str(tmp_path), "workers=1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["labels"]["fracture"] == {"present": 1, "absent": 1}
    found = [item for item in read_rows(tmp_path / "labels" / "labels.parquet") if item["label"] == "fracture"]
    assert [(item["report_id"], item["value"]) for item in found] == [("r0", "present"), ("r1", "absent")]
    assert texts[0][found[0]["start"] : found[0]["end"]] == "fracture"
    assert (found[0]["section"], found[0]["laterality"], found[1]["negated"]) == ("conclusion", "right", True)
    assert len(read_rows(tmp_path / "labels" / "labels.parquet")) == 2 * len(miner("fr").labels)


def test_measure_by_command_and_its_errors(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["labels", str(GOLD), "--measure", "--half", "tune", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["by_label"]["fracture"]["n"] > 20
    bad = tmp_path / "gold.jsonl"
    bad.write_text('{"text": "x", "labels": {"fracture": "maybe"}}\n', encoding="utf-8")
    assert CliRunner().invoke(app, ["labels", str(bad), "--measure"]).exit_code == 2
    assert CliRunner().invoke(app, ["labels", str(tmp_path)]).exit_code == 2
