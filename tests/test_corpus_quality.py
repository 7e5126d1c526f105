"""What is refused, what is flagged, and what counts as a copy."""

from __future__ import annotations

import csv

import cv2
import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from safe_factory import dicom_image, make_safe, save

from anonymize.console import Console
from anonymize.files import read_rows
from vlp.corpus.config import PrepareConfig
from vlp.corpus.decode import decode
from vlp.corpus.duplicates import ALIKE, groups, likeness, near_duplicates, perceptual_hash
from vlp.corpus.frame import working_image
from vlp.corpus.prepare import run_prepare
from vlp.corpus.quality import fault, flags, look
from vlp.corpus.window import spread
from vlp.phantom.config import PhantomConfig
from vlp.phantom.population import make_patient
from vlp.phantom.render import render


def films(anatomy: str, count: int) -> list[np.ndarray]:
    """Films of different patients of the synthetic hospital, 8 bits."""
    config = PhantomConfig(patients=200)
    found = []
    for number in range(200):
        patient = make_patient(config, number)
        if patient.anatomy == anatomy and len(found) < count:
            exam = patient.visits[0].exam
            found.append((spread(render(exam, exam.views[0], 320).pixels) >> 8).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def knees():
    return films("knee", 4)


def working(pixels):
    return working_image(pixels, None, 224)[0]


def page(ground: int, ink: int) -> np.ndarray:
    image = Image.new("L", (700, 1000), ground)
    font = ImageFont.truetype(matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf", 20)
    for line in range(28):
        words = " ".join(["Dose", "12.4 mGy", "kV 60", "total exposure"][: 1 + line % 4])
        ImageDraw.Draw(image).text((40, 30 + 32 * line), words, fill=ink, font=font)
    return np.asarray(image)


def screen() -> np.ndarray:
    pixels = np.full((800, 1280), 200, np.uint8)
    for n in range(12):
        y, x = 50 * n, 90 * n
        cv2.rectangle(pixels, (x, y), (x + 300, y + 150), 40 + 15 * n, -1)
        cv2.rectangle(pixels, (x, y), (x + 300, y + 150), 0, 1)
    return pixels


def test_good_films_pass(knees):
    for film in (*knees, *films("hand", 2), *films("chest", 2)):
        assert fault(look(working(film))) is None
        assert "saturated" not in flags(look(working(film)))


@pytest.mark.parametrize("size", [48, 224, 320])
@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("blank_image", lambda p: (118 + p / 64).astype(np.uint8)),
        ("noise_image", lambda p: np.random.default_rng(0).integers(0, 256, p.shape, dtype=np.uint8)),
        ("saturated_image", lambda p: np.clip(p * 1.0 + 215, 0, 255).astype(np.uint8)),
        ("missing_part", lambda p: np.concatenate([p[: len(p) // 2], np.full_like(p[len(p) // 2 :], 128)])),
        ("image_too_small", lambda p: p[:20]),
    ],
)
def test_spoilt_films_are_refused_by_name_at_any_working_size(knees, reason, spoil, size):
    for film in knees:
        bad = working_image(spoil(film), None, size, crop=False)[0]
        wrong = fault(look(bad))
        assert wrong is not None
        assert wrong[0] == reason
        assert wrong[1]


@pytest.mark.parametrize("pixels", [page(255, 0), page(10, 230), screen()], ids=["page", "dark_page", "screen"])
def test_pages_and_screens_are_no_radiographs(pixels):
    wrong = fault(look(working(pixels)))
    assert wrong is not None
    assert wrong[0] == "not_a_radiograph"


def test_what_is_only_doubtful_is_flagged(knees):
    low = (110 + working(knees[0]) * 0.07).astype(np.uint8)
    assert flags(look(low)) == ("low_contrast",)
    assert "extreme_aspect" in flags(look(working(knees[0])[:30]))
    half = np.concatenate([working(knees[0]), np.full((40, working(knees[0]).shape[1]), 128, np.uint8)])
    assert fault(look(half)) is None
    assert flags(look(half)) == ("partly_missing",)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_any_image_is_judged_without_an_error(height, width, seed, top):
    pixels = np.random.default_rng(seed).integers(0, top + 1, (height, width)).astype(np.uint8)
    wrong = fault(look(pixels))
    assert (wrong is not None) == bool(wrong and wrong[0])
    assert isinstance(flags(look(pixels)), tuple)


def jpeg(pixels):
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


def turned(pixels):
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 1, 1)
    return cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        turned,
        lambda p: cv2.resize(p, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
        lambda p: np.clip(p * 1.15, 0, 255).astype(np.uint8),
        lambda p: p.astype(np.uint16) * 257,
        lambda p: p[3:-3, 2:-2],
    ],
    ids=["jpeg", "turned", "smaller", "brighter", "16 bits", "cut"],
)
def test_a_copy_is_found_and_another_patient_is_not(knees, change):
    shown = [*map(working, knees), working(change(knees[1]))]
    near = near_duplicates([perceptual_hash(p) for p in shown], 40)
    assert (1, 4) in {(a, b) for a, b, _ in near}
    assert likeness(shown[1], shown[4]) >= ALIKE
    assert all(likeness(shown[a], shown[4]) < ALIKE for a in (0, 2, 3))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), flips=st.integers(0, 15))
def test_near_duplicates_below_16_bits_are_always_proposed(seed, flips):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (20, 256), dtype=np.uint8)
    copy = bits[3].copy()
    copy[rng.choice(256, flips, replace=False)] ^= 1
    hashes = [np.packbits(b).tobytes().hex() for b in (*bits, copy)]
    assert near_duplicates(hashes, 28) == [(3, 20, flips)]


def test_near_duplicates_at_the_limit_are_seldom_missed():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (200, 256), dtype=np.uint8)
    copies = bits.copy()
    for row in copies:
        row[rng.choice(256, 40, replace=False)] ^= 1
    found = near_duplicates([np.packbits(b).tobytes().hex() for b in (*bits, *copies)], 40)
    assert len(found) >= 0.95 * 200
    assert {(a, b - 200, d) for a, b, d in found} <= {(n, n, 40) for n in range(200)}


def test_groups_connect_through_others():
    assert groups(6, [(4, 2), (5, 4), (0, 1)]) == [0, 0, 2, 3, 2, 2]


def test_flags_and_refusals_reach_table_summary_and_quarantine(tmp_path):
    safe, images, _ = make_safe(tmp_path / "safe")
    at = [safe / "images" / row["path"] for row in images]
    noise = dicom_image(1)
    noise.PixelData = np.random.default_rng(0).integers(0, 4096, (80, 60)).astype(np.uint16).tobytes()
    save(noise, at[0])
    flat = dicom_image(2)
    pixels = np.frombuffer(flat.PixelData, np.uint16).reshape(80, 60).copy()
    pixels[:20] = 2000
    flat.PixelData = pixels.tobytes()
    save(flat, at[1])
    config = PrepareConfig(size=80, workers=1)
    summary = run_prepare(config, safe, tmp_path / "corpus", Console("quiet"))
    assert summary["refused_images"] == {"noise_image": 1}
    assert summary["flags"] == {"partly_missing": 1}
    rows = {row["image_id"]: row for row in read_rows(tmp_path / "corpus" / "decoded")}
    assert rows["I001"]["flags"] == "partly_missing"
    assert rows["I002"]["flags"] == ""


@pytest.mark.shared
def test_no_real_radiograph_is_refused(shared):
    folder = shared / "data" / "xray_open"
    if not folder.is_dir():
        pytest.skip("the open radiographs are not here")
    with (folder / "metadata.csv").open(encoding="utf-8") as stream:
        names = [row["image"] for row in csv.DictReader(stream)][::6]
    wrong = {name: why for name in names if (why := fault(look(working(decode(folder / name).pixels))))}
    assert not wrong
