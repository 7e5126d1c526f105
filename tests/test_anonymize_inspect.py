"""`anonymize inspect`: columns recognised by heading and by value, a mapping that `reports` takes, no value shown."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
import report_factory as make
import yaml
from typer.testing import CliRunner

from anonymize import batch
from anonymize.cli import app
from anonymize.config import load_config
from anonymize.console import Console
from anonymize.inspection import inspect_export, mapping_text
from anonymize.keys import Keys
from anonymize.policy import Files, ReportsConfig

TRUTH = ("patient", "surname", "given_name", "sex", "birth_date", "address", "postcode", "town", "phone", "accession", "exam_date",
         "exam", "prescriber", "radiologist", "text")  # fmt: skip
STEMS = ("Kerb", "Plou", "Loc", "Guil", "Trem", "Pen", "Ros", "Quim", "Land", "Coat")
ENDS = ("ratec", "gasnou", "ronan", "vinec", "eloc", "hoatel", "porden", "perlec")
GIVEN = ("Nathalie", "Sylvie", "Martine", "Camille", "Yseultine", "Corentinou", "Nicole", "Céline")
TOWNS = ("Tregastelou", "Plouzanec", "Landivis", "Kermaria", "Saint-Goulven")
EXAMS = ("Radiographie du genou", "Radiographie du poignet", "Radiographie du thorax")


def table(patients: int = 60, seed: int = 3) -> list[list[str]]:
    """Rows of one to three reports a patient, columns in the order of :data:`TRUTH`."""
    draw = random.Random(seed)
    staff = [f"Dr {draw.choice(STEMS)}{end} {draw.choice(GIVEN)}" for end in ENDS]
    rows: list[list[str]] = []
    for number in range(patients):
        surname, given = (draw.choice(STEMS) + draw.choice(ENDS)).upper(), draw.choice(GIVEN)
        sex, town = draw.choice("FM"), draw.randrange(len(TOWNS))
        born = f"{draw.randint(1, 28):02d}/{draw.randint(1, 12):02d}/{draw.randint(1925, 2010)}"
        street = f"{draw.randint(1, 99)} rue des {draw.choice(STEMS)}es"
        for _ in range(draw.randint(1, 3)):
            wrote, asked = draw.choice(staff), draw.choice(staff)
            text = (
                f"INDICATION : douleur chez {surname} {given}, adressé par {asked}.\nTECHNIQUE : deux incidences.\n"
                f"RESULTATS : pas de fracture ; épanchement modéré, sans lésion osseuse suspecte.\n\n{wrote}"
            )
            rows.append(
                [str(70000000 + 7919 * number), surname, given, sex, born, street, f"2{town}7{town}0", TOWNS[town],
                 f"06 12 34 {10 + number % 80} {draw.randint(10, 99)}", f"RX{100000 + len(rows)}",
                 f"{draw.randint(1, 28):02d}/03/2024 10:{draw.randint(10, 59)}", draw.choice(EXAMS), asked, wrote, text]
            )  # fmt: skip
    return rows


def write(path: Path, headings: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", encoding="cp1252", newline="") as stream:
        csv.writer(stream, delimiter=";").writerows([headings, *rows])
    return path


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_meaningless_headings_are_recognised_by_their_values(tmp_path: Path, seed: int) -> None:
    order = list(range(len(TRUTH)))
    random.Random(seed).shuffle(order)
    headings = [f"COL{n}" for n in range(1, len(TRUTH) + 1)]
    rows = [[row[n] for n in order] for row in table(seed=seed)]
    found = inspect_export(write(tmp_path / "e.csv", headings, rows), ReportsConfig())
    truth = {TRUTH[n]: heading for n, heading in zip(order, headings, strict=True)}
    assert found.mapping["columns"] == truth
    assert (found.language, found.date_order, found.details["encoding"]) == ("fr", "dmy", "cp1252")
    assert found.patients == 60


def test_mapping_runs_as_it_is_and_shows_no_value(tmp_path: Path) -> None:
    rows = table()
    for row in rows:
        row[2] = f"{row[2]}-Zoelie"
    headings = [*(f"C{n}" for n in range(len(TRUTH))), "Mail du patient"]
    rows = [[*row, f"{row[1].lower()}@courrier.example"] for row in rows]
    rows += [list(rows[0]), [*rows[1][:-2], "  ", rows[1][-1]]]
    rows.append([*rows[2][:4], "01/01/1901", *rows[2][5:]])
    source = write(tmp_path / "e.csv", headings, rows)
    mapping = tmp_path / "mapping.yaml"
    done = CliRunner().invoke(app, ["inspect", str(source), "--out", str(mapping), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["duplicates"], result["empty_texts"], result["patients_with_two_birth_dates"]) == (1, 1, 1)
    assert any("Mail du patient" in line and "mail addresses" in line for line in result["warnings"])
    shown = done.output + mapping.read_text(encoding="utf-8")
    values = {value for row in rows for value in row if len(value) > 2}
    assert [value for value in values if value in shown] == []
    config = load_config(ReportsConfig, mapping, ["workers=1"])
    summary = batch.run_reports(
        config, source, tmp_path / "safe", Keys(b"a test secret of some length"), Console("quiet")
    )
    assert summary["reports"] > 0.9 * len(rows)
    assert summary["columns"]["text"] == "C14"


def test_headings_win_and_dates_of_another_order_are_told(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    lines = [f"{n},Examen {n} normal du genou sans lésion osseuse,03/{13 + n}/2024" for n in range(10)]
    path.write_text("IPP,TEXTE,DATE_EXAMEN\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = inspect_export(path, ReportsConfig(), "fr")
    assert found.mapping["columns"] == {"patient": "IPP", "exam_date": "DATE_EXAMEN", "text": "TEXTE"}
    assert found.date_order == "mdy"
    assert any("mdy" in line for line in found.warnings)


def test_a_table_without_headings_is_told_and_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", table()[0], table()[1:])
    found = inspect_export(path, ReportsConfig())
    assert any("row of headings" in line for line in found.warnings)
    assert not any(value in mapping_text(found) for value in table()[0][:3])


def test_messages_and_folders(tmp_path: Path) -> None:
    path = tmp_path / "m.hl7"
    path.write_bytes("\r".join(make.oru(n) for n in range(1, 6)).encode("latin-1"))
    found = inspect_export(path, ReportsConfig())
    assert (found.rows, found.details["format"], found.patients) == (5, "hl7", 1)
    assert yaml.safe_load(mapping_text(found)) == {"language": "fr"}
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "1_A1.txt").write_text(make.BODY, encoding="cp1252")
    (folder / "x.txt").write_bytes(b"")
    files = Files(pattern="{patient}_{accession}")
    found = inspect_export(folder, ReportsConfig(files=files))
    assert found.unreadable == {"empty_file": 1}
    assert load_config(ReportsConfig, _saved(tmp_path, found), []).files == files


def _saved(tmp_path: Path, found: object) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(mapping_text(found), encoding="utf-8")  # pyright: ignore[reportArgumentType]
    return path
