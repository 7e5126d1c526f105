from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from anonymize.config import ConfigError, load_config
from anonymize.console import Console, UserError
from vlp.cli import app
from vlp.corpus.adapters.images_csv import read_images, run_prepare_images
from vlp.corpus.adapters.mapping import ImageTable
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.describe import describe
from vlp.corpus.source import ImageFile, PlannedStudy

MAPPING = {
    "columns": {"image": "file", "patient": "who", "part": "set", "age": "age", "sex": "sex", "report": "note"}
    | {"language": "lang", "labels": "labels", "view": "view"},
    "strip": [r"\s*Credit to .*$"],
    "parts": {
        "knees": {"anatomy": "knee", "laterality_key": "side", "labels": {"kl_grade": {"key": "KL"}}}
        | {"labels": {"kl_grade": {"key": "KL"}, "kl_right": {"key": "KL", "where": {"side": "R"}}}},
        "breaks": {
            "anatomy": "extremity",
            "patient_unknown": True,
            "patient_pattern": r"/(\d+)_",
            "labels": {"fracture": {"key": "broken", "values": {"True": 1, "False": 0}}},
        },
        "chest": {"anatomy": "chest", "labels": {"effusion": {"key": "found", "values": {"Effusion": 1, "Clear": 0}}}},
    },
}
TABLE = """file;set;who;age;sex;note;lang;view;labels
k/1.png;knees;A;64;F;;;PA;{"KL": 3, "side": "R"}
k/2.png;knees;B;;M;;;AP Supine;{"KL": 7, "side": "L"}
b/10_a.png;breaks;X;;;;;;{"broken": true}
b/10_b.png;breaks;X;;;;;;{"broken": true}
b/11_a.png;breaks;X;;;;;;{"broken": false}
c/1.png;chest;C;30;F;"Left effusion.
Credit to A. Person";en;PA;{"found": ["Mass", "Effusion"]}
c/2.png;chest;D;30;M;;;PA;{"found": ["Mass"]}
c/3.png;chest;E;30;M;;;PA;not json
c/2.png;chest;D;30;M;;;PA;{}
../out.png;chest;F;;;A note.;en;;{}
;chest;F;;;;;;{}
c/none.png;chest;G;;;A note.;en;;{}
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("k/1", "k/2", "b/10_a", "b/10_b", "b/11_a", "c/1", "c/2", "c/3"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        octaves = [cv2.resize(rng.normal(0, 90 / n, (4 * n, 3 * n)), (180, 240)) for n in (1, 2, 4, 8, 16)]
        cv2.imwrite(str(path), np.clip(128 + sum(octaves), 0, 255).astype(np.uint8))
    (tmp_path / "table.csv").write_bytes(TABLE.encode("cp1252"))
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    return tmp_path


def prepare(folder, **values):
    config = PrepareConfig(size=48, workers=1, **values)
    paths = folder / "images", folder / "table.csv", folder / "mapping.yaml", folder / "corpus"
    summary = run_prepare_images(config, *paths, Console("quiet"), "fr")
    return summary, Corpus.open(folder / "corpus")


def test_a_table_becomes_a_corpus_and_the_counts_add_up(folder):
    summary, corpus = prepare(folder)
    assert summary["images"] == {"read": 12, "kept": 8, "refused": 4}
    assert summary["reports"] == {"read": 3, "kept": 1, "refused": 2, "described": 4}
    assert summary["refused_images"] == {
        "duplicate_row": 1,
        "path_outside_folder": 1,
        "row_without_image": 1,
        "missing_file": 1,
    }
    assert summary["notes"] == {"labels_out_of_range": 1}
    knee = next(s for s in corpus.select(anatomy="knee") if s.labels)
    assert knee.labels == {"kl_grade": 3.0, "kl_right": 3.0}
    assert (knee.age_months, knee.sex, knee.site, knee.images[0].laterality) == (768, "F", "knees", "R")
    assert knee.report_source == "described"
    assert "Kellgren" in knee.results
    assert {s.images[0].view for s in corpus.select(anatomy="knee")} == {"PA", "AP"}
    chest = corpus.select(anatomy="chest", reported=True)
    assert [(s.report, s.language, s.labels) for s in chest] == [("Left effusion.", "en", {"effusion": 1.0})]
    fracture = {s.labels["fracture"]: s.patient_id for s in corpus.select(anatomy="extremity")}
    assert fracture[1.0] != fracture[0.0]
    assert len({s.patient_id for s in corpus.select(anatomy="extremity")}) == 2


def test_copies_of_unknown_patients_stay_in_one_split(folder):
    image = cv2.imread(str(folder / "images/b/11_a.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "images/b/10_b.png"), cv2.resize(image, (240, 240)))  # 11_a stretched, numbered as 10_a
    _, corpus = prepare(folder)
    assert len({(s.patient_id, s.split) for s in corpus.select(anatomy="extremity")}) == 1


def test_wrong_tables_and_mappings_are_named(folder):
    config = PrepareConfig()
    mapping = load_config(ImageTable, folder / "mapping.yaml")
    (folder / "short.csv").write_text("file,set\na.png,knees\n")
    with pytest.raises(UserError, match="lacks the columns age"):
        read_images(folder, folder / "short.csv", mapping, config)
    (folder / "bad.yaml").write_text(yaml.safe_dump({"columns": {"image": "x"}, "parts": {"p": {"anatomy": "nee"}}}))
    with pytest.raises(ConfigError, match=r"parts\.p\.anatomy"):
        load_config(ImageTable, folder / "bad.yaml")
    alone = CliRunner().invoke(app, ["prepare", str(folder), "--table", "x.csv", "--out", str(folder / "c")])
    assert alone.exit_code == 2
    assert "--mapping" in alone.output


def test_descriptions_say_what_the_labels_say_and_nothing_else():
    image = ImageFile("I1", "", "AP", "L")
    bare = PlannedStudy("S1", "P1", "knee", (image,))
    assert describe(bare, "fr") == bare
    for grade in range(5):
        text = describe(dataclasses.replace(bare, labels={"kl_grade": grade, "kl_left": grade}), "fr")
        assert str(grade) in text.results
        assert text.technique == "Radiographie du genou gauche de face."
        assert text.results.count("Kellgren") == 1
    ages = [describe(dataclasses.replace(bare, labels={"bone_age_months": m}), "fr").results for m in (1, 12, 30, 36)]
    for expected, text in zip(("1 mois", "1 an", "2 ans et 6 mois", "3 ans"), ages, strict=True):
        assert expected in text
        assert "0 mois" not in text
    both = dataclasses.replace(bare, images=(image, dataclasses.replace(image, laterality="R", view="")))
    assert describe(dataclasses.replace(both, labels={"fracture": 0.0}), "fr").technique.startswith(
        "Radiographie des deux genoux"
    )
    wordings = {
        describe(PlannedStudy(f"S{n}", "P", "wrist", (image,), labels={"fracture": 1.0}), "fr").results
        for n in range(60)
    }
    assert len(wordings) >= 4


def test_the_open_radiographs_are_read_whole(shared, request):
    root = shared / "data" / "xray_open"
    mapping = load_config(ImageTable, request.config.rootpath / "configs" / "mappings" / "xray-open.yaml")
    source = read_images(root, root / "metadata.csv", mapping, PrepareConfig())
    assert (source.images_read, len(source.studies), source.reports_read) == (1872, 1872, 149)
    assert not source.refused_images
    assert not source.notes
    assert source.boxes_read == sum(len(image.boxes) for s in source.studies for image in s.images) > 300
    assert all(s.labels for s in source.studies if s.anatomy in ("hand", "knee", "spine", "extremity"))
    assert {s.labels["kl_grade"] for s in source.studies if s.anatomy == "knee"} == {0, 1, 2, 3, 4}
    assert sum(s.labels.get("effusion") == 1 for s in source.studies) == 18
    assert not any("Credit to" in json.dumps(s.report) or "courtesy" in s.report for s in source.studies)
    assert len({s.original for s in source.studies if not s.patient_id}) > 90
