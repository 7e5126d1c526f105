"""Text burned into pixels: how much is hidden, how many clean films are touched, what it costs.

    python benchmarks/burned_in.py --real ../shared/data --fonts FONTS --sheet SHEETS [--quick] [--json]

French names, dates and identifiers are drawn on phantom films and on real radiographs (``xray_open`` and ``dicom`` below
``--real``; skipped where absent): white on the film, grey 90 on black, black and grey 140 on white, letters of 14 to
48 px. A text counts as hidden where every pixel of its glyphs lies in a fill (white on white cannot be seen and does not count:
a glyph's pixel must change the film by 16 levels). Clean films are the same ones without
drawn text; real ones can bear text of their own, so that ``--sheet`` shows each fill. Fonts are STIX, Computer Modern
and two Hershey faces (never trained on), and all below ``--fonts`` (give fonts that were not used for training).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageDraw, ImageFont

from anonymize.console import Console
from anonymize.dicom import pixels
from anonymize.dicom.frames import stored_frame
from anonymize.files import read_rows
from vlp.phantom.config import PhantomConfig
from vlp.phantom.export import run_phantom

Gray = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
SETTINGS = {
    "white": (255, None),
    "grey 90 on black": (90, 0),
    "black on white": (0, 255),
    "grey 140 on white": (140, 255),
}
SIZES = (14, 16, 18, 22, 26, 32, 40, 48)  # px of the font
SURNAMES = (
    "DUPONT",
    "LEFÈVRE",
    "MARTIN-GARNIER",
    "Le Goff",
    "BENALI",
    "Nguyen",
    "D'ARCY",
    "ROUSSEAU",
    "Müller",
    "PETIT",
)
GIVEN = ("Zoé", "JEAN-PAUL", "François", "Fatima", "MARIE", "Éloïse", "Karim", "ANNE", "Lucie", "THEO")
FACES = (cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


@dataclass
class Tally:
    """Counts of one kind of film."""

    texts: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    touched: list[str] = field(default_factory=list)
    marks: int = 0
    marks_touched: int = 0
    quiet: int = 0  # clean films that the gate ends
    quiet_with_text: int = 0
    searched: list[float] = field(default_factory=list)
    gated_ms: list[float] = field(default_factory=list)
    full_ms: list[float] = field(default_factory=list)
    megapixels: list[float] = field(default_factory=list)


def main() -> None:
    """Run, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--fonts", type=Path)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--every", type=int, default=1, help="take one real film of so many")
    parser.add_argument("--ocr", action="store_true", help="with the extra dicom-ocr")
    parser.add_argument("--sheet", type=Path, help="a folder for PNG sheets of touched clean films and of missed texts")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.patients, options.every = 8, 40
    cv2.setNumThreads(1)
    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        out["phantom"] = measure(phantom_films(Path(folder), options), options, "phantom")
    if options.real is None or not (options.real / "xray_open" / "metadata.csv").is_file():
        out["real"] = {"skipped": "no shared data: give --real FOLDER that holds xray_open and dicom"}
    else:
        out["real"] = measure(real_films(options.real, options.every), options, "real")
    print(json.dumps(out, indent=None if options.json else 1, ensure_ascii=False))
    sys.exit(0)


def phantom_films(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Gray, list[Box]]]:
    """Clean films of the phantom, easy and hard, with the boxes of their lead marks."""
    for level in ("easy", "hard"):
        config = PhantomConfig(
            patients=options.patients // 2,
            size=options.size,
            seed=options.seed,
            level=level,
            burned_in_share=0,
            workers=1,
        )
        run_phantom(config, folder / level, Console("quiet"))
        marks: dict[str, list[Box]] = {}
        for row in read_rows(folder / level / "truth" / "objects.parquet"):
            if row["name"] == "marker":
                marks.setdefault(row["image_id"], []).append((row["x0"], row["y0"], row["x1"], row["y1"]))
        for row in read_rows(folder / level / "truth" / "images.parquet"):
            frame = stored_frame(pydicom.dcmread(folder / level / "export" / "dicom" / row["path"]))[0]
            yield f"{level} {row['image_id']}", gray_of(frame), marks.get(row["image_id"], [])


def real_films(folder: Path, every: int) -> Iterator[tuple[str, Gray, list[Box]]]:
    """Real radiographs, small ones twice or four times as large; their marks are not known."""
    with (folder / "xray_open" / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["image"] for row in csv.DictReader(stream)]
    for name in names[::every]:
        gray = np.asarray(cv2.imread(str(folder / "xray_open" / name), cv2.IMREAD_GRAYSCALE), np.uint8)
        while max(gray.shape) < 300:
            gray = np.asarray(cv2.resize(gray, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
        yield name, gray, []
    for path in sorted((folder / "dicom").glob("*.dcm"))[:: 1 if every == 1 else 4]:
        try:
            frame = stored_frame(pydicom.dcmread(path))[0]
        except Exception:
            continue
        if frame.ndim == 2:
            yield path.name, gray_of(frame), []


def gray_of(frame: npt.NDArray[Any]) -> Gray:
    """8 bits over the frame's own range."""
    image = frame.astype(np.float32)
    return ((image - image.min()) * (255 / max(1.0, float(np.ptp(image))))).round().astype(np.uint8)


def measure(films: Iterator[tuple[str, Gray, list[Box]]], options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Search every film clean, and once in each setting with text of a size that follows its number."""
    tally, fonts = Tally(), fonts_of(options.fonts)
    find = find_by(options.ocr)
    sheet: list[Gray] = []
    missed: list[Gray] = []
    for number, (name, gray, marks) in enumerate(films):
        clean_film(tally, name, gray, marks, find, sheet)
        for index, setting in enumerate(SETTINGS):
            rng = np.random.default_rng((options.seed, number, index))
            size = SIZES[(number + 3 * index) % len(SIZES)]
            drawn, glyphs = with_text(gray, setting, size, fonts, rng)
            finding = find(drawn, True)
            covered = np.zeros(gray.shape, bool)
            for x0, y0, x1, y1 in finding.boxes:
                covered[y0:y1, x0:x1] = True
            tally.quiet_with_text += not finding.searched
            for inked in glyphs:
                tally.texts[setting] += 1
                tally.hidden[setting] += bool(covered[inked].all())
            if not all(covered[inked].all() for inked in glyphs):
                missed.append(shown(drawn, finding, f"{name} {size}px"))
    if options.sheet:
        write_sheet(options.sheet / f"{kind}-touched.png", sheet)
        write_sheet(options.sheet / f"{kind}-missed.png", missed)
    return summary(tally)


def find_by(with_ocr: bool) -> Any:
    """``find(gray, gated)``: the plain search, or the one with OCR."""
    if not with_ocr:
        return lambda gray, gated: pixels.find_text(gray, gated=gated)
    from anonymize.dicom import ocr

    return lambda gray, gated: ocr.find_text(gray, gated=gated)


def clean_film(tally: Tally, name: str, gray: Gray, marks: list[Box], find: Any, sheet: list[Gray]) -> None:
    """Count a film without drawn text."""
    began = time.process_time()
    finding = find(gray, True)
    tally.gated_ms.append(1000 * (time.process_time() - began))
    if len(tally.gated_ms) % 8 == 1:
        began = time.process_time()
        find(gray, False)
        tally.full_ms.append(1000 * (time.process_time() - began))
    tally.megapixels.append(gray.size / 1e6)
    tally.clean += 1
    tally.quiet += not finding.searched
    tally.searched.append(finding.searched)
    tally.marks += len(marks)
    for mark in marks:
        tally.marks_touched += any(_meet(mark, box) for box in finding.boxes)
    if finding.boxes:
        tally.touched.append(name)
        sheet.append(shown(gray, finding, name))


def _meet(one: Box, other: tuple[int, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def fonts_of(folder: Path | None) -> list[str | int]:
    """Names of font files, and numbers of Hershey faces."""
    shipped = Path(matplotlib.get_data_path(), "fonts", "ttf")
    names = ["STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf"]
    found: list[str | int] = [str(shipped / name) for name in names]
    if folder is not None:
        found += sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in (".ttf", ".otf"))
    return found + list(FACES)


def line_of(rng: np.random.Generator, room: float) -> str:
    """A name, a date, an identifier or a mixture, of at most ``room`` characters."""
    name = f"{rng.choice(SURNAMES)} {rng.choice(GIVEN)}"
    date = f"{rng.integers(1, 29):02d}/{rng.integers(1, 13):02d}/{rng.integers(1930, 2026)}"
    number = str(rng.integers(10**6, 10**9))
    options = [name, date, f"IPP {number}", f"Né le {date}", f"{name} {date}", number, f"CHU {number[:4]} {date} 14:05"]
    fitting = [text for text in options if len(text) <= room] or [number[: max(4, int(room))]]
    return str(rng.choice(fitting))


def with_text(
    gray: Gray, setting: str, size: int, fonts: list[str | int], rng: np.random.Generator
) -> tuple[Gray, list[npt.NDArray[np.bool_]]]:
    """The film with one to four lines in a corner, and where the glyphs of each are."""
    ink, ground = SETTINGS[setting]
    image = gray.astype(np.float32)
    height, width = gray.shape
    font = fonts[int(rng.integers(len(fonts)))]
    size = min(size, max(10, height // 6), max(10, width // 5))
    texts = [line_of(rng, width / (0.68 * size)) for _ in range(int(rng.integers(1, 5)))]
    stamps = [stamp for text in texts if (stamp := coverage(text, font, size)).shape[1] < width - 6] or [
        coverage("1234567", FACES[0], 10)
    ]
    pitch = int(1.35 * size)
    stamps = stamps[: max(1, (height // 2) // pitch)]
    right, bottom = rng.random() < 0.5, rng.random() < 0.5
    margin = int(rng.integers(2, 12))
    wide = max(stamp.shape[1] for stamp in stamps)
    tall = sum(stamp.shape[0] + pitch - size for stamp in stamps)
    top = max(margin, height - margin - tall) if bottom else margin
    left = max(2, width - margin - wide) if right else min(margin, max(2, width - wide - 2))
    if ground is not None:  # the text's own ground: a strip over the whole width, or a box
        x0, x1 = (0, width) if rng.random() < 0.5 else (max(0, left - size), min(width, left + wide + size))
        y0, y1 = (max(0, top - size // 2), height) if bottom else (0, min(height, top + tall + size // 2))
        image[y0:y1, x0:x1] = ground
    glyphs = []
    for stamp in stamps:
        h, w = stamp.shape
        h = min(h, height - top)
        under, part = image[top : top + h, left : left + w], stamp[:h]
        value = ink if ground is not None or float(np.median(under)) < 200 else 0
        before = under.copy()
        under[:] = under * (1 - part) + value * part
        inked = np.zeros(gray.shape, bool)
        inked[top : top + h, left : left + w] = (part > 0.15) & (np.abs(under - before) >= 16)
        glyphs.append(inked)
        top += h + pitch - size
    return image.round().clip(0, 255).astype(np.uint8), glyphs


def coverage(text: str, font: str | int, size: int) -> npt.NDArray[np.float32]:
    """Ink of ``text`` in 0-1, [h, w], cropped."""
    if isinstance(font, int):
        plain = text.encode("ascii", "replace").decode()
        scale = cv2.getFontScaleFromHeight(font, max(6, round(0.72 * size)), 1)
        (w, h), base = cv2.getTextSize(plain, font, scale, 1)
        canvas = np.zeros((h + base + 6, w + 6), np.uint8)
        cv2.putText(canvas, plain, (3, h + 3), font, scale, 255, 1, cv2.LINE_AA)
    else:
        loaded = ImageFont.truetype(font, size)
        left, top, right, bottom = loaded.getbbox(text)
        page = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2), 0)
        ImageDraw.Draw(page).text((1 - left, 1 - top), text, font=loaded, fill=255)
        canvas = np.asarray(page)
    rows, columns = np.flatnonzero(canvas.max(1)), np.flatnonzero(canvas.max(0))
    cut = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut.astype(np.float32) / 255.0


def shown(gray: Gray, finding: pixels.Finding, title: str) -> Gray:
    """The film with its regions framed, 360 px wide."""
    rgb = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    for region in finding.regions:
        x0, y0, x1, y1 = region.box
        colour = (0, 200, 255) if region.doubtful else (0, 0, 255)
        cv2.rectangle(rgb, (x0, y0), (x1 - 1, y1 - 1), colour, max(1, gray.shape[1] // 300))
    tile = np.full((390, 360, 3), 60, np.uint8)
    scale = min(360 / rgb.shape[1], 370 / rgb.shape[0])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile[20 : 20 + small.shape[0], : small.shape[1]] = small[:370, :360]
    scores = " ".join(f"{region.score:.2f}" for region in finding.regions[:4])
    cv2.putText(tile, f"{title[-30:]} {scores}", (2, 13), cv2.FONT_HERSHEY_PLAIN, 0.9, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def write_sheet(path: Path, tiles: list[Gray], most: int = 60) -> None:
    """Tiles in rows of six."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if tiles:
        tiles = tiles[:most] + [np.zeros_like(tiles[0])] * (-len(tiles[:most]) % 6)
        rows = [np.hstack(tiles[at : at + 6]) for at in range(0, len(tiles), 6)]
        cv2.imwrite(str(path), np.vstack(rows))


def summary(tally: Tally) -> dict[str, Any]:
    """Shares and times of a tally."""
    texts, hidden = sum(tally.texts.values()), sum(tally.hidden.values())
    return {
        "films": tally.clean,
        "texts": texts,
        "hidden": round(hidden / max(1, texts), 5),
        "hidden_by_setting": {name: round(tally.hidden[name] / max(1, tally.texts[name]), 5) for name in SETTINGS},
        "clean_touched": round(len(tally.touched) / max(1, tally.clean), 5),
        "clean_touched_names": tally.touched[:80],
        "marks": tally.marks,
        "marks_touched": tally.marks_touched,
        "clean_ended_by_gate": round(tally.quiet / max(1, tally.clean), 4),
        "texts_films_ended_by_gate": tally.quiet_with_text,
        "share_searched": round(float(np.mean(tally.searched)), 4),
        "cpu_ms_gated": round(float(np.mean(tally.gated_ms)), 2),
        "cpu_ms_searched_whole": round(float(np.mean(tally.full_ms)), 2),
        "megapixels": round(float(np.mean(tally.megapixels)), 3),
    }


if __name__ == "__main__":
    main()
