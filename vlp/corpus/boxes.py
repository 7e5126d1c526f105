"""Boxes of findings: from where they were drawn in a file to where they lie in the stored image.

The way is affine: the working image shows a part of the file's image, and shrinks it evenly. A box that leaves the film
that it was drawn on is wrong, and is refused; the film stays. One of which the crop leaves a part is cut to that part.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anonymize.quarantine import Quarantined, count_reasons
from vlp.corpus.crop import INSIDE
from vlp.corpus.decoded import DecodedRow
from vlp.corpus.frame import Part
from vlp.corpus.source import DrawnBox, ImageFile, refuse
from vlp.study import Box

REMEDIES = {
    "box_unreadable": "A box lacks a number; correct its table. The film is kept without it.",
    "box_without_area": "A box has no width or no height; correct its table. The film is kept without it.",
    "box_beyond_image": "A box leaves the film that it was drawn on; correct its table. The film is kept without it.",
}
_LEAST = 1e-9  # of a side: less is rounding


@dataclass
class Placed:
    """Boxes of all images, and the account of them: read = kept + refused + cropped away + of refused images."""

    by_image: dict[str, tuple[Box, ...]] = field(default_factory=dict)
    refused: list[Quarantined] = field(default_factory=list)
    cropped_away: int = 0  # they lay in the border alone

    @property
    def kept(self) -> int:
        return sum(len(boxes) for boxes in self.by_image.values())


def place_boxes(images: Iterable[ImageFile], decoded: Mapping[str, DecodedRow]) -> Placed:
    """The boxes of ``images``, which are all decoded and kept."""
    placed = Placed()
    for image in images:
        found: list[Box] = []
        for drawn in image.boxes:
            row = decoded[image.image_id]
            corners = in_file(drawn, row.file_columns, row.file_rows)
            if isinstance(corners, str):
                placed.refused.append(refuse(image.image_id, drawn.position, corners, REMEDIES[corners]))
                continue
            part = in_part(corners, (row.shown_x0, row.shown_y0, row.shown_x1, row.shown_y1))
            if part is None:
                placed.cropped_away += 1
            else:
                found.append(Box(drawn.label, *part, drawn.reader))
        if found:
            placed.by_image[image.image_id] = tuple(found)
    return placed


def box_summary(read: int, images: Sequence[ImageFile], lost: set[str], placed: Placed) -> dict[str, Any]:
    """What the summary of a preparation says about boxes; they add up.

    Args:
        read: boxes of all films, also of those that were refused before any was opened.
        images: the planned ones; ``lost`` has the identifiers of those that were refused.
    """
    planned = sum(len(image.boxes) for image in images)
    counts = {
        "kept": placed.kept,
        "refused": len(placed.refused),
        "of_refused_images": read - planned + sum(len(image.boxes) for image in images if image.image_id in lost),
        "cropped_away": placed.cropped_away,
    }
    if read != sum(counts.values()):
        raise AssertionError(
            "boxes were lost on the way: kept, refused and cropped away do not add up to what was read"
        )
    labels = Counter(box.label for boxes in placed.by_image.values() for box in boxes)
    return {
        "boxes": {"read": read, **counts},
        "refused_boxes": count_reasons(placed.refused),
        "box_labels": dict(labels.most_common()),
    }


def in_file(drawn: DrawnBox, columns: int, rows: int) -> Part | str:
    """Where ``drawn`` lies in its file's image of ``columns`` by ``rows`` pixels, cut to it; else a key of REMEDIES."""
    width, height = drawn.size or (float(columns), float(rows))
    if not all(map(math.isfinite, (*drawn.corners, width, height))) or min(width, height) <= 0:
        return "box_unreadable"
    x0, y0, x1, y1 = (value / side for value, side in zip(drawn.corners, (width, height) * 2, strict=True))
    if x1 - x0 <= _LEAST or y1 - y0 <= _LEAST:
        return "box_without_area"
    inside = _cut((x0, y0, x1, y1))
    if inside is None or _area(inside) < INSIDE * _area((x0, y0, x1, y1)):
        return "box_beyond_image"
    return inside


def in_part(box: Part, shown: Part) -> Part | None:
    """Where ``box`` of an image lies in its part ``shown``, cut to it; None where nothing of it is left."""
    left, top, right, bottom = shown
    width, height = right - left, bottom - top
    x0, y0, x1, y1 = box
    return _cut(((x0 - left) / width, (y0 - top) / height, (x1 - left) / width, (y1 - top) / height))


def _cut(box: Sequence[float]) -> Part | None:
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
    return (x0, y0, x1, y1) if x1 - x0 > _LEAST and y1 - y0 > _LEAST else None


def _area(box: Part) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
