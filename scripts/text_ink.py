"""Made-up lines of text and how they are drawn, for scripts/text_films.py and scripts/train_mark_reader.py."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX)
_ACCENTED = "ÉÈÀÇÊËÎÏÔÖÙÜéèàçêëîïôöùü"


@dataclass(frozen=True)
class Ink:
    """A drawn string as coverage [h, w] in 0-1, cropped to the ink, and the height of its capitals in pixels."""

    coverage: npt.NDArray[np.float32]
    capital: float


def training_fonts(folder: Path | None) -> list[str]:
    """DejaVu of matplotlib, and every font below ``folder``; STIX and Computer Modern are held out for measuring."""
    own = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf"))
    found = [p for p in own if "Display" not in p.name]
    if folder is not None:
        found += sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".ttf", ".otf"))
    return [str(path) for path in found]


def line_of(rng: np.random.Generator) -> str:
    """A made-up line of four characters and more: names of syllables, dates, identifiers, times, labels with values."""
    kind = int(rng.integers(7))
    if kind <= 1:
        return " ".join(_word(rng) for _ in range(int(rng.integers(1, 4))))
    digits = "".join(rng.choice(list(string.digits), int(rng.integers(4, 12))))
    if kind == 2:
        mark = str(rng.choice(list("/-. ")))
        return mark.join((f"{rng.integers(1, 32):02d}", f"{rng.integers(1, 13):02d}", f"{rng.integers(1900, 2030)}"))
    if kind == 3:
        return str(rng.choice(["", "", "ID ", "N ", "No: "])) + digits
    if kind == 4:
        return f"{_word(rng)[:6]}: {digits[:8]} {rng.choice(['', 'M', 'F', '45 a'])!s}".strip()
    if kind == 5:
        return f"{_word(rng)} {rng.integers(0, 24):02d}:{rng.integers(0, 60):02d} {digits[:4]}"
    letters = list(string.ascii_uppercase + string.digits + "-/.")
    return "X" + "".join(rng.choice(letters, int(rng.integers(3, 14))))


def short_line_of(rng: np.random.Generator) -> str:
    """A made-up line of four to six characters: a short name, an initial and a name, digits, a day and a month."""
    kind = int(rng.integers(4))
    if kind == 0:
        return "".join(rng.choice(list(string.digits), int(rng.integers(4, 7))))
    if kind == 1:
        return f"{rng.integers(1, 32):02d}{rng.choice(list('/-.:'))}{rng.integers(1, 13):02d}"
    word = _word(rng)
    initial = f"{rng.choice(list(string.ascii_uppercase))}{rng.choice(['', '.'])} {word[:3]}"
    return word[: int(rng.integers(4, 6))] if kind == 2 else initial


def _word(rng: np.random.Generator) -> str:
    vowels, consonants = "AEIOUY", "BCDFGHJKLMNPQRSTVZ"
    made = "".join(
        str(rng.choice(list(consonants))) + str(rng.choice(list(vowels if rng.random() < 0.85 else _ACCENTED)))
        for _ in range(int(rng.integers(2, 5)))
    )
    made += str(rng.choice(list(consonants))) if rng.random() < 0.5 else ""
    made = made.replace(made[2], "-", 1) if rng.random() < 0.05 and len(made) > 6 else made
    how = rng.random()
    return made.upper() if how < 0.6 else made.capitalize() if how < 0.9 else made.lower()


class Writer:
    """Draws strings in the training fonts."""

    def __init__(self, fonts: Sequence[str]) -> None:
        self.fonts = list(fonts)
        self._made: dict[tuple[str, int], ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}

    def draw(self, text: str, capital: float, rng: np.random.Generator) -> Ink:
        """``text`` with capitals ``capital`` px high in a random font, smooth or stepped edges."""
        how = rng.random()
        if how < 0.22:
            return _hershey(text, capital, rng)
        name = "" if how < 0.32 else str(rng.choice(self.fonts))  # "" is Pillow's own font
        size = max(6, round(capital * (1.38 if name else 1.35)))
        font = self._font(name, size)
        left, top, right, bottom = font.getbbox(text)
        image = Image.new("L", (max(1, int(right - left) + 4), max(1, int(bottom - top) + 4)), 0)
        pen = ImageDraw.Draw(image)
        if rng.random() < 0.25:
            pen.fontmode = "1"
        pen.text((2 - left, 2 - top), text, font=font, fill=255)
        return _cropped(np.asarray(image, np.float32) / 255.0, capital)

    def _font(self, name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        if (name, size) not in self._made:
            made = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
            self._made[name, size] = made
        return self._made[name, size]


def _hershey(text: str, capital: float, rng: np.random.Generator) -> Ink:
    face = int(rng.choice(_HERSHEY))
    text = "".join(c for c in text if c.isascii())
    thickness = max(1, round(capital / 10 * rng.uniform(0.6, 1.6)))
    scale = cv2.getFontScaleFromHeight(face, max(5, round(capital)), thickness)
    (width, height), base = cv2.getTextSize(text, face, scale, thickness)
    canvas = np.zeros((height + base + 2 * thickness + 6, width + 2 * thickness + 6), np.uint8)
    smooth = cv2.LINE_AA if rng.random() < 0.6 else cv2.LINE_8
    cv2.putText(canvas, text, (3 + thickness, height + 2 + thickness), face, scale, 255, thickness, smooth)
    return _cropped(canvas.astype(np.float32) / 255.0, capital)


def _cropped(coverage: npt.NDArray[np.float32], capital: float) -> Ink:
    rows, columns = np.flatnonzero(coverage.max(1) > 0.1), np.flatnonzero(coverage.max(0) > 0.1)
    if not len(rows):
        return Ink(np.ones((1, 1), np.float32), capital)
    return Ink(coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], capital)
