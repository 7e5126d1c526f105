"""``anonymize dicom-check``: a planted value is found however it is written, and nothing else is."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from dicom_factory import instance, save
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian
from typer.testing import CliRunner

from anonymize.cli import app
from anonymize.console import Console, UserError
from anonymize.dicom.planted import Finder, Planted, check, finder_of, forms_of, read_planted

QUIET = Console("quiet")
NAME = Planted("LEFÈVRE^Zoé", "PatientName")


@pytest.mark.parametrize(
    "written",
    [
        "LEFÈVRE^Zoé".encode(),
        "Lefèvre".encode("latin-1"),
        b"LEFEVRE",
        "lefèvre".encode("utf-16-le"),
        "LEFÈVRE".encode("utf-16-be"),
        "Lefe\u0300vre".encode(),
        b"LEFEVRE Zoe  ",
    ],
)
def test_a_name_is_found_in_every_writing(written: bytes) -> None:
    assert finder_of([NAME]).find(b"\0\1" + written + b"\2") == {0}


def test_parts_too_short_for_a_search_are_left_out() -> None:
    assert not any(form in (b"Zo\xc3\xa9", b"ZOE") for form in forms_of(NAME.value) if len(form) < 4)
    assert finder_of([NAME]).find(b"the zoo of Zoe") == frozenset()


@given(
    st.lists(st.binary(min_size=4, max_size=12), min_size=1, max_size=8, unique=True),
    st.binary(max_size=400),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_the_finder_finds_what_a_plain_search_finds(words: list[bytes], ground: bytes, data: st.DataObject) -> None:
    for word in data.draw(st.lists(st.sampled_from(words), max_size=4)):
        place = data.draw(st.integers(0, len(ground)))
        ground = ground[:place] + word + ground[place:]
    finder = Finder({word: [number] for number, word in enumerate(words)})
    assert finder.find(ground) == {number for number, word in enumerate(words) if word in ground}


def test_a_value_across_the_border_of_two_chunks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anonymize.dicom.planted._CHUNK", 64)
    finder = finder_of([Planted("ZQ0001XK", "")])
    for place in range(40, 72):
        assert finder.find(b"\0" * place + b"ZQ0001XK" + b"\0" * 50) == {0}, place


def test_packed_parts_are_looked_into(tmp_path: Path) -> None:
    marks = [f"ZQ{number:04d}XK" for number in range(6)]
    deflated = instance()
    deflated.PatientComments = marks[0]
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(deflated, tmp_path / "deflated.dcm")
    assert marks[0].encode() not in (tmp_path / "deflated.dcm").read_bytes()
    stream = zlib.compress(f"BT ({marks[1]}) Tj ET".encode() * 3)
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.4\nstream\n" + stream + b"\nendstream\n")
    table = pa.table({"text": [marks[2] * 20]})
    pq.write_table(table, tmp_path / "part.parquet", compression="gzip", write_statistics=False)
    (tmp_path / "log.gz").write_bytes(gzip.compress(marks[3].encode()))
    (tmp_path / f"{marks[4]}.txt").write_text("nothing", encoding="utf-8")
    summary = check(tmp_path, [Planted(mark, f"place {n}") for n, mark in enumerate(marks)], QUIET)
    found = {row["marker"]: row["part"] for row in summary["found"]}
    assert found == {0: "deflated", 1: "stream", 2: "column", 3: "gzip", 4: "name"}
    assert summary["left"] == 5
    assert all(marks[4] not in row["file"] for row in summary["found"]), (
        "a file's name is not repeated where it is a leak"
    )


def test_pixels_are_searched_too(tmp_path: Path) -> None:
    ds = instance(pixels=np.zeros((64, 64), np.uint16))
    ds.PixelData = ds.PixelData[:1000] + b"ZQ0007XK" + ds.PixelData[1008:]
    path = save(ds, tmp_path / "film.dcm")
    assert pydicom.dcmread(path).PixelData.find(b"ZQ0007XK") >= 0
    assert check(tmp_path, [Planted("ZQ0007XK", "pixels")], QUIET)["left"] == 1
    assert check(tmp_path, [Planted("ZQ0008XK", "nowhere")], QUIET)["left"] == 0


@pytest.mark.parametrize("content", ["[]", "[1, 2", '[{"value": "abc"}]', '{"markers": [{"where": "x"}]}', "3"])
def test_a_list_that_says_nothing_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "markers.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError):
        read_planted(path)


def test_the_command_says_what_is_left_and_not_its_value(tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / "a.bin").write_bytes(b"\0ZQ0001XK\0")
    markers = tmp_path / "markers.json"
    markers.write_text(json.dumps({"comment": "ZQ0001XK", "preamble": "ZQ0002XK"}), encoding="utf-8")
    run = CliRunner().invoke(app, ["dicom-check", str(tmp_path / "safe"), "--planted", str(markers), "--json"])
    assert run.exit_code == 1
    summary = json.loads(run.stdout)
    assert (summary["planted"], summary["left"]) == (2, 1)
    assert summary["found"] == [{"marker": 0, "where": "comment", "file": "a.bin", "part": "bytes"}]
    assert "ZQ0001XK" not in run.output
    (tmp_path / "safe" / "a.bin").write_bytes(b"\0")
    clean = CliRunner().invoke(app, ["dicom-check", str(tmp_path / "safe"), "--planted", str(markers), "--json"])
    assert clean.exit_code == 0
