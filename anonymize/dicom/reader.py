"""Reads a short line of a film letter by letter (mark_reader.onnx, inside the package, by OpenCV), so that known marks stay.

It tells PORTABLE from a name; it is no OCR: digits are one sign, accents are lost. Trained by
scripts/train_mark_reader.py.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.dicom.boxes import Box
from anonymize.text import fold

MODEL = Path(__file__).with_name("mark_reader.onnx")
HEIGHT = 32  # px a line is read at
WIDEST = 320  # px at that height; longer lines are no marks
_TURNED = 0.4  # least sure sign of a line that runs up or down: bones turned read as letters
LETTERS = string.ascii_lowercase + "0?"  # 0 is any digit, ? any other sign; the blank of CTC comes before them


@dataclass(frozen=True)
class Reading:
    """What stands in a line, in :data:`LETTERS`, and how sure the least sure letter is (0-1)."""

    text: str
    sure: float
    scores: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.ones((29, 0), np.float32), repr=False, compare=False
    )

    def likeness(self, word: str) -> float:
        """How much less likely ``word`` is than what was read best: log probability a letter, 0 or less.

        The probability of a word is the sum over all ways to write it in the columns (the forward pass of CTC).
        """
        logs = np.log(np.maximum(self.scores.astype(np.float64), 1e-9))
        codes = np.zeros(2 * len(word) + 1, np.int64)
        codes[1::2] = [LETTERS.index(letter) + 1 for letter in word]
        if logs.shape[1] < len(word):
            return -np.inf
        skips = np.zeros(len(codes), bool)
        skips[3::2] = codes[3::2] != codes[1:-2:2]
        state = np.full(len(codes), -np.inf)
        state[:2] = logs[codes[:2], 0]
        for column in range(1, logs.shape[1]):
            one = np.concatenate([[-np.inf], state[:-1]])
            two = np.where(skips, np.concatenate([[-np.inf, -np.inf], state[:-2]]), -np.inf)
            state = np.logaddexp(np.logaddexp(state, one), two) + logs[codes, column]
        best = logs.max(0).sum()
        return float((np.logaddexp(state[-1], state[-2]) - best) / len(word))


def letters_of(text: str) -> str:
    """``text`` in :data:`LETTERS`; blanks are left out."""
    plain = fold(text)
    return "".join(c if c in string.ascii_lowercase else "0" if c.isdigit() else "?" for c in plain if not c.isspace())


@lru_cache(maxsize=1)
def _network() -> Any:
    return cv2.dnn.readNetFromONNX(str(MODEL))


def read(gray: npt.NDArray[np.uint8], box: Box) -> Reading:
    """Read the line in ``box`` (not padded) of an 8-bit image [H, W]; "" where it is too long for a mark."""
    height = box[3] - box[1]
    if (box[2] - box[0]) * HEIGHT > 1.5 * WIDEST * height:
        return Reading("", 0.0)
    top, bottom = max(0, box[1] - height // 6), min(gray.shape[0], box[3] + height // 6)
    left, right = max(0, box[0] - height // 3), min(gray.shape[1], box[2] + height // 3)
    part = np.ascontiguousarray(gray[top:bottom, left:right])
    if part.size == 0:
        return Reading("", 0.0)
    width = round(part.shape[1] * HEIGHT / part.shape[0])
    if not 8 <= width <= WIDEST:
        return Reading("", 0.0)
    how = cv2.INTER_AREA if part.shape[0] > HEIGHT else cv2.INTER_LINEAR
    line = np.pad(cv2.resize(part, (width, HEIGHT), interpolation=how), ((0, 0), (0, -width % 16)), mode="edge")
    low, high = float(line.min()), float(line.max())
    network = _network()
    network.setInput(((line - low) / max(high - low, 1.0)).astype(np.float32)[None, None])
    return _decoded(network.forward()[0, :, 0])


def is_too_long(box: Box) -> bool:
    """Whether a line has more letters than the reader takes, along its longer side."""
    long, short = max(box[2] - box[0], box[3] - box[1]), min(box[2] - box[0], box[3] - box[1])
    return long * HEIGHT > 1.5 * WIDEST * short


def signs(gray: npt.NDArray[np.uint8], box: Box, least: float) -> int:
    """How many signs are read in ``box``, each with a score of ``least``.

    A place higher than wide is turned both ways as well; there each sign needs a score of 0.4 at least.
    """
    x0, y0, x1, y1 = box
    ways = [(read(gray, box), least)]
    if y1 - y0 > 1.3 * (x1 - x0):
        height, width = gray.shape
        up = read(np.rot90(gray), (y0, width - x1, y1, width - x0))
        down = read(np.rot90(gray, 3), (height - y1, x0, height - y0, x1))
        ways += [(up, max(least, _TURNED)), (down, max(least, _TURNED))]
    return max((len(reading.text) for reading, needed in ways if reading.sure >= needed), default=0)


def _decoded(scores: npt.NDArray[np.float32]) -> Reading:
    """Greedy CTC of scores [29, W/4]: repeats and blanks fall out."""
    best = scores.argmax(0)
    text, sure, last = [], 1.0, 0
    for column, code in enumerate(best):
        if code and code != last:
            text.append(LETTERS[code - 1])
            sure = min(sure, float(scores[code, column : column + 3].max()))
        last = int(code)
    return Reading("".join(text), sure if text else 0.0, scores)
