"""Text burned into pixels: find it, fill it, keep side marks.

A film passes a cheap gate (anonymize/dicom/gate.py); what may hold writing is searched by a small network
(anonymize/dicom/detector.py). Marks of up to three characters (R, L, AP) stay, and so do the longer ones of the language
packs (PORTABLE, EN CHARGE) where a small reader is sure of every letter (anonymize/dicom/reader.py). ``pixels: ocr``
adds a full OCR engine (anonymize/dicom/ocr.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.dicom import detector, gate, lead, reader
from anonymize.dicom.boxes import CHARACTER, Box, Region, hull, inside, merge, pad, scaled

Gray = npt.NDArray[np.uint8]

WORKING_SIDE = 2400  # px; larger films are searched at this size
SMALL_SIDE = 400  # px; smaller films are searched at twice their own size, where letters of 6 px come apart
SURE = 0.75  # score of text from which a fill is not doubtful
DOUBT = 0.5  # score of text below which nothing is done
_WEAK = 0.49  # score of what the network alone took for text, below DOUBT: taken only beside a sure line
MARK = 0.5  # score from which a place is a mark, where its score of text is at most
NO_TEXT = 0.3
# heights filled beyond both ends: white letters on a bright ground are found in part; marks so near a sure line go as well
_AHEAD = 2.0
_LEVELS = 3  # the size itself, a half, a quarter


@dataclass(frozen=True)
class Finding:
    """What a search of one frame found, in pixels of the frame."""

    regions: tuple[Region, ...]
    searched: float = 1.0  # share of the film that the gate let through to the network (the most of the scales)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Boxes of all regions, the doubtful ones as well."""
        return tuple(region.box for region in self.regions)


def find_text(frame: npt.NDArray[np.generic], *, gated: bool = True) -> Finding:
    """Search one frame, [H, W] or [H, W, 3] of any integer type, for lines of text, light on dark and dark on light.

    Args:
        gated: search only where the gate finds strokes; else everywhere (for films whose header announces text). Films
            below :data:`SMALL_SIDE` are always searched everywhere.
    """
    gray, scale = to_gray(frame)
    regions, searched = search(gray, gated=gated and scale <= 1)  # enlarging softens the strokes that the gate counts
    shape = frame.shape[:2]
    placed = [replace(region, box=scaled(region.box, scale, shape)) for region in regions]
    return Finding(tuple(merge(placed)), searched)


@dataclass(frozen=True)
class _Line:
    """A found line, not padded, in pixels of the working size, and how high its letters may be."""

    box: Box
    score: float
    height: float
    level: int = 0  # how often the film was halved where it was found
    mark: bool = False  # the network sees a mark of up to three letters here, taken only for the line it stands beside


def search(gray: Gray, *, gated: bool = True) -> tuple[list[Region], float]:
    """Padded regions in pixels of ``gray``, and the share of all searched sizes that the network saw."""
    found: list[_Line] = []
    marks: list[Box] = []
    seen = whole = 0
    images: list[Gray] = []
    for level in range(_LEVELS):
        scale = 0.5**level
        image = gray if not level else cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = np.asarray(image, np.uint8)
        images.append(image)
        height, width = image.shape
        if level and min(height, width) < 40:
            break
        parts = gate.crowded(image) if gated else [(0, 0, width, height)]
        seen += sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in parts)
        whole += image.size
        spots = [_judged(gray, image, spot, scale, marks) for spot in detector.search(image, parts)]
        short = [spot for spot in spots if spot.mark >= MARK and spot.text <= NO_TEXT]
        places = {spot.box for spot in short}
        found += [_line(spot, level, gray.shape, found, mark=spot.box in places) for spot in text_of(spots)]
        marks += [scaled(spot.box, scale, gray.shape) for spot in short if lead.is_short_mark(image, spot.box)]
    read = _known_marks(images, found, marks)
    regions = [
        Region(
            pad(line.box, gray.shape, line.height, _AHEAD if line.score >= SURE else CHARACTER),
            line.score,
            "detector",
            doubtful=line.score < SURE,
        )
        for line in found
        if not read[line.box[1] : line.box[3], line.box[0] : line.box[2]].mean() >= 0.8
    ]
    return regions, min(1.0, seen / whole)


def _judged(gray: Gray, image: Gray, spot: detector.Spot, scale: float, marks: list[Box]) -> detector.Spot:
    """A spot of ``image``, which is ``gray`` at the size ``scale``, with the word of the finer sizes and the reader on it."""
    box = scaled(spot.box, scale, gray.shape)
    if _is_seen_mark(box, marks, scale):
        return replace(spot, text=min(spot.text, _WEAK))
    checked = _checked(image, spot)
    if spot.text < SURE and checked.text >= DOUBT and lead.is_circled_mark(gray, box):
        return replace(spot, text=min(spot.text, _WEAK))
    return checked


def _is_seen_mark(box: Box, marks: list[Box], scale: float) -> bool:
    """Whether a place of the size ``scale`` is one or two marks that a finer size saw, and nothing else.

    Letters below 6 px look like a line of text; where a finer size saw them well, it has the last word. Letters larger
    than that size was made for fall into more pieces there, or into pieces that leave most of the line uncovered.
    """
    within = [mark for mark in marks if inside(mark, box, 0.5)]
    if not 1 <= len(within) <= 2:
        return False
    x0, y0, x1, y1 = reduce(hull, within)
    if (x1 - x0) * (y1 - y0) > 3 * sum((mark[2] - mark[0]) * (mark[3] - mark[1]) for mark in within):
        return False
    loose = 2.5 * detector.STRIDE / scale
    return x0 - box[0] <= loose and y0 - box[1] <= loose and box[2] - x1 <= loose and box[3] - y1 <= loose


def _checked(image: Gray, spot: detector.Spot) -> detector.Spot:
    """A spot with the reader's word on it, where the network's is not enough.

    A mark in which four signs or more are read is a short line of text (a name of four letters). A doubtful line in which
    fewer are read (a vertebra, screws) is no text by itself; beside a sure line it is still taken with it.
    """
    if spot.text >= DOUBT and spot.text >= spot.mark:
        if spot.text >= SURE or reader.is_too_long(spot.box) or reader.signs(image, spot.box, 0.0) >= lead.SHORTEST:
            return spot
        return replace(spot, text=_WEAK)
    if spot.mark >= MARK and lead.is_short_word(image, spot.box):
        return replace(spot, text=spot.mark, mark=0.0)
    return spot


def _known_marks(images: list[Gray], found: list[_Line], marks: list[Box]) -> npt.NDArray[np.bool_]:
    """Where marks of the language packs stand, [H, W]: only those whose block holds nothing but marks.

    A block that some size saw as one line counts by its lines, as another size saw them.
    """
    shape = images[0].shape
    known = [line for line in found if _is_known_mark(images, line)]
    beside = [line for line in found if line.mark and line not in known and _is_seen_mark(line.box, marks, 1.0)]
    kept = known + beside
    others = [line for line in found if line not in kept and not any(inside(mark.box, line.box, 0.5) for mark in kept)]
    while True:
        left = [line for line in kept if not any(_holds(other, line, line in beside) for other in others)]
        if len(left) == len(kept):
            break
        kept, others = left, others + [line for line in kept if line not in left]
    covered = np.zeros(shape, bool)
    for line in kept:
        x0, y0, x1, y1 = line.box if line in beside else pad(line.box, shape, line.height)
        covered[y0:y1, x0:x1] = True
    return covered


def _line(spot: detector.Spot, level: int, shape: tuple[int, ...], finer: list[_Line], *, mark: bool = False) -> _Line:
    """A spot of a scaled image in pixels of the image.

    Lines of a block can run together, at a coarse size above all; then the letters are as high as the network's largest,
    or as the finer sizes say, and not as high as the block.
    """
    scale = 0.5**level
    box = scaled(spot.box, scale, shape)
    height = min(box[3] - box[1], box[2] - box[0], detector.HIGHEST / scale)
    within = [line.height for line in finer if inside(line.box, box, 0.5)]
    height = min(height, float(np.median(within))) if within else height
    return _Line(box, spot.text, height, level, mark)


def _neighbours(line: _Line, other: _Line) -> bool:
    """Whether ``other`` is another line that stands beside, above or below, so that both belong to one block."""
    if inside(line.box, other.box, 0.5) or inside(other.box, line.box, 0.5):
        return False  # the same line at another size
    across = max(line.box[0] - other.box[2], other.box[0] - line.box[2])
    apart = max(line.box[1] - other.box[3], other.box[1] - line.box[3])
    return max(across, apart) <= 1.5 * max(line.height, other.height)


def _holds(other: _Line, line: _Line, joined: bool) -> bool:
    """Whether ``line`` is of one block with ``other``: as a neighbour, or as a mark that was joined to it."""
    return _neighbours(line, other) or (joined and _belongs(line.box, other.box))


def _is_known_mark(images: list[Gray], line: _Line) -> bool:
    """Whether a line is a mark of a language pack and nothing else, as read at the film's size or where it was found."""
    if line.height < 0.8 * (line.box[3] - line.box[1]):  # several lines that ran together
        return False
    sizes = {0, line.level}
    return any(lead.is_mark(images[size], scaled(line.box, 2.0**size, images[size].shape)) for size in sizes)


def text_of(spots: list[detector.Spot]) -> list[detector.Spot]:
    """The spots that are text: those that say so, and weaker ones of like height beside, above or below one of them.

    So a short word before a wide gap, or initials in a line of their own, go with the line that they belong to.
    """
    chosen = [spot for spot in spots if spot.text >= DOUBT and spot.text >= spot.mark]
    rest = [spot for spot in spots if spot not in chosen]
    new = chosen
    while new:
        joined = [spot for spot in rest if any(_belongs(spot.box, line.box) for line in new)]
        rest = [spot for spot in rest if spot not in joined]
        new = [replace(spot, text=max(spot.text, spot.mark)) for spot in joined]
        chosen = chosen + new
    return chosen


def _belongs(box: Box, line: Box) -> bool:
    """Whether a spot's box stands beside a line, or a line's height above or below it, and is about as high."""
    height, own = line[3] - line[1], box[3] - box[1]
    if not 0.5 * height <= own <= 1.7 * height:
        return False
    across = max(box[0] - line[2], line[0] - box[2])
    apart = max(box[1] - line[3], line[1] - box[3])
    return (across <= 2 * height and apart <= -0.3 * height) or (across <= 0 and apart <= 0.8 * height)


def mask(frame: npt.NDArray[np.generic], boxes: tuple[Box, ...], *, photometric: str) -> None:
    """Fill ``boxes`` of ``frame`` in place with what is shown as black: the least value, or the largest in MONOCHROME1.

    A flat fill and not an invented background, so that a person sees what was taken away.
    """
    value = frame.max() if photometric == "MONOCHROME1" else frame.min()
    for x0, y0, x1, y1 in boxes:
        frame[y0:y1, x0:x1] = value


def to_gray(frame: npt.NDArray[np.generic]) -> tuple[Gray, float]:
    """The frame in 8 bits over its whole range, at working size, and the scale factor; of colours the luminance.

    Where a few values lie far off (a dead pixel, a metal part), the range is that of the other pixels and once its
    width to both sides, so that text among them keeps its contrast.
    """
    image: Any = np.ascontiguousarray(frame).astype(np.float32)
    if image.ndim == 3:
        image = image @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in PS3.3 C.7.6.3.1.2
    side = max(image.shape)
    scale = WORKING_SIDE / side if side > WORKING_SIDE else 2.0 if side < SMALL_SIDE else 1.0
    if scale != 1.0:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)
    low, high = _range(image)
    return ((image - low) * (255.0 / max(high - low, 1.0))).round().clip(0, 255).astype(np.uint8), scale


def _range(image: npt.NDArray[np.float32]) -> tuple[float, float]:
    low, high = float(image.min()), float(image.max())
    first, last = (float(v) for v in np.percentile(image[::4, ::4], (0.2, 99.8)))
    span = last - first
    if span > 0 and 6 * span < high - low:
        low, high = max(low, first - span), min(high, last + span)
    return low, high
