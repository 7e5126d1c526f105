"""Real films in the published layouts: adapters and the checked mapping of the development set must say the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from public_sets import write

from anonymize.config import load_config
from vlp.corpus.adapters.images_csv import read_images
from vlp.corpus.adapters.mapping import ImageTable
from vlp.corpus.adapters.public import read_set
from vlp.corpus.adapters.sets import SETS
from vlp.corpus.config import PrepareConfig
from vlp.corpus.source import PlannedStudy


@pytest.fixture(scope="module")
def rows(shared):
    with (shared / "data/xray_open/metadata.csv").open(encoding="utf-8", newline="") as stream:
        return [{**row, "labels": json.loads(row["labels"] or "{}")} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def mapped(shared, request) -> dict[str, PlannedStudy]:
    """The studies of the generic adapter by the path of their image."""
    root = shared / "data/xray_open"
    mapping = load_config(ImageTable, request.config.rootpath / "configs/mappings/xray-open.yaml")
    source = read_images(root, root / "metadata.csv", mapping, PrepareConfig())
    return {s.images[0].file: s for s in source.studies}


def pairs(folder: Path, name: str, mapped: dict[str, PlannedStudy]) -> list[tuple[PlannedStudy, PlannedStudy]]:
    source = read_set(SETS[name], folder, PrepareConfig())
    return [(s, mapped[str(Path(s.images[0].file).resolve())]) for s in source.studies]


def link(shared: Path, row: dict, target: Path) -> None:
    """Links, as data managers lay sets out; what a file is follows from its content, so a JPEG may be called .png."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to((shared / "data/xray_open" / row["image"]).resolve())


def of_part(rows, part):
    found = [row for row in rows if row["part"].startswith(part)]
    return {Path(row["image"]).stem: row for row in found}


def test_knees(tmp_path, shared, rows, mapped):
    films = of_part(rows, "knee_oai")
    for name, row in films.items():
        link(shared, row, tmp_path / f"kneeKL224/train/{row['labels']['KL']}/{name}.png")
    read = pairs(tmp_path, "oai-kl", mapped)
    assert len(read) == len(films) == 404
    for own, other in read:
        assert own.labels == other.labels
        assert own.images[0].laterality == other.images[0].laterality
    assert len({own.patient_id for own, _ in read}) == len({other.patient_id for _, other in read}) == 384


def test_hands(tmp_path, shared, rows, mapped):
    films = of_part(rows, "hand_rsna")
    lines = [f"{name},{row['labels']['bone_age_months']:g},{row['sex'] == 'M'}" for name, row in films.items()]
    write(tmp_path / "boneage-training-dataset.csv", "\n".join(["id,boneage,male", *lines]))
    for name, row in films.items():
        link(shared, row, tmp_path / f"boneage-training-dataset/boneage-training-dataset/{name}.png")
    read = pairs(tmp_path, "rsna-bone-age", mapped)
    assert len(read) == len(films) == 480
    assert all((own.labels, own.sex, own.anatomy) == (other.labels, other.sex, other.anatomy) for own, other in read)
    assert all(own.images[0].laterality == other.images[0].laterality == "L" for own, other in read)


def test_chest_films_of_the_nih(tmp_path, shared, rows, mapped):
    films = of_part(rows, "chest_nih")
    lines = [
        f"{name}.png,{'|'.join(row['labels']['findings'])},0,{row['patient_id'][4:]},{row['age']},{row['sex']},{row['view']}"
        for name, row in films.items()
    ]
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    write(tmp_path / "Data_Entry_2017_v2020.csv", "\n".join([head, *lines]))
    for name, row in films.items():
        link(shared, row, tmp_path / f"images/{name}.png")
    read = pairs(tmp_path, "nih-chestxray14", mapped)
    assert len(read) == len(films) == 181
    for own, other in read:
        assert (own.sex, own.age_months, own.images[0].view) == (other.sex, other.age_months, other.images[0].view)
        # the mapping leaves open what the adapter reads as absent; what both state is the same
        assert other.labels.items() <= own.labels.items()
        assert set(own.labels) == {"effusion", "consolidation", "cardiomegaly", "pneumothorax", "abnormal"}
    assert len({own.patient_id for own, _ in read}) == 157


def test_covid_collection(tmp_path, shared, rows, mapped):
    films = [row for row in rows if row["part"] == "chest_covid"]
    columns = [
        "patientid",
        "sex",
        "age",
        "finding",
        "view",
        "modality",
        "folder",
        "filename",
        "license",
        "clinical_notes",
    ]
    columns += ["offset", "date"]
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns, restval="")
        table.writeheader()
        for row in films:
            target = Path(row["image"]).relative_to("chest_covid")
            link(shared, row, tmp_path / "images" / target.name)
            cells = {"patientid": row["patient_id"], "folder": "images", "filename": target.name, "modality": "X-ray"}
            cells |= {"finding": row["labels"].get("finding", ""), "license": row["licence"]}
            table.writerow(
                {**cells, **{k: row[k] for k in ("sex", "age", "view")}, "clinical_notes": row["report_text"]}
            )
    read = pairs(tmp_path, "covid-19-collection", mapped)
    assert len(read) == len(films) == 151
    assert sum(bool(own.report) for own, _ in read) == 149
    for own, other in read:
        assert (own.report, own.labels, own.sex, own.age_months) == (
            other.report,
            other.labels,
            other.sex,
            other.age_months,
        )
        assert own.images[0].view == other.images[0].view
