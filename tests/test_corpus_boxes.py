"""Boxes of findings: they lie in the stored image where they lay in the file, and none is lost."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from public_sets import dicom, pixels

from anonymize.console import Console
from anonymize.files import read_json, read_rows
from anonymize.quarantine import read_quarantine
from vlp.corpus import build
from vlp.corpus.adapters.annotations import BadAnnotations, read_coco, read_list, read_voc, read_yolo
from vlp.corpus.adapters.images_csv import run_prepare_images
from vlp.corpus.boxes import in_file, in_part, place_boxes
from vlp.corpus.build import prepare_image
from vlp.corpus.codec import decode, to_8bit
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.source import DrawnBox, ImageFile
from vlp.study import MANIFEST_SCHEMA, Box, Study

_TURNED = {  # Exif orientation → how the upright picture is stored
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A film with border and a rectangle in it, in pixels of the upright film."""

    height: int
    width: int
    borders: tuple[int, int, int, int]  # top, bottom, left, right
    white: bool  # border white and rectangle black, else the reverse
    corners: tuple[int, int, int, int]

    def pixels(self) -> np.ndarray:
        top, bottom, left, right = self.borders
        inside = pixels("boxes", self.height - top - bottom, self.width - left - right)
        image = np.full((self.height, self.width), 255 if self.white else 0, np.uint8)
        image[top : self.height - bottom, left : self.width - right] = 80 + inside // 4
        x0, y0, x1, y1 = self.corners
        image[y0:y1, x0:x1] = 0 if self.white else 255
        return image


@st.composite
def spans(draw, first: int, end: int) -> tuple[int, int]:
    """An edge and the next, within the film and away from its ends: between a fifth and three fifths of it (no white film)."""
    length = draw(st.integers((end - first) // 5, 3 * (end - first) // 5))
    start = draw(st.integers(first + 8, end - 8 - length))
    return start, start + length


@st.composite
def drawings(draw) -> Drawing:
    height = draw(st.integers(160, 700))
    width = draw(st.integers(round(height * 0.7), round(height * 1.4)))
    shares = draw(st.tuples(*[st.sampled_from([0.0, 0.0, 0.1, 0.25])] * 4))
    top, bottom, left, right = (round(s * side) for s, side in zip(shares, (height, height, width, width), strict=True))
    x0, x1 = draw(spans(left, width - right))
    y0, y1 = draw(spans(top, height - bottom))
    return Drawing(height, width, (top, bottom, left, right), draw(st.booleans()), (x0, y0, x1, y1))


def write_picture(path, image: np.ndarray, orientation: int) -> None:
    stored, exif = Image.fromarray(image), Image.Exif()
    exif[0x0112] = orientation
    turn = _TURNED[orientation]
    (stored if turn is None else stored.transpose(turn)).save(path, exif=exif)


def seen(image: np.ndarray, dark: bool) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the rectangle in a stored image: what is nearer to its shade than to the film's."""
    found = image < 45 if dark else image > 200
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(drawings(), st.integers(180, 400), st.sampled_from(range(1, 9)), st.sampled_from([8, 16]), st.booleans())
def test_a_rectangle_lies_where_its_box_says(tmp_path_factory, drawing, size, orientation, depth, fractions):
    path = tmp_path_factory.getbasetemp() / "drawn.png"
    write_picture(path, drawing.pixels(), orientation)
    sides = (drawing.width, drawing.height)
    corners = tuple(v / s for v, s in zip(drawing.corners, sides * 2, strict=True)) if fractions else drawing.corners
    drawn = DrawnBox("x", corners, (1.0, 1.0) if fractions else None)
    check(ImageFile("I", str(path), "", "", boxes=(drawn,)), drawing, size, depth)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(drawings(), st.integers(180, 400), st.sampled_from([(1, 1), (1, 2), (3, 2), (2, 1)]), st.booleans())
def test_a_rectangle_lies_where_its_box_says_in_dicom_of_any_pixel_shape(
    tmp_path_factory, drawing, size, ratio, inverse
):
    path = tmp_path_factory.getbasetemp() / "drawn.dcm"
    image = drawing.pixels()
    photometric = "MONOCHROME1" if inverse else "MONOCHROME2"
    spacing = [0.1 * ratio[0], 0.1 * ratio[1]]
    dicom(path, 255 - image if inverse else image, PixelSpacing=spacing, PhotometricInterpretation=photometric)
    check(ImageFile("I", str(path), "", "", boxes=(DrawnBox("x", drawing.corners),)), drawing, size, 8)


def check(image: ImageFile, drawing: Drawing, size: int, depth: int) -> None:
    row, data = prepare_image(image, size, True, "tiff", depth)
    assert not row.reason
    wide = [border for border in drawing.borders if border]
    assert len(wide) == sum(
        (row.shown_y0 > 0, row.shown_y1 < 0.97, row.shown_x0 > 0, row.shown_x1 < 0.97)
    )  # borders were cut, and nothing else
    (box,) = place_boxes([image], {"I": row}).by_image["I"]
    found = seen(to_8bit(decode(data)), drawing.white)
    stated = (box.x0 * row.width, box.y0 * row.height, box.x1 * row.width, box.y1 * row.height)
    assert np.abs(np.subtract(found, stated)).max() <= 1


@given(st.tuples(*[st.floats(-2, 3) | st.just(math.nan) | st.just(math.inf)] * 4), st.tuples(*[st.floats(0, 1)] * 4))
def test_any_box_is_inside_or_has_a_reason(corners, shown):
    found = in_file(DrawnBox("x", corners, (1.0, 1.0)), 10, 10)
    if isinstance(found, str):
        assert found in ("box_unreadable", "box_without_area", "box_beyond_image")
        return
    left, top, right, bottom = shown
    if left + 0.01 < right and top + 0.01 < bottom:
        part = in_part(found, shown)
        overlaps = found[0] < right and found[2] > left and found[1] < bottom and found[3] > top
        assert part is None or (overlaps and 0 <= part[0] < part[2] <= 1 and 0 <= part[1] < part[3] <= 1)


BOXES = {
    "whole": [[50, 40, 110, 100, "fracture"]],
    "a_little_out": [[100, 40, 162, 100, "cast"]],
    "in_the_border": [[2, 2, 18, 18, "marker"], [10, 40, 30, 100, "fracture"]],
    "wrong": [[300, 40, 400, 100, "fracture"], [50, 40, 50, 100, "fracture"], [50, "a", 60, 100, "fracture"], 7],
    "missing": [[1, 2, 3, 4, "fracture"]],
    "none": [],
}
"""Boxes by image, on films of 160 by 200 pixels of which the outer 20 are border."""


def make(folder, boxes=None) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "boxes"])
        for name, own in (boxes or BOXES).items():
            table.writerow([f"{name}.png", json.dumps(own) if own else ""])
            if name != "missing":
                image = np.zeros((200, 160), np.uint8)
                image[20:180, 20:140] = 60 + pixels(name, 160, 120) // 2
                Image.fromarray(image).save(folder / "images" / f"{name}.png")
    columns = {"image": "file", "boxes": "boxes"}
    (folder / "mapping.yaml").write_text(yaml.safe_dump({"columns": columns, "default": {"anatomy": "wrist"}}))


def prepare(folder, **values):
    config = PrepareConfig(size=80, workers=1, recognise=False, **values)
    paths = folder / "images", folder / "table.csv", folder / "mapping.yaml", folder / "corpus"
    summary = run_prepare_images(config, *paths, Console("quiet"))
    return summary, Corpus.open(folder / "corpus")


def boxes_of(corpus: Corpus) -> list[tuple[Box, ...]]:
    return sorted((ref.boxes for s in corpus.studies for ref in s.images), key=lambda own: (len(own), repr(own)))


@pytest.mark.parametrize("store", ["parquet", "tar"])
def test_wrong_boxes_are_refused_by_name_and_their_films_stay(tmp_path, store):
    make(tmp_path)
    summary, corpus = prepare(tmp_path, store=store)
    assert summary["images"] == {"read": 6, "kept": 5, "refused": 1}
    assert summary["boxes"] == {"read": 9, "kept": 3, "refused": 4, "of_refused_images": 1, "cropped_away": 1}
    assert summary["refused_boxes"] == {"box_unreadable": 2, "box_beyond_image": 1, "box_without_area": 1}
    assert summary["box_labels"] == {"fracture": 2, "cast": 1}
    refused = [q for q in read_quarantine(tmp_path / "corpus/quarantine.parquet") if q.reason.startswith("box_")]
    films = {ref.image_id for study in corpus.studies for ref in study.images}
    assert len(refused) == 4
    assert {(q.ref in films, q.position) for q in refused} == {(True, 5)}  # the row of "wrong" in the table
    empty, also_empty, *marked = boxes_of(corpus)
    assert empty == also_empty == ()
    whole = next(own for (own,) in marked if own.label == "fracture" and own.x0 > 0)
    assert (whole.x0, whole.y0, whole.x1, whole.y1) == pytest.approx((0.25, 0.125, 0.75, 0.5))
    cut = next(own for (own,) in marked if own.label == "fracture" and own.x0 == 0)
    assert cut.x1 == pytest.approx(10 / 120)


def test_the_card_and_the_metadata_say_which_boxes_there_are(tmp_path):
    make(tmp_path)
    prepare(tmp_path)
    card = (tmp_path / "corpus/card.md").read_text()
    assert "| fracture | 2 | 2 |" in card
    assert "cropped away: 1" in card
    assert "box beyond image (1)" in card
    assert "card/boxes.png" in card
    studies = next(r for r in read_json(tmp_path / "corpus/croissant.json")["recordSet"] if r["name"] == "studies")
    fields = {field["name"]: field for field in studies["field"]}
    names = {
        field.name for field in pq.read_schema(tmp_path / "corpus/manifest.parquet").field("images").type.value_type
    }
    assert "boxes" in names
    assert {f"images_boxes_{name.name}" for name in dataclasses.fields(Box)} <= set(fields)


def test_a_corrected_table_moves_boxes_without_decoding_again(tmp_path, monkeypatch):
    make(tmp_path)
    _, first = prepare(tmp_path)
    shard = (tmp_path / "corpus/images/shard-00000.parquet").read_bytes()
    corrected = {**BOXES, "wrong": [[50, 40, 80, 100, "fracture"]]}
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerows([["file", "boxes"], *([f"{name}.png", json.dumps(own)] for name, own in corrected.items())])
    monkeypatch.setattr(build, "prepare_image", None)
    summary, second = prepare(tmp_path)
    assert summary["boxes"]["kept"] == 4
    assert first.fingerprint != second.fingerprint
    assert (tmp_path / "corpus/images/shard-00000.parquet").read_bytes() == shard


def test_a_corpus_without_boxes_still_opens(tmp_path):
    make(tmp_path, {"whole": [], "none": []})
    summary, corpus = prepare(tmp_path)
    assert "boxes" not in summary
    assert "Boxes" not in corpus.card
    manifest = tmp_path / "corpus/manifest.parquet"
    rows = read_rows(manifest)
    for row in rows:
        for image in row["images"]:
            del image["boxes"]
    images = MANIFEST_SCHEMA.field("images")
    older = pa.struct([field for field in images.type.value_type if field.name != "boxes"])
    fields = [pa.field("images", pa.list_(older)) if field.name == "images" else field for field in MANIFEST_SCHEMA]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), manifest)
    assert Corpus.open(tmp_path / "corpus").studies == corpus.studies


def test_boxes_survive_parquet(tmp_path):
    make(tmp_path)
    _, corpus = prepare(tmp_path)
    assert [Study.from_row(study.row()) for study in corpus.studies] == corpus.studies
    assert any(ref.boxes for study in corpus.studies for ref in study.images)


@given(st.text())
def test_no_annotation_file_raises_anything_else(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "annotations"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(len(box.corners) == 4 for box in (*read_yolo(path, ("a",)), *read_list(text, 1)))
    for read in (read_voc, read_coco):
        with pytest.raises(BadAnnotations):
            read(path)
