"""Text burned into pixels: the gate, the detector, the reader of marks, templates."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from dicom_factory import device, film, instance
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from anonymize.config import ConfigError
from anonymize.dicom import detector, gate, lead, pixels, reader
from anonymize.dicom.boxes import Box, Region, hull, merge, pad
from anonymize.dicom.marks import _pairs, is_joined_mark, is_mark, marks
from anonymize.dicom.regions import Template, regions_of, templates
from anonymize.dicom.rings import inside_ring
from anonymize.dicom.tilt import straight
from anonymize.ner.lexicon import read_names
from anonymize.text import fold
from vlp.phantom.facts import Exam, View
from vlp.phantom.render import render

FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
LINES = ("LEFÈVRE-NGUYEN Zoé", "né le 04/05/2012", "IPP 0012345")


def written(
    ground: np.ndarray, lines: tuple[str, ...], font: str, size: int, ink: int, paper: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """A film with lines in its upper left corner on a strip of ``paper``, and which pixels the glyphs are."""
    image = ground.astype(np.float32)
    tall = int(1.4 * size) * len(lines) + 12
    if paper is not None:
        image[:tall] = paper
    page = Image.new("L", image.shape[::-1], 0)
    loaded = ImageFont.truetype(str(FONTS / font), size)
    for number, line in enumerate(lines):
        ImageDraw.Draw(page).text((9, 6 + int(1.4 * size) * number), line, font=loaded, fill=255)
    part = np.asarray(page, np.float32) / 255
    return (image * (1 - part) + ink * part).round().astype(np.uint8), part > 0.15


def covered(shape: tuple[int, ...], boxes: tuple[tuple[int, int, int, int], ...]) -> np.ndarray:
    made = np.zeros(shape[:2], bool)
    for x0, y0, x1, y1 in boxes:
        made[y0:y1, x0:x1] = True
    return made


def gray_film(seed: int = 0, shape: tuple[int, int] = (640, 560)) -> np.ndarray:
    return (film(shape, seed=seed) // 16).astype(np.uint8)


@pytest.mark.parametrize("font", ["STIXGeneral.ttf", "cmss10.ttf", "DejaVuSansMono.ttf"])
@pytest.mark.parametrize(("ink", "paper"), [(255, None), (90, 0), (0, 255), (140, 255)])
@pytest.mark.parametrize("size", [14, 24, 48])
def test_every_pixel_of_drawn_text_is_filled(font: str, ink: int, paper: int | None, size: int) -> None:
    drawn, glyphs = written(gray_film(size), LINES, font, size, ink, paper)
    filled = covered(drawn.shape, pixels.find_text(drawn).boxes)
    assert filled[glyphs].all()
    assert filled.mean() < 0.7


@pytest.mark.parametrize("size", [36, 40, 48])
@pytest.mark.parametrize(("ink", "paper"), [(255, None), (0, 255), (140, 255)])
def test_large_lines_in_a_block_are_all_filled(ink: int, paper: int | None, size: int) -> None:
    """A fine size sees pieces of large letters as marks; what a coarse size says of the block must still count."""
    lines = ("D'ARCY Karim", "03/05/1995", "202294436")
    drawn, glyphs = written(gray_film(size, (331, 331)), lines, "cmtt10.ttf", size, ink, paper)
    assert covered(drawn.shape, pixels.find_text(drawn).boxes)[glyphs].all()


def test_a_fill_reaches_past_both_ends_of_a_line() -> None:
    """White letters on a bright ground are found in part: an end that stays unseen is filled with what was seen."""
    ground = gray_film(3, (300, 900))
    drawn, glyphs = written(ground[:, 200:], ("DUPONT 04/05/1951",), "DejaVuSans.ttf", 26, 255, None)
    drawn = np.hstack([ground[:, :200], drawn])
    rows, columns = np.flatnonzero(glyphs.any(1)), 200 + np.flatnonzero(glyphs.any(0))
    letters = rows[-1] - rows[0] + 1
    (box,) = pixels.find_text(drawn).boxes
    assert box[0] <= columns[0] - 3 * letters
    assert box[2] >= columns[-1] + 3 * letters
    assert box[3] - box[1] <= 4 * letters


def test_text_among_a_few_extreme_values_is_found() -> None:
    drawn, glyphs = written(gray_film(3), LINES, "DejaVuSans.ttf", 20, 255, 0)
    frame = drawn.astype(np.uint16)
    frame[500, 300] = 65535
    assert covered(frame.shape, pixels.find_text(frame).boxes)[glyphs].all()


def test_colour_frames_are_searched_by_luminance() -> None:
    drawn, glyphs = written(gray_film(4), LINES, "DejaVuSans.ttf", 18, 255, 0)
    colour = np.stack([drawn // 2, drawn, drawn // 3], axis=2)
    finding = pixels.find_text(colour)
    assert covered(colour.shape, finding.boxes)[glyphs].all()
    pixels.mask(colour, finding.boxes, photometric="RGB")
    assert (colour[glyphs] == 0).all()


@pytest.mark.parametrize(
    ("anatomy", "name"), [("hand", "borea_cr"), ("hand", "esker_dx"), ("wrist", "aurelia_dx"), ("knee", "cantor_cr")]
)
def test_bones_and_lead_marks_of_the_phantom_stay(anatomy: str, name: str) -> None:
    for seed in range(3):
        view = View("PA", "R", seed)
        drawn = render(Exam("E", 0, anatomy, 170, "F", 1, 1, "R", (view,), name, "hard"), view, 512)
        assert any(item.name == "marker" for item in drawn.objects)
        assert pixels.find_text(drawn.pixels).boxes == ()


def test_the_gate_ends_a_smooth_film_and_never_one_with_text() -> None:
    smooth = gray_film(5)
    assert gate.crowded(smooth) == []
    assert pixels.find_text(smooth) == pixels.Finding((), 0.0)
    for size in (14, 30, 48):
        drawn, _ = written(smooth, ("DUPONT",), "cmr10.ttf", size, 90, 0)
        half = cv2.resize(drawn, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        assert gate.crowded(drawn) or gate.crowded(half)


@pytest.mark.parametrize(("ink", "paper"), [(90, 0), (140, 255)])
def test_a_small_film_is_searched_whole(ink: int, paper: int) -> None:
    """It is enlarged first, which softens thin strokes below what the gate asks for."""
    for font in ("DejaVuSansMono-Oblique.ttf", "STIXGeneralItalic.ttf", "cmr10.ttf", "cmss10.ttf"):
        drawn, glyphs = written(
            gray_film(8, (162, 300)), ("CHU 3651 20/02/2020", "IPP 697567177"), font, 14, ink, paper
        )
        finding = pixels.find_text(drawn)
        assert finding.searched == 1.0
        assert covered(drawn.shape, finding.boxes)[glyphs].all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 560), st.integers(0, 400)), min_size=1, max_size=4))
def test_parts_hold_every_crowded_place(places: list[tuple[int, int]]) -> None:
    image = np.full((480, 640), 20, np.uint8)
    for x, y in places:
        cv2.putText(image, "ABCD12", (x - 10, y + 30), cv2.FONT_HERSHEY_DUPLEX, 0.7, 230, 1)
    cells = gate._crowded_cells(image)
    inside = covered(image.shape, tuple(gate.crowded(image)))
    for row, column in np.argwhere(cells):
        block = inside[row * gate.CELL : (row + 1) * gate.CELL, column * gate.CELL : (column + 1) * gate.CELL]
        assert block.all()


def test_models_are_small_and_torch_is_not_loaded() -> None:
    assert detector.MODEL.stat().st_size + reader.MODEL.stat().st_size <= 1_500_000
    code = (
        "import sys, numpy as np; from anonymize.dicom import pixels;"
        "pixels.find_text(np.random.default_rng(0).integers(0, 255, (300, 300)).astype('u1'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_search_is_deterministic() -> None:
    drawn, _ = written(gray_film(6), LINES, "DejaVuSans.ttf", 22, 255, None)
    assert pixels.find_text(drawn) == pixels.find_text(drawn)


@pytest.mark.parametrize("text", ["EN CHARGE", "Bettaufnahme", "AP PORTABLE", "R L", "debout"])
def test_marks_of_the_packs_are_known(text: str) -> None:
    assert is_mark(text)


@pytest.mark.parametrize("text", ["DUPONT", "LAPP", "PORTABLES", "PORTABLE 12", "R L D", ""])
def test_anything_else_is_no_mark(text: str) -> None:
    assert not is_mark(text)


def test_no_mark_holds_a_digit_and_joined_marks_are_known() -> None:
    assert len(marks()) > 60
    assert not any(char.isdigit() for mark in marks() for char in mark)
    assert is_joined_mark("encharge")
    assert is_joined_mark("apportable")
    assert is_joined_mark("aperect")
    assert is_joined_mark("latr")
    for name in ("lapp", "pali", "pare", "walls", "gaucher", "latre"):
        assert not is_joined_mark(name)


def test_two_marks_in_a_row_never_spell_a_name() -> None:
    """No given name, surname or town of 241,000 is read as two marks."""
    names = {"".join(letter for letter in fold(name.form) if letter.isalpha()) for name in read_names()}
    assert {"pali", "walls", "gaucher"} <= names
    assert len(_pairs()) > 1000
    assert not _pairs() & names


@pytest.mark.parametrize(("mark", "name"), [("PORTABLE", "PORTAL"), ("DEBOUT", "DEBOUTIN"), ("LIEGEND", "LIEGARD")])
def test_a_known_mark_stays_and_a_name_like_it_goes(mark: str, name: str) -> None:
    for font in ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf"):
        drawn, _ = written(gray_film(7), (mark,), font, 28, 255, None)
        assert pixels.find_text(drawn).boxes == ()
        drawn, glyphs = written(gray_film(7), (name,), font, 28, 255, None)
        assert covered(drawn.shape, pixels.find_text(drawn).boxes)[glyphs].all()


@pytest.mark.parametrize("name", ["LEROY", "Noël", "GARY", "Ines"])
@pytest.mark.parametrize(("ink", "paper"), [(255, None), (0, 255)])
def test_a_short_name_by_itself_is_filled_though_it_looks_like_a_mark(name: str, ink: int, paper: int | None) -> None:
    drawn, glyphs = written(gray_film(9), (name,), "DejaVuSans.ttf", 20, ink, paper)
    assert covered(drawn.shape, pixels.find_text(drawn).boxes)[glyphs].all()


def placed(words: dict[tuple[int, int], str], size: int) -> np.ndarray:
    """A dark film with words in white at their places (x, y), as lead marks are laid."""
    page = Image.fromarray(np.full((512, 400), 20, np.uint8))
    font = ImageFont.load_default(size)
    for place, word in words.items():
        ImageDraw.Draw(page).text(place, word, font=font, fill=235)
    return np.asarray(page)


@pytest.mark.parametrize(
    ("line", "size"), [("LAT R", 22), ("LAT R", 28), ("PA ERECT", 24), ("FACE D", 26), ("PROFIL G", 20)]
)
def test_two_marks_in_a_line_stay_and_a_name_like_them_goes(line: str, size: int) -> None:
    drawn, _ = written(gray_film(7), (line,), "DejaVuSans.ttf", size, 255, None)
    assert pixels.find_text(drawn).boxes == ()
    for name in ("LATRE", "PA ERIC", "FACEL", "PROFIT G"):
        drawn, glyphs = written(gray_film(7), (name,), "DejaVuSans.ttf", size, 255, None)
        assert covered(drawn.shape, pixels.find_text(drawn).boxes)[glyphs].all()


def test_a_mark_beside_a_known_mark_stays_and_beside_a_name_it_goes() -> None:
    font = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 28)

    def kept(word: str, marks: list[Box]) -> tuple[bool, bool]:
        page = Image.fromarray(np.full((300, 400), 20, np.uint8))
        left, top, right, bottom = (int(edge) for edge in ImageDraw.Draw(page).textbbox((60, 60), word, font=font))
        ImageDraw.Draw(page).text((60, 60), word, font=font, fill=235)
        beside = (right + 30, top - 4, right + 60, bottom + 4)  # a lead letter that nothing is read in
        lines = [pixels._Line((left - 3, top - 3, right + 3, bottom + 3), 0.9, bottom - top + 6)]
        lines.append(pixels._Line(beside, 0.9, 30, mark=True))
        stays = pixels._known_marks([np.asarray(page)], lines, [beside] if marks else [])
        return bool(stays[top:bottom, left:right].all()), bool(stays[top:bottom, beside[0] : beside[2]].all())

    assert kept("PORTABLE", [(0, 0, 1, 1)]) == (True, True)
    assert kept("PORTABLE", []) == (False, False)  # no size read a mark there: it may be anything
    assert kept("DUPONT", [(0, 0, 1, 1)]) == (False, False)


def oval(width: int, height: int, word: str, size: int) -> np.ndarray:
    """A dark film [120, 200] with a word in an ellipse whose upper left corner is at (50, 40)."""
    page = Image.fromarray(np.full((120, 200), 20, np.uint8))
    draw = ImageDraw.Draw(page)
    draw.ellipse((50, 40, 50 + width, 40 + height), outline=235, width=2)
    font = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), size)
    draw.text((50 + width / 2, 40 + height / 2), word, font=font, fill=235, anchor="mm")
    return np.asarray(page)


def test_a_circled_letter_is_no_word_and_a_circled_name_is_one() -> None:
    letter = oval(56, 24, "R", 22)
    spot = detector.Spot((40, 34, 116, 70), 0.6, 0.1)
    assert pixels._checked(letter, spot) == spot  # the ring makes it four signs and more
    assert pixels._judged(letter, letter, spot, 1.0, []).text < pixels.DOUBT
    assert lead.is_circled_mark(letter, spot.box)
    name, box = oval(110, 50, "LEROY", 24), (44, 34, 166, 96)
    assert inside_ring(name, box) is not None
    assert not lead.is_circled_mark(name, box)


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 100), st.integers(20, 60), st.sampled_from("RLDG"))
def test_a_ring_is_found_with_its_inside(width: int, height: int, letter: str) -> None:
    box = (46, 36, 54 + width, 44 + height)
    inner = inside_ring(oval(width, height, letter, max(8, height // 2)), box)
    if max(width, height) > 2.4 * min(width, height):
        return
    assert inner is not None
    assert hull(inner, box) == box
    assert abs((inner[0] + inner[2]) / 2 - (50 + width / 2)) <= 2
    assert abs((inner[1] + inner[3]) / 2 - (40 + height / 2)) <= 2


@pytest.mark.parametrize("word", ["LEROY", "O", "4711", "DOG"])
def test_letters_and_discs_are_no_rings(word: str) -> None:
    drawn, glyphs = written(np.full((100, 300), 20, np.uint8), (word,), "DejaVuSans.ttf", 30, 235, None)
    rows, columns = np.flatnonzero(glyphs.any(1)), np.flatnonzero(glyphs.any(0))
    box = (int(columns[0]) - 3, int(rows[0]) - 3, int(columns[-1]) + 4, int(rows[-1]) + 4)
    assert (inside_ring(drawn, box) is None) == (word != "O")  # an O by itself is a ring, and a mark as well
    disc = np.full((100, 100), 20, np.uint8)
    cv2.ellipse(disc, (50, 50), (20, 14), 0, 0, 360, 235, -1)
    assert inside_ring(disc, (28, 33, 72, 67)) is None


@pytest.mark.parametrize("size", [15, 18, 22])
def test_a_side_below_a_view_stays(size: int) -> None:
    for side in "RL":
        assert pixels.find_text(placed({(40, 300): "LAT", (44, 300 + 2 * size): side}, size)).boxes == ()


def tilted(words: dict[tuple[int, int], str], size: int, angle: float) -> np.ndarray:
    """:func:`placed`, each word turned by ``angle`` degrees around its own middle."""
    page = Image.fromarray(np.full((512, 400), 20, np.uint8))
    font = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), size)
    for (x, y), word in words.items():
        stamp = Image.new("L", (6 * size, 6 * size), 0)
        ImageDraw.Draw(stamp).text((3 * size, 3 * size), word, font=font, fill=255, anchor="mm")
        stamp = stamp.rotate(angle, Image.Resampling.BICUBIC)
        page.paste(235, (x - 3 * size, y - 3 * size), stamp)
    return np.asarray(page)


@pytest.mark.parametrize("angle", [-14, -9, 0, 9, 14])
@pytest.mark.parametrize("word", ["LAT", "OBL", "ERECT", "LUAT"])
def test_a_tilted_line_is_read_straight(word: str, angle: int) -> None:
    drawn = tilted({(200, 256): word}, 24, angle)
    box = around(drawn)
    for gray in (drawn, 255 - drawn):
        line = straight(np.asarray(gray, np.uint8), box)
        assert line is not None
        assert 2 <= line.letters <= len(word)  # neighbours can touch
        assert line.box[3] - line.box[1] <= 24
        assert reader.read(line.gray, line.box).text == word.lower()


def test_what_does_not_stand_free_is_not_laid_straight() -> None:
    drawn = tilted({(200, 256): "LAT"}, 24, 9)
    box = around(drawn)
    bone = drawn.copy()
    bone[:, box[2] - 8 :] = 235  # ink that leaves the part
    assert straight(bone, box) is None
    assert straight(drawn, (box[0] - 60, box[1], box[2], box[3])) is None  # the letters are only a part of the line
    assert straight(np.full((100, 100), 20, np.uint8), (20, 20, 80, 50)) is None
    assert straight(tilted({(200, 256): "LAT"}, 24, 40), (160, 216, 240, 296)) is None


@pytest.mark.parametrize("angle", [-12, -8, 8, 12])
@pytest.mark.parametrize("size", [18, 26])
def test_a_tilted_mark_stays_and_a_tilted_name_like_it_goes(size: int, angle: int) -> None:
    assert pixels.find_text(tilted({(60, 300): "LAT"}, size, angle)).boxes == ()
    drawn = tilted({(60, 300): "LUAT"}, size, angle)
    assert covered(drawn.shape, pixels.find_text(drawn).boxes)[drawn > 60].all()


def around(drawn: np.ndarray) -> Box:
    """A box as the network gives it around all that is drawn."""
    rows, columns = np.flatnonzero((drawn > 60).any(1)), np.flatnonzero((drawn > 60).any(0))
    return int(columns[0]) - 4, int(rows[0]) - 4, int(columns[-1]) + 5, int(rows[-1]) + 5


def test_a_short_word_is_told_from_a_mark_by_both_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    mark, name = (tilted({(200, 256): word}, 24, 13) for word in ("LAT", "LUAT"))
    assert not lead.is_short_word(mark, around(mark))
    assert lead.is_short_word(name, around(name))  # as many letters stand apart as are read
    plain = reader.read
    monkeypatch.setattr(
        reader,
        "read",
        lambda gray, box: plain(gray, box) if gray.shape != mark.shape else reader.Reading("luat", 0.5),
    )
    assert lead.is_short_mark(mark, around(mark))
    assert not lead.is_short_mark(name, around(name))
    assert not lead.is_short_word(mark, around(mark))  # four signs as it lies, a mark of the packs laid straight
    assert lead.is_short_word(name, around(name))


def test_a_line_is_a_mark_where_the_size_it_was_found_at_reads_one() -> None:
    half = np.asarray(placed({(30, 22): "ERECT"}, 22)[:100, :200], np.uint8)
    blank = np.full((200, 400), 20, np.uint8)
    x0, y0, x1, y1 = around(half)
    line = pixels._Line((2 * x0, 2 * y0, 2 * x1, 2 * y1), 0.9, 2 * (y1 - y0), level=1)
    assert pixels._is_known_mark([blank, half], line)
    assert not pixels._is_known_mark([blank, half], replace(line, level=0))
    assert not pixels._is_known_mark([blank, half], replace(line, height=y1 - y0))  # two lines that ran together


def test_two_marks_far_apart_do_not_keep_the_line_between_them() -> None:
    """Of large letters a fine size may know the first and the last only: L and A of LA SOLANA."""
    ends = [(10, 10, 40, 46), (300, 10, 330, 46)]
    assert not pixels._is_seen_mark((0, 0, 340, 60), ends, 0.25)
    assert pixels._is_seen_mark((0, 0, 60, 60), ends[:1], 0.25)
    assert not pixels._is_seen_mark((0, 0, 90, 60), ends[:1], 0.5)
    assert not pixels._is_seen_mark((0, 0, 60, 60), [], 0.25)


def test_a_doubtful_line_counts_where_signs_are_read_along_or_across_it() -> None:
    drawn, glyphs = written(np.full((200, 300), 20, np.uint8), ("DUPONT",), "DejaVuSans.ttf", 24, 235, None)
    rows, columns = np.flatnonzero(glyphs.any(1)), np.flatnonzero(glyphs.any(0))
    box = (int(columns[0]) - 3, int(rows[0]) - 3, int(columns[-1]) + 4, int(rows[-1]) + 4)
    doubtful = detector.Spot(box, 0.6, 0.1)
    assert pixels._checked(drawn, doubtful) == doubtful
    up = detector.Spot((box[1], 300 - box[2], box[3], 300 - box[0]), 0.6, 0.1)
    assert pixels._checked(np.rot90(drawn), up) == up
    down = detector.Spot((200 - box[3], box[0], 200 - box[1], box[2]), 0.6, 0.1)
    assert pixels._checked(np.rot90(drawn, 3), down) == down
    empty = detector.Spot((100, 100, 180, 130), 0.6, 0.1)
    assert pixels._checked(drawn, empty).text < pixels.DOUBT
    long = detector.Spot((0, 100, 300, 112), 0.6, 0.1)  # more than the reader takes: nothing is said against it
    assert pixels._checked(drawn, long) == long
    sure = detector.Spot((100, 100, 180, 130), 0.8, 0.1)
    assert pixels._checked(drawn, sure) == sure


BOXES = st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(1, 60), st.integers(1, 60)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(BOXES, max_size=12))
def test_merging_loses_no_pixel(boxes: list[tuple[int, int, int, int]]) -> None:
    merged = merge(Region(box, 0.5, "detector") for box in boxes)
    before, after = covered((160, 160), tuple(boxes)), covered((160, 160), tuple(r.box for r in merged))
    assert not (before & ~after).any()
    assert len(merged) <= len(boxes)


@given(BOXES)
def test_padding_holds_the_box_and_stays_in_the_image(box: tuple[int, int, int, int]) -> None:
    padded = pad(box, (150, 150), 12)
    assert hull(box, padded) == padded
    assert padded[0] >= 0
    assert padded[3] <= 150


EDGES = st.one_of(st.integers(-4000, 4000), st.sampled_from(["right", "bottom"]))


@given(st.tuples(EDGES, EDGES, EDGES, EDGES), st.integers(1, 3000), st.integers(1, 3000))
def test_boxes_of_templates_lie_in_the_image(fill: tuple[object, ...], rows: int, columns: int) -> None:
    template = Template.model_validate({"name": "x", "when": {}, "fill": [fill]})
    for x0, y0, x1, y1 in template.boxes(rows, columns):
        assert 0 <= x0 < x1 <= columns
        assert 0 <= y0 < y1 <= rows


def test_templates_follow_their_conditions(tmp_path: Path) -> None:
    own = tmp_path / "regions.yaml"
    own.write_text(
        "- name: corner\n  when: {manufacturer: esker, model: pano, modality: DX, rows: 240, columns: 200}\n"
        "  fill: [[0, 0, 50, 20], [-60, -30, right, bottom]]\n",
        encoding="utf-8",
    )
    assert len(templates(str(own))) == len(templates()) + 1
    assert regions_of(instance(), str(own)) == ("corner", ((0, 0, 50, 20), (140, 210, 200, 240)))
    assert regions_of(instance(with_device=device(manufacturer="Other")), str(own)) == ("", ())
    assert regions_of(instance(pixels=film((300, 200))), str(own)) == ("", ())


@pytest.mark.parametrize("text", ["- name: a\n  fil: []\n", "- name: a\n  when: {}\n  fill: []\n", "{", "- 3\n"])
def test_a_wrong_file_of_regions_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "regions.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"regions\.yaml"):
        templates(str(path))
    with pytest.raises(ConfigError, match="no such file"):
        templates(str(tmp_path / "absent.yaml"))
