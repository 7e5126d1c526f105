"""What ``vlp prepare`` refuses, flags and takes for copies, on real radiographs and on copies spoilt on purpose.

    python benchmarks/quality.py FOLDER --table metadata.csv [--films 200] [--json]

FOLDER holds real radiographs that the table's column ``image`` names; column ``part`` (source), ``patient_id``.

refused: of the real images, and of images made bad (pages of text, screens, noise, saturated, half missing).
copies: of planted copies (JPEG, halved, brightness, window, 16 bits with noise, cropped, turned, marked), the share found.
strangers: pairs of different patients of one part that are taken for copies; the pairs are listed, for a person to look at.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vlp.corpus.config import PrepareConfig
from vlp.corpus.decode import Undecodable, decode
from vlp.corpus.duplicates import ALIKE, likeness, near_duplicates, perceptual_hash
from vlp.corpus.frame import working_image
from vlp.corpus.quality import fault, flags, look

Pixels = npt.NDArray[Any]
FONT = matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf"
BITS = PrepareConfig().near_duplicate_bits
WIDE = 60


@dataclass(frozen=True)
class Film:
    name: str
    part: str
    patient: str
    stored: Pixels
    working: Pixels


def working(pixels: Pixels) -> Pixels:
    return working_image(pixels, None, 224)[0]


def films(folder: Path, table: Path) -> list[Film]:
    found = []
    with table.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            try:
                stored = decode(folder / row["image"]).pixels
            except Undecodable as error:
                print(f"{row['image']}: {error.reason}", file=sys.stderr)
                continue
            found.append(Film(row["image"], row["part"], row["patient_id"], stored, working(stored)))
    return found


def page(number: int, ground: int, ink: int, lines: int) -> Pixels:
    """A page of a dose report as a secondary capture."""
    rng = np.random.default_rng(number)
    size = 12 + 2 * (number % 8)
    image = Image.new("L", (700, 1000), ground)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, size)
    words = [
        "Dose",
        "Area",
        "Product",
        "mGy",
        "cm2",
        "kV",
        "mAs",
        "exposure",
        "total",
        "index",
        "12.4",
        "0.31",
        "DAP",
        "REPORT",
    ]
    for line in range(min(lines, 900 // (size * 3 // 2))):
        text = " ".join(rng.choice(words, int(rng.integers(1, 8))))
        draw.text((40, 30 + line * (size * 3 // 2)), text, fill=ink, font=font)
    return np.asarray(image)


def screen(number: int) -> Pixels:
    rng = np.random.default_rng(number)
    image = Image.new("L", (1280, 800), 200)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 18)
    for _ in range(14):
        x, y, w, h = (int(rng.integers(*r)) for r in ((0, 1000), (0, 650), (80, 500), (30, 250)))
        draw.rectangle([x, y, x + w, y + h], fill=int(rng.choice([30, 60, 120, 180, 220, 245])), outline=0)
        draw.text((x + 8, y + 8), "Patients Studies", fill=0, font=font)
    return np.asarray(image)


def made_bad(sample: list[Film]) -> dict[str, list[Pixels]]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (700, 600), dtype=np.uint8) for _ in range(40)]

    def each(change: Callable[[Pixels], Pixels]) -> list[Pixels]:
        return [change(f.working) for f in sample]

    def missing(pixels: Pixels) -> Pixels:
        return np.concatenate([pixels[: len(pixels) // 2], np.full_like(pixels[len(pixels) // 2 :], 128)])

    return {
        "page": [page(n, 255, 0, 40) for n in range(60)],
        "page_dark": [page(n, 10, 230, 40) for n in range(60)],
        "page_few_lines": [page(n, 255, 0, 6) for n in range(60)],
        "screen": [screen(n) for n in range(60)],
        "noise": noise,
        "noise_blurred": [cv2.GaussianBlur(n, (0, 0), 1) for n in noise],
        "nearly_only_noise": each(
            lambda p: np.clip(128 + (p - 128.0) * 0.05 + rng.normal(0, 40, p.shape), 0, 255).astype(np.uint8)
        ),
        "saturated_3": each(lambda p: np.clip(p * 3.0, 0, 255).astype(np.uint8)),
        "saturated_6": each(lambda p: np.clip(p * 6.0, 0, 255).astype(np.uint8)),
        "low_contrast": each(lambda p: (110 + p * 0.06 + rng.normal(0, 1.5, p.shape)).astype(np.uint8)),
        "half_missing": each(missing),
        "blank": each(lambda p: (118 + p / 64).astype(np.uint8)),
        "strip": each(lambda p: p[len(p) // 2 :][: max(26, len(p) // 9)]),
        "inverted": each(lambda p: 255 - p),
    }


def _turned(pixels: Pixels, degrees: float) -> Pixels:
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def _cut(pixels: Pixels, part: float) -> Pixels:
    height, width = (round(side * part / 2) for side in pixels.shape)
    return pixels[height : pixels.shape[0] - height, width : pixels.shape[1] - width]


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "jpeg_75": lambda p: _jpeg(p, 75),
    "jpeg_40": lambda p: _jpeg(p, 40),
    "halved": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda p: np.clip(p * 1.2, 0, 255).astype(np.uint8),
    "gamma_0.7": lambda p: (255 * (p / 255.0) ** 0.7).astype(np.uint8),
    "window": lambda p: np.clip((p - 25.0) * 1.25, 0, 255).astype(np.uint8),
    "16_bits": lambda p: np.clip(p * 257.0 + np.random.default_rng(0).integers(-128, 128, p.shape), 0, 65535).astype(
        np.uint16
    ),
    "cut_2_percent": lambda p: _cut(p, 0.02),
    "cut_5_percent": lambda p: _cut(p, 0.05),
    "cut_10_percent": lambda p: _cut(p, 0.10),
    "turned_1_degree": lambda p: _turned(p, 1),
    "turned_2_degrees": lambda p: _turned(p, 2),
    "marked": lambda p: cv2.putText(p.copy(), "G", (10, 40), 0, 1, 255, 3),
}


def copies_found(sample: list[Film]) -> dict[str, dict[str, float]]:
    out = {}
    for name, change in COPIES.items():
        copies = [working(change(f.stored)) for f in sample]
        hashes = [perceptual_hash(p) for f, copy in zip(sample, copies, strict=True) for p in (f.working, copy)]
        near = {a // 2 for a, b, _ in near_duplicates(hashes, BITS) if b == a + 1 and a % 2 == 0}
        alike = [likeness(sample[n].working, copies[n]) for n in sorted(near)]
        out[name] = {
            "by_hash": len(near) / len(sample),
            "found": sum(a >= ALIKE for a in alike) / len(sample),
            "least_likeness": round(min(alike, default=-1.0), 3),
        }
    return out


def strangers(found: list[Film]) -> dict[str, dict[str, Any]]:
    by_part: dict[str, list[Film]] = defaultdict(list)
    for film in found:
        by_part[film.part].append(film)
    out = {}
    for part, members in sorted(by_part.items()):
        if len({f.patient for f in members}) < 2:
            continue
        # wider than the preparation's proposals: how alike can strangers be?
        pairs = [
            (bits, members[a], members[b])
            for a, b, bits in near_duplicates([perceptual_hash(f.working) for f in members], WIDE)
            if members[a].patient != members[b].patient
        ]
        alike = [(bits, likeness(a.working, b.working), a.name, b.name) for bits, a, b in pairs]
        copies = [(a, b) for bits, how, a, b in alike if bits <= BITS and how >= ALIKE]
        others = [round(how, 3) for _, how, a, b in alike if (a, b) not in copies]
        out[part] = {
            "pairs": len(members) * (len(members) - 1) // 2,
            "by_hash": sum(bits <= BITS for bits, *_ in alike),
            "taken_for_copies": len(copies),
            "most_alike_of_the_others": sorted(others)[-3:],
            "which": copies,
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = films(args.folder, args.table or args.folder / "metadata.csv")
    chosen = np.random.default_rng(0).choice(len(found), min(args.films, len(found)), replace=False)
    sample = [found[i] for i in chosen]
    bad = {}
    for name, images in made_bad(sample).items():
        shown = [working(p) for p in images]
        reasons = [fault(look(p)) for p in shown]
        marked = [flags(look(p)) for p, reason in zip(shown, reasons, strict=True) if reason is None]
        bad[name] = {
            "n": len(shown),
            "refused": sum(r is not None for r in reasons) / len(shown),
            "refused_or_flagged": (sum(r is not None for r in reasons) + sum(map(bool, marked))) / len(shown),
            "reasons": dict(Counter(r[0] for r in reasons if r)),
        }
    real = [fault(look(f.working)) for f in found]
    result = {
        "real": {
            "n": len(found),
            "refused": dict(Counter(r[0] for r in real if r)),
            "flagged": dict(Counter(flag for f in found for flag in flags(look(f.working)))),
        },
        "made_bad": bad,
        "copies": {"n": len(sample), "bits": BITS, **copies_found(sample)},
        "strangers": strangers(found),
    }
    if args.json:
        print(json.dumps(result))
        return
    for title, rows in result.items():
        print(title)
        for name, row in rows.items():
            print(f"  {name:20} {row}")


if __name__ == "__main__":
    main()
