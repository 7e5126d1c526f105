"""What the reader says of a short line: a lead mark of the language packs, a letter in a ring, or neither."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from anonymize.dicom import reader
from anonymize.dicom.boxes import Box
from anonymize.dicom.marks import is_joined_mark, long_marks
from anonymize.dicom.rings import inside_ring
from anonymize.dicom.tilt import straight

Gray = npt.NDArray[np.uint8]

SHORTEST = 4  # signs of a line of text; shorter ones are marks
SEEN = 0.4  # the reader's least sure sign, from which its count is believed against the network's word
_READ = 0.9  # the reader's least sure letter, from which a known mark stays
_LIKE = -0.4  # log probability a letter that a long mark may lack; of 1,396 names and numbers none comes near
_NARROWEST = 0.7  # letters in a line's height: a letter is seldom wider than 1.4 times the line's height


def is_circled_mark(gray: Gray, box: Box) -> bool:
    """Whether a ring stands in ``box``, and no word in the ring."""
    inner = inside_ring(gray, box)
    return inner is not None and reader.signs(gray, inner, 0.0) < SHORTEST


def is_short_mark(gray: Gray, box: Box) -> bool:
    """Whether the reader sees a mark of the packs of up to three letters (R, LAT), or is sure of one in the line laid straight."""
    reading = reader.read(gray, box)
    if reading.sure >= SEEN and len(reading.text) < SHORTEST:
        return is_joined_mark(reading.text)
    return any(
        turned.sure >= _READ and len(turned.text) < SHORTEST and is_joined_mark(turned.text)
        for turned, _ in _straight(gray, box)
    )


def is_short_word(gray: Gray, box: Box) -> bool:
    """Whether four signs and more are read in what the network takes for a mark, as it lies or laid straight.

    In the line laid straight as many have to stand apart: LAT in thick italics is read as four.
    """
    if any(reading.sure >= SEEN and letters >= SHORTEST for reading, letters in _straight(gray, box)):
        return True
    return reader.signs(gray, box, SEEN) >= SHORTEST and not is_short_mark(gray, box)


def is_mark(gray: Gray, box: Box) -> bool:
    """Whether a line is a mark of a language pack (PORTABLE, EN CHARGE) and nothing else, as it lies or laid straight.

    Either the reader is sure of every letter, or a mark of seven letters and more is nearly as likely as what it read.
    """
    least = max(1.0, _NARROWEST * (box[2] - box[0]) / (box[3] - box[1]))
    ways = [reader.read(gray, box), *(reading for reading, _ in _straight(gray, box))]
    return any(_is_mark(reading, least) for reading in ways)


def _straight(gray: Gray, box: Box) -> Iterator[tuple[reader.Reading, int]]:
    """What is read in the line laid straight, and how many letters stand apart in it; nothing where fewer are read than stand."""
    line = straight(gray, box)
    if line is not None:
        reading = reader.read(line.gray, line.box)
        if len(reading.text) >= line.letters:  # letters can touch
            yield reading, line.letters


def _is_mark(reading: reader.Reading, least: float) -> bool:
    if len(reading.text) < least:
        return False
    if reading.sure >= _READ and is_joined_mark(reading.text):
        return True
    near = [mark for mark in long_marks() if Levenshtein.distance(mark, reading.text) <= len(mark) // 3]
    return any(len(mark) >= least and reading.likeness(mark) >= _LIKE for mark in near)
