"""The learned text detector: a small network (text_detector.onnx, inside the package) run by OpenCV, without torch.

It says for each cell of 4 px whether a line of text or a short mark (up to three characters, such as a lead letter)
stands there. Capitals of 6 to 30 px are what it was trained for, so the image is searched at its size, at half and at a
quarter. Trained by scripts/train_text_detector.py on synthetic films and openly licensed radiographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.dicom.boxes import Box

Gray = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

MODEL = Path(__file__).with_name("text_detector.onnx")
HIGHEST = 36  # px: height of a line, accents and all, that the network finds at its own size
STRIDE = 4  # px of the image a cell
_CORE = 0.6  # share of a line's height that the network was asked to mark
_MULTIPLE = 32  # px: the network needs multiples of 16; fewer shapes cost fewer set-ups
_WIDER = 128  # px by which a part is widened
_WIDENINGS = 8
_SEED = 0.25  # cells below belong to nothing


@dataclass(frozen=True)
class Spot:
    """One connected place: its line's box in pixels of the image, and the scores (0-1) of both kinds."""

    box: Box
    text: float
    mark: float


@lru_cache(maxsize=1)
def _network() -> Any:
    return cv2.dnn.readNetFromONNX(str(MODEL))


def cells(gray: Gray) -> tuple[Scores, Scores]:
    """Scores of text and of marks, each [ceil(H/4), ceil(W/4)] in 0-1, of an image [H, W] at its own size."""
    height, width = gray.shape
    down, right = -height % _MULTIPLE, -width % _MULTIPLE
    whole = cv2.copyMakeBorder(gray, 0, down, 0, right, cv2.BORDER_REPLICATE)
    network = _network()
    network.setInput(whole[None, None].astype(np.float32) / np.float32(255.0))
    out = network.forward()[0]
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    return out[0, :rows, :columns], out[1, :rows, :columns]


def search(gray: Gray, parts: list[Box]) -> list[Spot]:
    """Places of text or marks in parts of an image, at its own size; boxes of whole lines in its pixels, not padded.

    A part whose text runs to its edge is searched again with more of the image on that side: thin letters can stand
    beside the crowded ones that the gate saw.
    """
    found: list[Spot] = []
    for part in parts:
        for _ in range(_WIDENINGS):
            x0, y0, x1, y1 = part
            text, mark = cells(np.ascontiguousarray(gray[y0:y1, x0:x1]))
            wider = _widened(text, part, gray.shape)
            if wider == part:
                break
            part = wider
        found += [_grown(spot, (x0, y0), gray.shape) for spot in spots(text, mark)]
    return found


def _widened(text: Scores, part: Box, shape: tuple[int, ...]) -> Box:
    """``part`` grown on each side where a cell of text lies within 8 px of its edge, if the image goes on there."""
    x0, y0, x1, y1 = part
    lit = text >= 0.5
    left, right = lit[:, :2].any(), lit[:, -2:].any()
    top, bottom = lit[:2].any(), lit[-2:].any()
    return (
        max(0, x0 - _WIDER) if left else x0,
        max(0, y0 - _WIDER // 2) if top else y0,
        min(shape[1], x1 + _WIDER) if right else x1,
        min(shape[0], y1 + _WIDER // 2) if bottom else y1,
    )


def spots(text: Scores, mark: Scores) -> list[Spot]:
    """Connected cells of either kind; boxes in pixels of the searched scale, of the cores only."""
    lit = (np.maximum(text, mark) >= _SEED).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit, connectivity=8, ltype=cv2.CV_32S)
    made = []
    for index in range(1, count):
        x, y, w, h, _area = (int(v) for v in stats[index])
        inside = labels[y : y + h, x : x + w] == index
        place = np.s_[y : y + h, x : x + w]
        box = (STRIDE * x, STRIDE * y, STRIDE * (x + w), STRIDE * (y + h))
        made.append(Spot(box, _high(text[place][inside]), _high(mark[place][inside])))
    return made


def _high(values: Scores) -> float:
    """Mean of the upper half of the values, of eight cells at least: one lit cell makes no line."""
    most = np.sort(values)[::-1][: max(8, len(values) // 2)]
    return float(most.sum() / max(4, len(most)))


def _grown(spot: Spot, offset: tuple[int, int], shape: tuple[int, ...]) -> Spot:
    """From the core to the line, and from the part to the image."""
    x0, y0, x1, y1 = spot.box
    short = min(x1 - x0, y1 - y0, int(_CORE * HIGHEST))
    grow, (dx, dy) = 0.5 * short * (1 / _CORE - 1), offset
    return Spot(
        (
            max(0, int(x0 - grow) + dx),
            max(0, int(y0 - grow) + dy),
            min(shape[1], int(np.ceil(x1 + grow)) + dx),
            min(shape[0], int(np.ceil(y1 + grow)) + dy),
        ),
        spot.text,
        spot.mark,
    )
