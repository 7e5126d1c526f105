"""``anonymize table``: keys become the pseudonyms used elsewhere; columns that could name a person are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from anonymize.cli import app
from anonymize.console import Console, UserError
from anonymize.files import read_rows
from anonymize.keys import Keys
from anonymize.quarantine import read_quarantine
from anonymize.table import TableConfig, run_table

KEYS = Keys(b"a secret of thirty-two bytes here")
QUIET = Console("quiet")
CONFIG = TableConfig(study_column="NUM_ACCESSION")


def run(folder: Path, text: str, config: TableConfig = CONFIG, encoding: str = "utf-8") -> tuple[dict, list[dict]]:
    source = folder / "labels.csv"
    source.write_bytes(text.encode(encoding))
    summary = run_table(config, source, folder / "safe", KEYS, QUIET)
    return summary, read_rows(folder / "safe/tables/labels.parquet")


def test_numbers_and_closed_sets_travel_under_keyed_studies(tmp_path: Path) -> None:
    text = "NUM_ACCESSION;IPP;fracture;kl_grade;âge;côté\nA1;P1;1;;93,8;gauche\nA2;P1;0;3;;droite\nA3;P2;;2;5;droite\n"
    text += "A4;P2;;1;7;gauche\n"
    config = TableConfig(study_column="NUM_ACCESSION", patient_column="IPP")
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        summary, rows = run(tmp_path, text, config, encoding)
        assert (summary["rows_in"], summary["written"], summary["quarantined"]) == (4, 4, {})
        by_study = {row["study"]: row for row in rows}
        first = by_study[KEYS.pseudonym("study", "A1")]
        assert first["patient"] == KEYS.pseudonym("patient", "P1")
        assert (first["fracture"], first["kl_grade"], first["âge"], first["côté"]) == (1.0, None, 93.8, "gauche")


def test_every_row_is_written_or_quarantined(tmp_path: Path) -> None:
    text = "NUM_ACCESSION;fracture\nA1;1\nA1;1\nA2;0\nA2;1\n;1\n  ;0\nA3;0;9\nA4;\n"
    summary, rows = run(tmp_path, text)
    assert {row["study"] for row in rows} == {KEYS.pseudonym("study", s) for s in ("A1", "A4")}
    assert summary["quarantined"] == {"conflicting_rows": 2, "empty_key": 2, "duplicate_row": 1, "broken_row": 1}
    assert summary["rows_in"] == summary["written"] + sum(summary["quarantined"].values())
    items = read_quarantine(tmp_path / "safe/quarantine/table.parquet")
    assert [(i.position, i.reason) for i in items] == sorted((i.position, i.reason) for i in items)
    assert items[0].position == 3
    lookup = (tmp_path / "safe.private/quarantine-lookup-table.jsonl").read_text().splitlines()
    assert {json.loads(line)["ref"] for line in lookup} == {i.ref for i in items}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["DUPONT", "MARTIN"], "vocabulary"),
        (["Dr Durand", "Dr Petit"], "vocabulary"),
        (["12032024", "13032024"], "long numbers|dates|digits"),
        (["20240312", "20240313"], "long numbers|dates|digits"),
        (["tel 0612345678", "oui"], "digits"),
        (["12/03/2024", "13/03/2024"], "digits"),
        (["a@b.fr", "c@d.fr"], "addresses"),
        (["Fracture du radius droit avec déplacement", "normal"], "longer"),
    ],
)
def test_a_column_that_could_name_a_person_is_refused(tmp_path: Path, values: list[str], why: str) -> None:
    rows = "".join(f"A{number};{values[number % len(values)]}\n" for number in range(8))
    with pytest.raises(UserError, match=why) as caught:
        run(tmp_path, f"NUM_ACCESSION;colonne\n{rows}")
    assert "'colonne'" in str(caught.value)
    assert "--keep" in str(caught.value)
    assert not any(value in str(caught.value) for value in values)
    assert not (tmp_path / "safe/tables").exists()


def test_long_numbers_that_differ_on_every_row_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"A{number};{700000 + number}\n" for number in range(8))
    with pytest.raises(UserError, match="long numbers"):
        run(tmp_path, f"NUM_ACCESSION;ipp\n{rows}")


def test_keep_chooses_columns_and_a_wrong_name_is_an_error(tmp_path: Path) -> None:
    text = "NUM_ACCESSION;NOM;fracture\nA1;DUPONT;1\nA2;MARTIN;0\n"
    _, rows = run(tmp_path, text, TableConfig(study_column="NUM_ACCESSION", keep=["fracture"]))
    assert set(rows[0]) == {"study", "fracture"}
    with pytest.raises(UserError, match="no column 'fractures'; there are: NUM_ACCESSION, NOM, fracture"):
        run(tmp_path, text, TableConfig(study_column="NUM_ACCESSION", keep=["fractures"]))
    with pytest.raises(UserError, match="no column 'ACC'"):
        run(tmp_path, text, TableConfig(study_column="ACC"))


def test_nothing_of_the_source_survives(tmp_path: Path) -> None:
    source = tmp_path / "DUPONT Jean 1954.csv"
    source.write_text("NUM_ACCESSION,fracture\nZQ77001,1\nZQ77002,0\n,1\n", encoding="utf-8")
    run_table(CONFIG, source, tmp_path / "safe", KEYS, QUIET)
    below = "\n".join(str(p) for p in (tmp_path / "safe").rglob("*")).encode()
    below += b"".join(p.read_bytes() for p in (tmp_path / "safe").rglob("*") if p.is_file())
    assert b"DUPONT" not in below
    assert b"ZQ7700" not in below


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "A1", "A2", "A3", " A3"]), st.sampled_from(["", "0", "1"])), min_size=1))
def test_totals_add_up(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("table")
    summary, written = run(folder, "NUM_ACCESSION;fracture\n" + "".join(f"{a};{b}\n" for a, b in rows))
    assert summary["rows_in"] == len(rows) == len(written) + sum(summary["quarantined"].values())
    assert len({row["study"] for row in written}) == len(written)


def test_command(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("NUM_ACCESSION;NOM;fracture\nA1;X;1\n", encoding="utf-8")
    (tmp_path / "secret").write_text("a secret of thirty-two bytes here")
    base = [
        "table",
        str(tmp_path / "labels.csv"),
        "--out",
        str(tmp_path / "safe"),
        "--secret-file",
        str(tmp_path / "secret"),
    ]
    done = CliRunner().invoke(app, [*base, "--study-column", "NUM_ACCESSION", "--keep", "fracture", "--json"])
    assert done.exit_code == 0, done.output
    (row,) = read_rows(tmp_path / "safe/tables/labels.parquet")
    assert row == {"study": KEYS.pseudonym("study", "A1"), "fracture": 1.0}
    assert CliRunner().invoke(app, base).exit_code == 2
