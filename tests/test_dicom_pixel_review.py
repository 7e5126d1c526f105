"""Doubtful text in pixels: what is done with it, the page for a person, and decisions that the next run follows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import film, instance, save

from anonymize.console import Console, UserError
from anonymize.dicom import batch, pixel_review, pixels
from anonymize.dicom.boxes import Region
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.judge import judge
from anonymize.files import read_rows
from anonymize.keys import Keys

KEYS = Keys(b"a secret of the tests, 32 bytes!")
QUIET = Console("quiet")
SURE, DOUBT = Region((10, 10, 60, 30), 0.9, "detector"), Region((100, 50, 150, 70), 0.4, "detector", doubtful=True)


def here(job: Any, tasks: Any, *rest: Any) -> Any:
    """Works in this process, so that a test can put a search of its own in place."""
    worker = job.build(*job.arguments)
    return ((task, worker(task)) for task in tasks)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """The regions that every search finds; a test may change the list."""
    regions = [DOUBT]
    monkeypatch.setattr(batch, "run_tasks", here)
    monkeypatch.setattr(pixels, "find_text", lambda frame, *, gated=True: pixels.Finding(tuple(regions)))
    return regions


def run(folder: Path, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    summary = batch.run_dicom(
        DicomConfig(workers=1, shard_size=2, **options), folder / "in", folder / "safe", KEYS, QUIET
    )
    return summary, read_rows(folder / "safe/images/index")


def after(folder: Path, row: dict[str, Any]) -> np.ndarray:
    return pydicom.dcmread(folder / "safe/images" / row["path"]).pixel_array


def decide(folder: Path, decision: str) -> None:
    path = folder / "safe.private/pixel-review/decisions.csv"
    rows = list(csv.reader(path.open(encoding="utf-8")))
    path.write_text("".join(f"{row[0]},{decision}\n" if n else "image_id,decision\n" for n, row in enumerate(rows)))


def test_doubtful_regions_are_masked_and_shown_and_a_decision_is_followed(tmp_path: Path, found: list[Region]) -> None:
    for number in range(3):
        save(instance(number), tmp_path / "in" / f"{number}.dcm")
    summary, rows = run(tmp_path)
    assert (summary["masked"], summary["doubtful"]) == (0, 3)
    assert [row["burned_in"] for row in rows] == ["doubtful"] * 3
    assert (after(tmp_path, rows[0])[50:70, 100:150] == film().min()).all()
    private = tmp_path / "safe.private/pixel-review"
    crops = sorted(path.name for path in (private / "crops").iterdir())
    assert crops == sorted(f"{row['image_id']}-0.png" for row in rows)
    page = (private / "index.html").read_text()
    assert all(f"crops/{name}" in page for name in crops)
    decide(tmp_path, "keep")
    summary, rows = run(tmp_path)
    assert [row["burned_in"] for row in rows] == ["none"] * 3
    assert np.array_equal(after(tmp_path, rows[0]), film())
    assert summary["images_per_second_core"] is not None  # the shards were made anew
    assert run(tmp_path)[0]["images_per_second_core"] is None  # and are finished
    decide(tmp_path, "mask")
    _, rows = run(tmp_path)
    assert [row["burned_in"] for row in rows] == ["masked"] * 3
    found.clear()
    assert (private / "decisions.csv").read_text().count("mask") == 3


def test_what_is_sure_is_filled_whatever_is_decided(tmp_path: Path, found: list[Region]) -> None:
    found.insert(0, SURE)
    save(instance(), tmp_path / "in/0.dcm")
    _, rows = run(tmp_path, on_doubtful="write")
    shown = after(tmp_path, rows[0])
    assert rows[0]["burned_in"] == "doubtful"
    assert (shown[10:30, 10:60] == film().min()).all()
    assert np.array_equal(shown[50:70, 100:150], film()[50:70, 100:150])
    (record,) = read_rows(tmp_path / "safe/dicom/pixels")
    assert [(region["doubtful"], region["filled"]) for region in record["regions"]] == [(False, True), (True, False)]
    assert pydicom.dcmread(tmp_path / "safe/images" / rows[0]["path"]).BurnedInAnnotation == "YES"


def test_quarantined_doubts_are_on_the_page_too(tmp_path: Path, found: list[Region]) -> None:
    save(instance(), tmp_path / "in/0.dcm")
    summary, rows = run(tmp_path, on_doubtful="quarantine")
    assert (summary["quarantined"], rows) == ({"burned_in_doubtful": 1}, [])
    decide(tmp_path, "mask")
    summary, rows = run(tmp_path, on_doubtful="quarantine")
    assert summary["quarantined"] == {}
    assert rows[0]["burned_in"] == "masked"


@pytest.mark.parametrize("text", ["image,decision\nX,keep\n", "image_id,decision\nX,maybe\n"])
def test_a_wrong_list_of_decisions_is_refused(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "safe.private/pixel-review"
    folder.mkdir(parents=True)
    (folder / "decisions.csv").write_text(text)
    with pytest.raises(UserError, match=r"decisions\.csv"):
        pixel_review.read_decisions(tmp_path / "safe")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "quiet"),
        ({"BurnedInAnnotation": "YES"}, "stated"),
        ({"ConversionType": "WSD"}, "capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "capture"),
    ],
)
def test_the_record_names_the_gates_path(changes: dict[str, str], path: str) -> None:
    ds = instance(pixels=film((620, 520)))
    for name, value in changes.items():
        setattr(ds, name, value)
    judged = judge(ds, ds.pixel_array[None], DicomConfig(on_unsure="write"), "I1")
    assert judged.record.gate == path
    assert judged.record.searched == (0.0 if path == "quiet" else 1.0)


def test_the_record_says_that_a_small_film_was_searched_whole() -> None:
    ds = instance()
    record = judge(ds, ds.pixel_array[None], DicomConfig(), "I1").record
    assert (record.gate, record.searched) == ("small", 1.0)


def test_a_template_is_filled_before_any_search(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("- name: foot\n  when: {manufacturer: esker}\n  fill: [[0, -20, right, bottom]]\n")
    ds = instance()
    judged = judge(ds, ds.pixel_array[None], DicomConfig(regions=str(own)), "I1")
    assert (judged.record.template, judged.record.state) == ("foot", "masked")
    assert judged.boxes == (((0, 220, 200, 240),),)
