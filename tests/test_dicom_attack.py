"""An adversary's view of ``anonymize dicom``: markers at every place of many kinds of files, then every byte is searched.

The files are made from the standard's structure (``dicom_attack_factory``), the search by the program's own engine and by an
independent one. What a run does not support yet is quarantined, and must leak nothing on that way either.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dicom_attack_factory as factory
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from dicom_attack_factory import Marks
from dicom_factory import device, film, instance
from pydicom.data import get_testdata_files
from test_phantom_dicom import SYNTAXES

from anonymize.console import Console
from anonymize.dicom import bitstream
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.planted import Planted, check
from anonymize.keys import Keys

ROOT = Path(__file__).parent.parent
SECRET = b"a secret of thirty-two bytes here"
TABLE = ROOT / "anonymize/dicom/profile.csv"
EVERY_KIND = {"objects": ["images", "secondary-capture", "reports", "documents"], "clean_structured_content": True}
SETTINGS = {
    "default": {},
    "everything": EVERY_KIND,
    "basic profile": {"profile": "basic", **EVERY_KIND, "clean_graphics": True},
    "basic profile, most kept": {
        "profile": "basic", **EVERY_KIND, "clean_graphics": True, "retain_safe_private": True, "times": "keep",
    },
}  # fmt: skip
SUPPORTED = [name for name, values in SETTINGS.items() if set(values) <= set(DicomConfig.model_fields)]
MARK = re.compile(rb"(?i)z\0?q\0?(?:\d\0?){5}x\0?k")


@dataclass(frozen=True)
class Attacked:
    """One run: what was planted, what came out, and what it printed."""

    marks: Marks
    source: Path
    safe: Path
    printed: bytes
    summary: dict[str, Any]
    must_stand: tuple[str, ...]  # SOP Instance UIDs of images that any configuration writes


def _files(folder: Path, marks: Marks) -> list[str]:
    """Write the attack; SOP Instance UIDs of the radiographs in it."""
    number = 0
    films: list[str] = []

    def put(ds: pydicom.Dataset, name: str, *, raw: bytes | None = None, tail: bytes = b"", film: bool = True) -> None:
        nonlocal number
        number += 1
        path = folder / marks.new("name of a folder") / f"{number:03d} {marks.new('name of a file')} {name}.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(raw if raw is not None else factory.written(ds, tail))
        films.extend([str(ds.SOPInstanceUID)] if film else [])

    def fresh(ds: pydicom.Dataset) -> pydicom.Dataset:
        uid = f"1.2.826.0.1.98765.4712.{len(films)}.{number}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = marks.note(uid, "SOP instance UID")
        return ds

    for modality in ("CR", "DX"):
        ds = fresh(factory.radiograph(modality))
        ds.AccessionNumber = marks.new("accession number")
        ds.PatientID = marks.new("patient identifier")
        factory.plant_table(ds, marks, TABLE)
        factory.plant_header(ds, marks)
        factory.plant_nested(ds, marks)
        factory.meta(ds, marks)
        put(ds, modality, tail=marks.new("bytes behind the data set").encode())
        ds = fresh(factory.radiograph(modality))
        factory.plant_wrong_vr(ds, marks)
        put(ds, "wrong VR")
    for charset in ("latin-1", "utf-8", "gb18030", "jis"):
        ds = fresh(factory.radiograph("DX"))
        factory.plant_charsets(ds, marks, charset)
        put(ds, charset)
    for place, (syntax, plant) in factory.PIXEL_PLANTS.items():
        ds = fresh(factory.radiograph("DX", SYNTAXES[{"native": "raw"}.get(syntax, syntax)]))
        plant(ds, marks.new(f"pixels: {place}").encode())
        put(ds, "pixels", film=place not in factory.MAY_BE_REFUSED)
    for syntax in ("big endian", "deflated", "implicit"):
        ds = fresh(factory.radiograph("CR"))
        factory.plant_header(ds, marks)
        put(ds, syntax, raw=factory.in_syntax(ds, syntax))
    ds = fresh(instance(pixels=film((40, 30))))
    ds.NumberOfFrames = "2"
    ds.PixelData = ds.PixelData * 2 + marks.new("a third frame").encode().ljust(2400, b"\0")
    put(ds, "frames")
    for colour in (False, True):
        ds = fresh(factory.secondary_capture(colour))
        factory.plant_header(ds, marks)
        factory.plant_nested(ds, marks)
        factory.meta(ds, marks)
        put(ds, "SC", film=False)
    for made in (factory.structured_report, factory.encapsulated_pdf):
        ds = fresh(made(marks))
        factory.plant_header(ds, marks)
        factory.plant_nested(ds, marks)
        factory.meta(ds, marks)
        put(ds, "document", film=False)
    for path in sorted(get_testdata_files()):
        ds = _read(Path(path))
        if ds is None:
            continue
        before = len(marks.places)
        fresh(ds)
        ds.PatientID = ds.get("PatientID") or "IPP1"
        ds.StudyInstanceUID = ds.get("StudyInstanceUID") or "1.2.3"
        factory.plant_header(ds, marks)
        factory.meta(ds, marks)
        data = _saved(ds)
        if data is None:
            marks.forget(before)
        else:
            put(ds, "pydicom", raw=data, film=False)
    return films


def _read(path: Path) -> pydicom.Dataset | None:
    try:
        ds = pydicom.dcmread(path)
        return ds if "SOPClassUID" in ds and path.stat().st_size < 2_000_000 else None
    except Exception:
        return None


def _saved(ds: pydicom.Dataset) -> bytes | None:
    try:
        return factory.written(ds)
    except Exception:  # elements of broken files cannot be written again
        return None


def _sop_classes() -> list[str]:
    default = DicomConfig().sop_classes
    read = (_read(Path(path)) for path in get_testdata_files())
    return sorted({*default, *(str(ds.SOPClassUID) for ds in read if ds is not None)})


@pytest.fixture(scope="module", params=SUPPORTED)
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    folder, marks = tmp_path_factory.mktemp("attack"), Marks()
    warnings.simplefilter("ignore")
    films = _files(folder / "in", marks)
    settings = {"sop_classes": _sop_classes(), "workers": 2, **SETTINGS[request.param]}
    (folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "secret").write_bytes(SECRET)
    command = [sys.executable, "-m", "anonymize.cli", "dicom", str(folder / "in"), "--out", str(folder / "safe")]
    command += ["--config", str(folder / "config.yaml"), "--secret-file", str(folder / "secret")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    summary = json.loads((folder / "safe/dicom/summary.json").read_text(encoding="utf-8"))
    return Attacked(marks, folder / "in", folder / "safe", run.stdout + run.stderr, summary, tuple(films))


def _image(attack: Attacked, uid: str) -> Path | None:
    name = Keys(SECRET).pseudonym("image", uid)
    return next((attack.safe / "images").rglob(f"{name}.dcm"), None)


def test_the_plant_is_there(attacked: Attacked) -> None:
    """Every marker is found in the source by the same search: one that is not found proves nothing."""
    planted = [Planted(value, where) for value, where in attacked.marks.places.items()]
    found = {row["marker"] for row in check(attacked.source, planted, Console("quiet"))["found"]}
    assert {where for number, (_, where) in enumerate(attacked.marks.places.items()) if number not in found} == set()
    assert len(set(attacked.marks.places.values())) > 400
    kinds = Counter(path.stem.rsplit(" ", 1)[-1] for path in attacked.source.rglob("*.dcm"))
    assert kinds["pydicom"] > 140
    assert {"CR", "DX", "SC", "document", "VR", "pixels", "deflated", "endian", "jis"} <= set(kinds)


def test_nothing_planted_is_in_the_bytes(attacked: Attacked) -> None:
    planted = [Planted(value, where) for value, where in attacked.marks.places.items()]
    summary = check(attacked.safe, planted, Console("quiet"))
    assert sorted({(row["where"], row["file"].split("/")[0], row["part"]) for row in summary["found"]}) == []
    assert summary["files"] > 25


def test_nothing_planted_is_found_by_a_search_of_its_own(attacked: Attacked) -> None:
    other = [value for value in attacked.marks.places if not MARK.fullmatch(value.encode())]
    assert len(other) > 20
    for path in attacked.safe.rglob("*"):
        views = [str(path.relative_to(attacked.safe)).encode(), *(_views(path) if path.is_file() else [])]
        for view in views:
            assert not MARK.search(view), (path.suffix, attacked.marks.places[MARK.search(view)[0].decode().upper()])
            assert [attacked.marks.places[value] for value in other if value.encode() in view] == []


def test_nothing_planted_is_printed(attacked: Attacked) -> None:
    assert attacked.printed
    assert not MARK.search(attacked.printed)
    assert not [where for value, where in attacked.marks.places.items() if value.encode() in attacked.printed]


def test_the_films_came_through(attacked: Attacked) -> None:
    """A run that writes nothing leaks nothing: every attacked film must be there, and look as before."""
    missing = [uid for uid in attacked.must_stand if _image(attacked, uid) is None]
    assert len(attacked.must_stand) == 21
    reasons = attacked.summary["quarantined"]
    assert missing == [], reasons
    summary = attacked.summary
    assert summary["files_in"] == summary["written"] + sum(reasons.values())
    assert summary["written"] > 70, "of pydicom's files, which hold no pixels in every third"


def test_no_text_in_unused_bits(tmp_path: Path) -> None:
    """Native pixels of 12 bits in 16: text above BitsStored is gone, the film is the same."""
    from anonymize.dicom.batch import run_dicom

    ds = instance(with_device=device())
    assert (ds.BitsAllocated, ds.BitsStored) == (16, 12)
    factory.in_high_bits(ds, b"ZQ00001XK and more text in the unused bits")
    assert b"ZQ00001XK" in factory.high_bits(ds)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(factory.written(ds))
    run_dicom(DicomConfig(workers=1), tmp_path / "in", tmp_path / "safe", Keys(SECRET), Console("quiet"))
    (path,) = (tmp_path / "safe/images").rglob("*.dcm")
    after = pydicom.dcmread(path)
    assert set(factory.high_bits(after)) == {0}
    assert np.array_equal(after.pixel_array, film())


def _views(path: Path) -> list[bytes]:
    """The bytes of a file, and what this test can unpack of them."""
    data = path.read_bytes()
    views = [data, data.replace(b"\0", b"")]
    if data[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(data))
        views += [str(table.to_pydict()).encode("utf-8", "surrogateescape"), str(table.schema.metadata).encode()]
    for start in (match.end() for match in re.finditer(rb"stream\r?\n", data)):
        try:
            views.append(zlib.decompressobj().decompress(data[start:]))
        except zlib.error:
            continue
    if data[128:132] == b"DICM":
        ds = pydicom.dcmread(io.BytesIO(data))
        views.append("\n".join(str(element.value) for element in ds.iterall() if element.VR != "SQ").encode())
    return views


def test_rle_frames_carry_nothing_but_their_pixels() -> None:
    """A decoder that reads over the text must not carry it along."""
    ds = factory.radiograph("DX", SYNTAXES["rle"])
    factory.in_frame(ds, b"ZQ00001XK ", "unused offsets")
    assert b"ZQ00001XK" in ds.PixelData
    ds.PixelData = bitstream.clean_encapsulated(ds, SYNTAXES["rle"])
    assert b"ZQ00001XK" not in ds.PixelData
    assert np.array_equal(ds.pixel_array, film())
    factory.in_frame(ds, b"ZQ00001XK ", "behind the end")
    ds.PixelData = bitstream.clean_encapsulated(ds, SYNTAXES["rle"])
    assert b"ZQ00001XK" not in ds.PixelData
    assert np.array_equal(ds.pixel_array, film())
