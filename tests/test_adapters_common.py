"""What public sets have in common: tables, layout checks, the authors' split, the command, the docs."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from public_sets import fracatlas, grazpedwri, mura, oai_kl, planned, prepare, write
from public_sets_chest import iu_xray_csv, montgomery, nih, shenzhen
from typer.testing import CliRunner

from anonymize.console import UserError
from vlp.cli import app
from vlp.corpus.adapters.films import REMEDIES, Film, Text, to_source
from vlp.corpus.adapters.sets import SETS, check_set
from vlp.corpus.adapters.tables import iso_date, months, read_table, sex
from vlp.corpus.config import PrepareConfig, SplitConfig
from vlp.corpus.official import official_splits
from vlp.corpus.source import PlannedStudy
from vlp.corpus.split import split_of
from vlp.study import ANATOMIES, LABELS


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("060Y", 720),
        ("45yrs", 540),
        ("45", 540),
        ("0", 0),
        ("412", None),
        ("414Y", None),
        ("11 M", 11),
        ("3W", 0),
        ("5W", 1),
        ("090D", 2),
        ("57 ans", 684),
        ("1,5", 18),
        ("9-month", 9),
        ("old", None),
        ("", None),
        ("-1", None),
        ("12 x", None),
    ],
)
def test_ages_as_sets_write_them(written, expected):
    assert months(written) == expected


def test_sexes_and_dates_as_sets_write_them():
    assert [sex(text) for text in ("Female", "m", "Homme", "O", "", "nan")] == ["F", "M", "M", "", "", ""]
    assert iso_date("20140915.0") == iso_date("2014-09-15 08:00") == "2014-09-15"
    assert iso_date("20141399") == iso_date("2020") == iso_date("January 22, 2020") == iso_date("201409151") == ""


@given(st.text())
def test_cells_never_raise(text):
    assert months(text) is None or 0 <= months(text) <= 1440
    assert sex(text) in ("F", "M", "")
    assert len(iso_date(text)) in (0, 10)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_tables_in_their_encodings(tmp_path, encoding, separator, name):
    write(tmp_path / name, f'name {separator}note\r\nM\u00fcller{separator}"a{separator}b"\r\n\r\n', encoding)
    assert list(read_table(tmp_path / name, ["name"])) == [{"name": "M\u00fcller", "note": f"a{separator}b"}]
    with pytest.raises(UserError, match="lacks the columns age"):
        read_table(tmp_path / name, ["age"])


def test_damaged_tables_are_named(tmp_path):
    (tmp_path / "cut.csv.gz").write_bytes(b"\x1f\x8b\x08\x00damaged")
    (tmp_path / "cut.xlsx").write_bytes(b"no zip")
    for name, words in (("cut.csv.gz", "cut off"), ("cut.xlsx", "no readable XLSX"), ("none.csv", "no such table")):
        with pytest.raises(UserError, match=words):
            read_table(tmp_path / name)


def test_a_study_shows_the_most_that_its_images_show_and_names_of_two_sets_do_not_meet(tmp_path):
    films = [
        Film("b.png", "knee", "1", "s", labels={"kl_grade": 1, "fracture": 1, "bone_age_months": 9}),
        Film("a.png", "knee", "1", "s", labels={"kl_grade": 3, "fracture": 0, "bone_age_months": 12}, bad_labels=2),
        Film("c.png", "knee", "2", labels={"kl_grade": 7, "fracture": float("nan")}),
        Film("/etc/passwd", "knee", "3"),
        Film("x/../../c.png", "knee", "3"),
        Film("d.png", "knee", "4", "t", text=Text("en", "One.")),
        Film("e.png", "knee", "5", "t", text=Text("en", "Two.")),
    ]
    source = to_source(films, tmp_path, PrepareConfig(), "one")
    assert source.studies[0].labels == {"kl_grade": 3.0, "fracture": 1.0, "bone_age_months": 9.0}
    assert source.notes == {"labels_out_of_range": 4}
    assert Counter(item.reason for item in source.refused_images) == {"path_outside_folder": 2, "patient_mismatch": 2}
    assert Counter(item.reason for item in source.refused_reports) == {"report_of_refused_image": 2}
    other = to_source(films, tmp_path, PrepareConfig(), "two")
    assert {s.patient_id for s in source.studies}.isdisjoint(s.patient_id for s in other.studies)


reasons = st.sampled_from(["", "", "", *REMEDIES])


@given(st.lists(st.builds(
    Film,
    image=st.sampled_from(["", "a.png", "b.png", "../c.png", "d/e.png"]),
    patient=st.sampled_from(["", "1", "2"]),
    study=st.sampled_from(["", "s", "t"]),
    box=st.sampled_from([None, (0, 0, 5, 5), (1, 1, 9, 9)]),
    text=st.sampled_from([None, Text("en", "A."), Text("fr", "B.")]),
    fault=reasons,
    labels=st.dictionaries(st.sampled_from(LABELS), st.floats(), max_size=2),
), max_size=8), st.booleans())  # fmt: skip
def test_whatever_a_set_holds_the_totals_add_up(films, keep):
    source = to_source(films, Path.cwd(), PrepareConfig(keep_unreported=keep))
    planned_images = sum(len(study.images) for study in source.studies)
    assert planned_images + len(source.refused_images) == source.images_read == len(films)
    told = sum(study.report_source == "report" for study in source.studies)
    assert told + len(source.refused_reports) == source.reports_read == sum(film.text is not None for film in films)
    assert len({study.study_id for study in source.studies}) == len(source.studies)
    assert all(item.remedy for item in (*source.refused_images, *source.refused_reports))


def study(number, patient, split):
    return PlannedStudy(f"S{number}", patient, "hand", (), split=split)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "train", "validation", "test"]))))
def test_the_authors_split_keeps_patients_together(rows):
    studies = [study(n, f"P{patient}", split) for n, (patient, split) in enumerate(rows)]
    config = SplitConfig(official=True)
    parts, moved = official_splits(studies, config)
    stated = {s.split for s in studies}
    for s in studies:
        own = {t.split for t in studies if t.patient_id == s.patient_id}
        if s.split == "test":
            assert parts[s.patient_id] == "test"
        if own == {"train"} and {"validation", "test"} <= stated:
            assert parts[s.patient_id] == "train"
        if own == {""}:
            assert parts[s.patient_id] == split_of(s.patient_id, config)
    alone = {
        s.patient_id for s in studies if len({t.split for t in studies if t.patient_id == s.patient_id} - {""}) > 1
    }
    assert (moved > 0) == bool(alone)


def test_without_the_option_the_hash_decides(tmp_path):
    _, corpus = prepare(tmp_path, "nih-chestxray14", nih)
    assert all(s.split == split_of(s.patient_id, SplitConfig()) for s in corpus.studies)


@pytest.mark.parametrize("name", SETS)
def test_an_empty_folder_is_not_laid_out_like_any_set(tmp_path, name):
    with pytest.raises(UserError, match=f"--set {name} --check"):
        planned(tmp_path, name, lambda folder: None)
    summary, missing = check_set(name, tmp_path, PrepareConfig())
    assert missing
    assert all("Fetch" in line or "collector" in line for line in missing)
    assert "studies" not in summary


def test_check_counts_what_is_there_and_what_is_not(tmp_path):
    mura(tmp_path)
    summary, missing = check_set("mura", tmp_path, PrepareConfig())
    assert not missing
    assert summary["images"] == {"rows": 8, "found": 5, "missing": 1, "refused": 2}
    assert (summary["patients"], summary["studies"]) == (3, 5)
    for path in tmp_path.rglob("image*.png"):
        path.rename(path.with_name(path.name.replace("image", "imageX")))
    _, missing = check_set("mura", tmp_path, PrepareConfig())
    assert any("none of the images" in line for line in missing)


def test_tables_of_the_same_name_are_told_apart_by_their_columns(tmp_path):
    fracatlas(tmp_path / "a")
    grazpedwri(tmp_path / "b")  # also a dataset.csv, and nearer to the root
    found = planned(tmp_path, "fracatlas", lambda folder: None)
    other = planned(tmp_path, "grazpedwri-dx", lambda folder: None)
    assert (found.images_read, other.images_read) == (5, 6)
    assert all("/a/" in image.file for s in found.studies for image in s.images)


def test_links_to_folders_are_followed_once(tmp_path):
    mura(tmp_path / "real")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/MURA-v1.1").symlink_to(tmp_path / "real/MURA-v1.1")
    (tmp_path / "real/MURA-v1.1/again").symlink_to(tmp_path / "here")
    summary, missing = check_set("mura", tmp_path / "here", PrepareConfig())
    assert not missing
    assert summary["images"] == {"rows": 8, "found": 5, "missing": 1, "refused": 2}


def test_the_command_checks_lists_and_prepares(tmp_path):
    run = CliRunner().invoke
    listed = run(app, ["prepare", "--list-sets"])
    assert listed.exit_code == 0
    assert all(f"{public.name}: {public.title}" in listed.output for public in SETS.values())
    as_json = json.loads(run(app, ["prepare", "--list-sets", "--json"]).stdout)
    assert as_json["mura"]["licence"] == SETS["mura"].licence
    oai_kl(tmp_path / "knees")
    knees = [str(tmp_path / "knees"), "--set", "oai-kl"]
    out = ["--out", str(tmp_path / "corpus")]
    checked = run(app, ["prepare", *knees, "--check", "--json"])
    assert json.loads(checked.stdout)["missing"] == []
    assert (checked.exit_code, json.loads(checked.stdout)["images"]["found"]) == (0, 5)
    assert not (tmp_path / "corpus").exists()
    made = run(app, ["prepare", *knees, *out, "size=48", "workers=1", "--describe-labels", "fr", "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["reports"]["described"] == 5
    card = json.loads((tmp_path / "corpus/corpus.json").read_text())
    assert card["source"] == dataclasses.asdict(SETS["oai-kl"].origin)
    wrong = run(app, ["prepare", *knees[:1], "--set", "mura", "--check"])
    assert wrong.exit_code == 1
    assert "missing: train_image_paths.csv" in wrong.output
    for arguments, words in (
        ([*knees[:1], "--set", "none"], "no such set"),
        ([], "name the folder"),
        ([knees[0], "--check"], "--set stands alone"),
        ([*knees[:2], "mura", *out], "not laid out as"),
    ):
        answer = run(app, ["prepare", *arguments])
        assert answer.exit_code == 2
        assert words in answer.output


def test_reasons_remedies_and_labels_are_known(request):
    docs = (request.config.rootpath / "docs/public-sets.md").read_text()
    prepare_docs = (request.config.rootpath / "docs/prepare.md").read_text()
    assert all(f"`{reason}`" in docs or f"`{reason}`" in prepare_docs for reason in REMEDIES)
    for public in SETS.values():
        assert f"| `{public.name}` |" in docs
        assert public.tree in docs
        assert public.licence in docs
        assert public.where in docs


def test_sets_stay_within_the_vocabulary(tmp_path):
    for make, name in (
        (nih, "nih-chestxray14"),
        (iu_xray_csv, "iu-xray"),
        (montgomery, "montgomery"),
        (shenzhen, "shenzhen"),
    ):
        source = planned(tmp_path / name, name, make)
        assert all(set(s.labels) <= set(LABELS) for s in source.studies)
        assert {s.anatomy for s in source.studies} <= set(ANATOMIES)
        assert source.origin == SETS[name].origin
