"""Radiographs with text drawn on them, for the training of the text detector (scripts/train_text_detector.py).

A crop is a piece of a film at a random scale; on it stand lines of text (class text), side and view marks of up to three
characters (class mark), and things that only look like text: ticks, screws, chains, grids, letters' frames.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from text_distract import distract
from text_grounds import Box, Gray, Ground
from text_ink import Writer, line_of, short_line_of

STRIDE = 4  # px of a crop a cell of the targets
LEAST, MOST = 6.0, 30.0  # px: heights of capitals that the detector must find at its own scale
_MARKS = ("R", "L", "D", "G", "AP", "PA", "RT", "LT", "LAT", "OBL", "P", "F", "DT", "3", "12", "R1", "L2", "10", "5")  # fmt: skip


@dataclass
class _Sheet:
    """A crop in the making: what is drawn, where nothing more may be drawn, and what the network is asked of it."""

    canvas: npt.NDArray[np.float32]  # [S, S] in 0-255
    taken: npt.NDArray[np.bool_]
    target: npt.NDArray[np.float32]  # [2, S/4, S/4]
    weight: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Crop:
    """One training example: gray [S, S]; target [2, S/4, S/4] (text, mark) and weight of the same shape, float32."""

    gray: Gray
    target: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


class CropMaker:
    """Makes training crops of ``side`` pixels from films; everything random comes from the generator given."""

    def __init__(self, grounds: Sequence[Ground], writer: Writer, side: int = 192) -> None:
        self.grounds, self.writer, self.side = list(grounds), writer, side
        self.trapping = [ground for ground in self.grounds if ground.traps]

    def make(self, rng: np.random.Generator, ground: Ground | None = None) -> Crop:
        """One crop, of ``ground`` or of a random film."""
        pool = self.trapping if self.trapping and rng.random() < 0.4 else self.grounds
        chosen = pool[int(rng.integers(len(pool)))] if ground is None else ground
        gray, marks = _piece(chosen, self.side, rng)
        cells = self.side // STRIDE
        shape = (2, cells, cells)
        sheet = _Sheet(
            gray.astype(np.float32), np.zeros(gray.shape, bool), np.zeros(shape, np.float32), np.ones(shape, np.float32)
        )
        if not chosen.complete:
            sheet.weight[1] = 0.0
        for box in marks:
            if min(box[2] - box[0], box[3] - box[1]) < 0.5 * LEAST:  # too small to be seen; text it is not
                sheet.weight[1] *= 1 - _cells(box, cells, 4)
            else:
                _label(sheet, box, 1, shrink=0.3)
            _take(sheet.taken, box, 4)
        if rng.random() < 0.35:
            distract(sheet.canvas, sheet.taken, rng)
        if rng.random() < 0.40:
            for _ in range(int(rng.integers(1, 3))):
                self._marks(sheet, rng)
        if rng.random() < 0.70:
            self._block(sheet, rng)
        return Crop(_finished(sheet.canvas, rng), sheet.target, sheet.weight)

    def _block(self, sheet: _Sheet, rng: np.random.Generator) -> None:
        """Lines one under another, or a short one alone; a line that leaves the crop counts as text as far as it is seen."""
        capital = float(np.exp(rng.uniform(np.log(LEAST), np.log(1.5 * MOST))))
        x, y = rng.uniform(-0.3, 0.6) * self.side, rng.uniform(-0.02, 0.85) * self.side
        look = _Look.of(rng)
        upright = rng.random() > 0.06
        alone = rng.random() < 0.3  # a short line by itself is the hardest to tell from a mark
        for _ in range(1 if alone else int(rng.integers(1, 6))):
            ink = self.writer.draw(short_line_of(rng) if alone else line_of(rng), capital, rng)
            part = ink.coverage if upright else np.ascontiguousarray(np.rot90(ink.coverage))
            if upright and rng.random() < 0.15:
                part = _turned(part, rng.normal(0, 2))
            box = (int(x), int(y), int(x) + part.shape[1], int(y) + part.shape[0])
            if _overlaps(sheet.taken, box) or _paint(sheet.canvas, part, box, look, rng) is None:
                break
            _take(sheet.taken, box, 2)
            if capital <= MOST:
                _label(sheet, box, 0, shrink=0.2)
            else:
                _ignore(sheet.weight, box)
            step = rng.uniform(1.35, 2.2) * capital
            x, y = (x, y + part.shape[0] - 0.72 * capital + step) if upright else (x + part.shape[1] + 0.6 * step, y)
            if y > self.side or x > self.side:
                break

    def _marks(self, sheet: _Sheet, rng: np.random.Generator) -> None:
        """A mark, or two of one height as near to each other as lead letters are laid (LAT over R)."""
        capital, look = float(np.exp(rng.uniform(np.log(6), np.log(60)))), _Look.of(rng)
        first = self._mark(sheet, capital, look, None, rng)
        if first is not None and rng.random() < 0.35:
            away, along = rng.uniform(0.6, 3.0) * capital, rng.uniform(-1.0, 1.0) * capital
            below = (first[0] + along, first[3] + away)
            beside = (first[2] + away, first[1] + 0.3 * along)
            self._mark(sheet, capital, look, below if rng.random() < 0.6 else beside, rng)

    def _mark(
        self, sheet: _Sheet, capital: float, look: _Look, place: tuple[float, float] | None, rng: np.random.Generator
    ) -> tuple[int, int, int, int] | None:
        """A side or view mark of up to three characters, turned, mirrored or framed as lead letters are.

        Its upper left corner lies at ``place``, or anywhere with free ground around it. Returns its box, if it was drawn.
        """
        text = str(rng.choice(_MARKS))
        if place is None and rng.random() < 0.25:
            letters = list(string.ascii_uppercase + string.digits)
            text = "".join(rng.choice(letters, int(rng.integers(1, 4))))
        part = self.writer.draw(text, capital, rng).coverage
        if rng.random() < 0.1:
            part = part[:, ::-1]
        if rng.random() < 0.5:
            part = _turned(part, rng.normal(0, 6) + (float(rng.choice([90, -90, 180])) if rng.random() < 0.15 else 0))
        h, w = part.shape
        if max(h, w) >= self.side:
            return None
        x, y = place or (rng.uniform(-2, self.side - w), rng.uniform(-2, self.side - h))
        box = (int(x), int(y), int(x) + w, int(y) + h)
        around = (box[0] - h, box[1] - h // 2, box[2] + h, box[3] + h // 2) if place is None else box
        if _overlaps(sheet.taken, around) or _paint(sheet.canvas, np.ascontiguousarray(part), box, look, rng) is None:
            return None
        if place is None and rng.random() < 0.15:
            radius = int(0.75 * max(h, w)) + 2
            middle = (box[0] + w // 2, box[1] + h // 2)
            cv2.circle(sheet.canvas, middle, radius, float(rng.uniform(150, 255)), max(1, h // 10))
        _take(sheet.taken, box, h // 2)
        if capital <= MOST:
            _label(sheet, box, 1, shrink=0.2)
        else:
            sheet.weight[1] *= 1 - _cells(
                box, sheet.weight.shape[1], 0
            )  # larger than what is asked: only "no text" counts
        return box


@dataclass(frozen=True)
class _Look:
    """How lines of a block are painted: ink (0-255 or -1 for what contrasts), strength, rim and box behind."""

    ink: float
    alpha: float
    rim: bool
    boxed: bool

    @staticmethod
    def of(rng: np.random.Generator) -> _Look:
        ink = float(rng.choice([255.0, 255.0, 0.0, 90.0, 140.0, -1.0, float(rng.uniform(60, 255))]))
        return _Look(
            ink, 1.0 if rng.random() < 0.85 else rng.uniform(0.7, 1.0), rng.random() < 0.2, rng.random() < 0.12
        )


def _paint(
    canvas: npt.NDArray[np.float32],
    part: npt.NDArray[np.float32],
    box: tuple[int, int, int, int],
    look: _Look,
    rng: np.random.Generator,
) -> float | None:
    """Draw coverage ``part`` at ``box``; None where it would not be seen."""
    height, width = canvas.shape
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    seen = part[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
    if seen.shape != (y1 - y0, x1 - x0) or seen.max() < 0.3:
        return None
    under = canvas[y0:y1, x0:x1]
    ground, spread = float(np.median(under)), float(under.std())
    ink = look.ink
    if look.boxed:
        ground, spread = (0.0, 0.0) if ink >= 90 or ink < 0 else (255.0, 0.0)
        canvas[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = ground
    least = max(30.0, 1.5 * spread)
    if ink < 0 or abs(ink - ground) < least:
        ink = 255.0 if ground < 128 else 0.0
        if abs(ink - ground) < least:
            return None
    under = canvas[y0:y1, x0:x1]
    if look.rim:
        rim = cv2.dilate(seen, np.ones((3, 3), np.uint8))
        under[:] = under * (1 - rim) + (0.0 if ink > ground else 255.0) * rim
    under[:] = under * (1 - look.alpha * seen) + ink * look.alpha * seen
    return ink


def _piece(ground: Ground, side: int, rng: np.random.Generator) -> tuple[Gray, list[Box]]:
    """A square piece at a random scale with another tone, sometimes with a black or white border; and its marks.

    A film with traps is mostly shown at one of them, at about the scale at which it was taken for text.
    """
    gray = ground.gray
    trap = ground.traps[int(rng.integers(len(ground.traps)))] if ground.traps and rng.random() < 0.8 else None
    if trap is None:
        scale = float(np.exp(rng.uniform(np.log(0.25), np.log(1.7))))
    else:
        scale = trap[2] * float(np.exp(rng.uniform(np.log(0.85), np.log(1.2))))
    scale = max(scale, 0.25 * side / min(gray.shape))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=how)
    fill = float(rng.choice([0.0, 255.0, float(np.median(image[0]))]))
    edge = int(rng.integers(0, side // 2)) if rng.random() < 0.4 or min(image.shape) < side else 0
    edge = max(edge, (side - min(image.shape) + 1) // 2 + 1 if min(image.shape) < side else edge)
    if edge:
        image = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(fill,))
    y = int(rng.integers(0, image.shape[0] - side + 1))
    x = int(rng.integers(0, image.shape[1] - side + 1))
    if trap is not None:
        x, y = (
            int(min(max(0.0, v * scale + edge - rng.uniform(0.2, 0.8) * side), size - side))
            for v, size in zip(trap[:2], image.shape[::-1], strict=True)
        )
    piece = np.ascontiguousarray(image[y : y + side, x : x + side])
    marks = [tuple(v * scale + edge - o for v, o in zip(box, (x, y, x, y), strict=True)) for box in ground.marks]
    marks = [box for box in marks if box[2] > 0 and box[3] > 0 and box[0] < side and box[1] < side]
    if rng.random() < 0.5 and not marks:
        piece = np.ascontiguousarray(np.rot90(piece, int(rng.integers(4))))
    tone = np.arange(256, dtype=np.float32) / 255
    tone = tone ** float(np.exp(rng.normal(0, 0.35)))
    low, high = rng.uniform(0, 0.15), rng.uniform(0.6, 1.0)
    tone = low + tone * (high - low) if rng.random() < 0.6 else tone
    tone = 1 - tone if rng.random() < 0.25 else tone
    return cv2.LUT(piece, (tone * 255).clip(0, 255).astype(np.uint8)), [tuple(map(float, b)) for b in marks]  # pyright: ignore


def _finished(canvas: npt.NDArray[np.float32], rng: np.random.Generator) -> Gray:
    """Blur, noise and JPEG as films go through them after the console has written."""
    if rng.random() < 0.25:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 0.9))
    if rng.random() < 0.4:
        canvas = canvas + rng.normal(0, rng.uniform(0.5, 6), canvas.shape)
    gray = canvas.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        _, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))])
        gray = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return gray.astype(np.uint8)


def _turned(part: npt.NDArray[np.float32], degrees: float) -> npt.NDArray[np.float32]:
    h, w = part.shape
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0)
    c, s = abs(turn[0, 0]), abs(turn[0, 1])
    size = (int(h * s + w * c) + 2, int(h * c + w * s) + 2)
    turn[:, 2] += (size[0] - w) / 2, (size[1] - h) / 2
    return cv2.warpAffine(part, turn, size, flags=cv2.INTER_LINEAR)


def _cells(box: Sequence[float], cells: int, grow: float) -> npt.NDArray[np.float32]:
    """1 in the cells whose centre lies in ``box`` grown by ``grow`` px; at least one row and column of cells."""
    made = np.zeros((cells, cells), np.float32)
    x0, y0, x1, y1 = (v / STRIDE for v in (box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow))
    a, b = round(y0), max(round(y1), round(y0) + 1)
    c, d = round(x0), max(round(x1), round(x0) + 1)
    made[max(0, a) : max(0, b), max(0, c) : max(0, d)] = 1.0
    return made


def _label(sheet: _Sheet, box: Sequence[float], kind: int, shrink: float) -> None:
    """The core of a box is 1 in channel ``kind``; around it nothing is asked of that channel."""
    short = min(box[2] - box[0], box[3] - box[1])
    core = _cells(box, sheet.target.shape[1], -shrink * short)
    around = _cells(box, sheet.target.shape[1], 0.1 * short + 2)
    sheet.target[kind] = np.maximum(sheet.target[kind], core)
    unasked = (around > 0) & (sheet.target[kind] == 0)
    sheet.weight[kind] = np.where(core > 0, 1.0, np.where(unasked, 0.0, sheet.weight[kind]))


def _ignore(weight: npt.NDArray[np.float32], box: Sequence[float]) -> None:
    weight *= 1 - _cells(box, weight.shape[1], 4)[None]


def _take(taken: npt.NDArray[np.bool_], box: Sequence[float], around: int) -> None:
    x0, y0, x1, y1 = (int(v) for v in box)
    taken[max(0, y0 - around) : max(0, y1 + around), max(0, x0 - around) : max(0, x1 + around)] = True


def _overlaps(taken: npt.NDArray[np.bool_], box: Sequence[float]) -> bool:
    x0, y0, x1, y1 = (int(v) for v in box)
    return bool(taken[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)].any())
