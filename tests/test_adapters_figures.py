"""Boxes of pictures, and the figures that a collector leaves."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from public_sets import pixels, prepare, write

from vlp.corpus.build import prepare_image
from vlp.corpus.crop import cut
from vlp.corpus.decode import Undecodable, decode_bytes
from vlp.corpus.source import ImageFile


def compound(path, mode="RGB"):
    """A figure: a coloured panel at the left, a radiograph of 120 x 90 pixels at the right from x = 100."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = np.full((140, 200, 3), 255, np.uint8)
    page[:, :95] = (200, 30, 30)
    page[10:130, 100:190] = pixels("knee")[..., None]
    Image.fromarray(page).convert(mode).save(path, quality=100, **({"subsampling": 0} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("f.png", "RGB"), ("f.jpg", "RGB"), ("f.tif", "RGB"), ("f.png", "RGBA"), ("f.jpg", "CMYK")]
)
def test_a_box_is_cut_before_colour_refuses_the_figure(tmp_path, name, mode):
    path = compound(tmp_path / name, mode)
    with pytest.raises(Undecodable, match="colour"):
        decode_bytes(path.read_bytes())
    part = decode_bytes(cut(path, (100, 10, 190, 130))).pixels
    assert part.shape == (120, 90)
    if name != "f.jpg":
        assert np.array_equal(part, pixels("knee"))
    assert np.abs(part.astype(int) - pixels("knee")).mean() < 3


def test_boxes_are_refused_by_name(tmp_path):
    path = compound(tmp_path / "f.png")
    assert decode_bytes(cut(path, (110, 10, 202, 130))).pixels.shape == (120, 90)  # rounded outwards by the collector
    reasons = {(150, 10, 300, 130): "box_outside_image", (0, 0, 0, 5): "box_outside_image"}
    for box, reason in reasons.items():
        row, png = prepare_image(ImageFile("I", str(path), "", "", box=box), 64, False)
        assert (row.reason, png) == (reason, b"")
    (tmp_path / "half.png").write_bytes(path.read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in (("half.png", "truncated_image"), ("text.png", "not_an_image"), ("none.png", "missing_file")):
        row, _ = prepare_image(ImageFile("I", str(tmp_path / name), "", "", box=(0, 0, 9, 9)), 64, False)
        assert row.reason == reason


@given(st.tuples(*[st.integers(-300, 300)] * 4))
def test_any_box_gives_a_part_or_a_reason(tmp_path_factory, box):
    path = tmp_path_factory.getbasetemp() / "any.png"
    if not path.exists():
        compound(path)
    try:
        height, width = decode_bytes(cut(path, box)).pixels.shape
    except Undecodable as error:
        height, width, reason = 1, 1, error.reason
    else:
        reason = ""
    assert reason in ("", "box_outside_image", "colour_image")
    assert reason or (0 < height <= box[3] - box[1] and 0 < width <= box[2] - box[0])


def figures(root):
    """A compound figure, one with equal captions, a CT, broken boxes, no licence, a whole picture, a broken line."""
    compound(root / "images/PMC1_a.jpg")
    for name in ("PMC1_b", "PMC2_a"):
        cv2.imwrite(str(root / f"images/{name}.png"), cv2.hconcat([pixels(name), pixels(name + "2")]))
    whole = {"pmcid": "PMC2", "licence": "CC BY 4.0", "language": "en"}
    knee = {"box": [100.2, 9.8, 190, 130], "caption": "AP view of the left knee:\n no fracture.", "modality": "X-ray"}
    chest = "Chest, lateral."
    rows = [
        {"image": "images/PMC1_a.jpg", "pmcid": "PMC1", "licence": "CC BY 4.0", "caption": "Two panels.",
         "subfigures": [knee, {"box": [0, 0, 95, 140], "caption": "CT.", "modality": "CT"}]},
        {"image": "images/PMC1_b.png", "pmcid": "PMC1", "licence": "CC BY-NC 4.0",
         "subfigures": [{"box": [0, 0, 90, 120], "caption": chest}, {"box": [90, 0, 180, 120], "caption": chest},
                        {"box": [5, 5, 1, 1]}, {"box": "all"}, 7]},
        {**whole, "image": "images/PMC2_a.png", "caption": "Radiographie du poignet droit.", "language": "fr"},
        {**whole, "image": "images/PMC2_b.png", "licence": None},
        {**whole, "image": "../PMC2_c.png", "caption": "Hand."},
    ]  # fmt: skip
    lines = [json.dumps(row) for row in rows]
    write(root / "figures.jsonl", "\n".join([*lines[:2], "{broken", "", "[1]", *lines[2:]]))


def test_figures_become_studies_by_caption_and_articles_patients(tmp_path):
    summary, corpus = prepare(tmp_path, "figures", figures)
    assert summary["refused_images"] == {
        "bad_box": 3,
        "unreadable_row": 2,
        "not_a_radiograph": 1,
        "no_licence": 1,
        "path_outside_folder": 1,
    }
    assert summary["images"] == {"read": 12, "kept": 4, "refused": 8}
    assert summary["notes"] == {"licence CC BY 4.0": 3, "licence CC BY-NC 4.0": 2}
    knee = next(s for s in corpus.studies if s.anatomy == "knee")
    assert knee.report == "AP view of the left knee: no fracture."
    assert (knee.images[0].view, knee.images[0].laterality, knee.language) == ("AP", "L", "en")
    chest = next(s for s in corpus.studies if s.anatomy == "chest")
    assert (len(chest.images), chest.patient_id) == (2, knee.patient_id)
    wrist = next(s for s in corpus.studies if s.anatomy == "wrist")
    assert (wrist.language, wrist.images[0].laterality) == ("fr", "R")
    assert wrist.patient_id != knee.patient_id


def test_a_changed_box_is_cut_again(tmp_path):
    prepare(tmp_path, "figures", figures)
    index = tmp_path / "set/figures.jsonl"
    text = index.read_text()
    before = (tmp_path / "corpus/images/shard-00000.parquet").read_bytes()

    def again(folder):
        write(index, text.replace("100.2, 9.8, 190, 130", "100.2, 9.8, 180, 120"))

    _, corpus = prepare(tmp_path, "figures", again)
    knee = next(s for s in corpus.studies if s.anatomy == "knee")
    assert (tmp_path / "corpus/images/shard-00000.parquet").read_bytes() != before
    assert knee.images[0].width / knee.images[0].height == pytest.approx(80 / 110, abs=0.02)
