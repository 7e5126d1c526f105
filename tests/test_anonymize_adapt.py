"""Learning from an export: columns label, what recurs is found, held-out patients measure, nobody's name is kept."""

from __future__ import annotations

import csv
import json
import random
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from anonymize.adapt.recurring import Recurrence, normal
from anonymize.adapt.silver import Exchange, label
from anonymize.console import Console, UserError
from anonymize.detect import detect_file
from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.measure import Gold, measure, read_gold
from anonymize.policy import ReportsConfig
from anonymize.report import Identity, Span

KEYS = Keys(b"k" * 32)
SURNAMES = ("Abrivard", "Cazedepats", "Drouhault", "Ferlicot", "Guillemaud", "Hautecoeur", "Jouanneteau", "Kerdilès")
GIVEN = ("Amandine", "Brieuc", "Clothilde", "Donatien", "Eulalie", "Gaspard")


def export(path: Path, patients: int, seed: int = 0) -> Path:
    """A table of reports with a letterhead, a referring practice that no rule can know, and the patient in the text."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(["IPP", "NOM", "PRENOM", "SEXE", "DATE_NAISSANCE", "DATE_EXAMEN", "TEXTE"])
        for number in range(patients):
            surname, given = f"{draw.choice(SURNAMES)}", draw.choice(GIVEN)
            text = (
                "Imagerie du Môle Vert\nréf. interne tarvenn\n\n"
                f"Compte rendu concernant {given} {surname.upper()}, radiographie du genou.\n"
                f"{surname} marche sans canne. Pas de fracture.\nlu avec tarvenn"
            )
            writer.writerow([f"{700000 + number}", surname, given, "F", "12/03/1961", "04/05/2021", text])
    return path


def test_columns_label_the_text_and_other_values_take_their_place(tmp_path: Path) -> None:
    engine = Anonymizer(ReportsConfig(language="fr"), KEYS)
    silver = list(label(engine, export(tmp_path / "e.csv", 30), limit=100))
    assert len(silver) == 30
    assert {item.held_out for item in silver} == {True, False}
    assert all(span.rule.startswith("known.") for item in silver for span in item.from_columns)
    exchange = Exchange(engine.pack, seed=0)
    for item in silver:
        document = exchange.document(item)
        assert item.report.identity.surname.lower() not in document.text.lower()
        assert "Pas de fracture." in document.text
        names = [document.text[start:end] for start, end, kind in document.spans if kind == "name"]
        assert any(name.isupper() or name.split()[-1].isupper() for name in names)
        assert exchange.document(item) == document


def test_what_recurs_over_patients_is_a_term_and_a_patient_is_not(tmp_path: Path) -> None:
    engine = Anonymizer(ReportsConfig(language="fr"), KEYS)
    recurrence = Recurrence(engine.pack, minimum=3)
    for item in label(engine, export(tmp_path / "e.csv", 40), limit=100):
        recurrence.add(item)
    lines = dict(recurrence.lines())
    assert lines["ref. interne tarvenn"] == 40
    terms = {term.text for term in recurrence.terms()}
    assert not terms & {normal(name) for name in SURNAMES}


def test_adapt_writes_a_private_folder_that_reports_can_use(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from anonymize.adapt.run import AdaptConfig, run_adapt

    source = export(tmp_path / "e.csv", 60)
    gold = tmp_path / "corrections.jsonl"
    gold.write_text(json.dumps({"text": "Vu tarvenn.", "spans": [{"start": 3, "end": 10, "label": "NOM"}]}) + "\n")
    config = AdaptConfig(language="fr", documents=60, reports=100)
    summary = run_adapt(config, source, tmp_path / "adapted", Console("quiet"), [gold])
    assert summary["reports"] + summary["held_out_reports"] == 60 + 1
    assert summary["held_out_mentions"] > 0
    assert summary["gain"] == round(summary["after"]["redact_recall"] - summary["before"]["redact_recall"], 4)
    assert stat.S_IMODE((tmp_path / "adapted").stat().st_mode) == 0o700
    kept = (tmp_path / "adapted" / "hospital.json").read_text(encoding="utf-8").lower()
    assert not any(name.lower() in kept for name in SURNAMES)
    engine = Anonymizer(ReportsConfig(language="fr", ner=str(tmp_path / "adapted")), KEYS)
    assert engine.find("Mme Hautecoeur, radiographie.")
    assert engine.fingerprints()["model_fingerprint"] != "none"


def test_an_export_that_names_nobody_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from anonymize.adapt.run import AdaptConfig, run_adapt

    path = tmp_path / "e.csv"
    path.write_text("IPP;NOM;TEXTE\n" + "\n".join(f"{n};Zzyzx;Radiographie normale." for n in range(40)) + "\n")
    with pytest.raises(UserError, match="0 mentions"):
        run_adapt(AdaptConfig(language="fr"), path, tmp_path / "out", Console("quiet"))
    assert not (tmp_path / "out").exists()


def test_detect_writes_positions_and_no_text_and_loses_no_line(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    text = "Dr Hautecoeur 🩻 né le 3/4/1980"
    source.write_text(
        json.dumps({"id": "a", "text": text})
        + "\n{broken\n"
        + json.dumps({"id": "c"})
        + "\n[]\n"
        + json.dumps({"id": "d", "text": ""})
        + "\n",
        encoding="utf-8",
    )
    summary = detect_file(
        Anonymizer(ReportsConfig(language="fr"), KEYS), source, tmp_path / "o.jsonl", False, Console("quiet")
    )
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row.get("error", "") for row in rows] == ["", "not_json", "no_text", "not_an_object", ""]
    assert (summary["documents"], summary["refused"]) == (2, 3)
    found = {text[span["start"] : span["end"]] for span in rows[0]["spans"]}
    assert found == {"Hautecoeur", "3/4/1980"}  # offsets are code points, also behind an emoji
    assert "Hautecoeur" not in (tmp_path / "o.jsonl").read_text(encoding="utf-8")
    assert set(rows[0]["spans"][0]) == {"start", "end", "label", "score", "detector"}


def test_measure_prints_the_keys_that_others_read(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    row = {
        "text": "Dr Hautecoeur : stade 3 de Kellgren et Lawrence, 12 mm.",
        "spans": [{"start": 3, "end": 13, "label": "NOM"}],
        "meta": {
            "known_patient": {"last_name": "Ferlicot", "first_name": "Amandine", "birth_date": "1961-03-12", "sex": "F"}
        },
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    gold = list(read_gold(path))
    assert gold[0].identity == Identity(surname="Ferlicot", given_name="Amandine", birth_date="1961-03-12", sex="F")
    result, _ = measure(Anonymizer(ReportsConfig(language="fr"), KEYS), gold, use_identity=True)
    wanted = "documents tokens gold_tokens redact_recall redact_full precision false_positives_per_1000 leak_rate"
    assert {*wanted.split(), "by_label", "clinical_damage", "documents_per_second"} <= set(result)
    assert (result["redact_recall"], result["leak_rate"], result["clinical_damage"]) == (1.0, 0.0, 0.0)
    damaged, _ = measure(
        _Everything(ReportsConfig(language="fr", ner="none"), KEYS), [Gold(gold[0].text, (), Identity())]
    )
    assert damaged["clinical_damage"] == 1000.0
    assert damaged["redact_recall"] is None


class _Everything(Anonymizer):
    """Hides whole documents."""

    def by_rules(self, texts: Sequence[str]) -> list[list[Span]]:
        return [[Span(0, len(text), "name", 1.0, "test")] for text in texts]
