"""Boxes as annotation formats write them: YOLO text, PASCAL VOC XML, COCO JSON, lists in a cell of a table.

What is no number becomes NaN, so that the box is refused by name when its film is known (vlp.corpus.boxes). COCO and VOC
state the size that their pixels are counted in, YOLO writes fractions, so that films of another size keep their boxes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from vlp.corpus.adapters.tables import number
from vlp.corpus.source import DrawnBox

_NOWHERE = (math.nan, math.nan, math.nan, math.nan)


class BadAnnotations(ValueError):
    """A file of annotations that cannot be read."""


def corners_of(texts: Sequence[str]) -> tuple[float, float, float, float]:
    """Four cells as x0, y0, x1, y1; NaN where one is no number."""
    x0, y0, x1, y1 = (math.nan if (value := number(text)) is None else value for text in texts)
    return x0, y0, x1, y1


def read_yolo(path: Path, names: Sequence[str]) -> list[DrawnBox]:
    """Lines ``class x y width height``: middle and size as fractions of the image; a confidence behind is not read.

    Args:
        names: of the classes, by their number.
    """
    found: list[DrawnBox] = []
    for position, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        corners = _NOWHERE
        if len(cells) in (5, 6):
            x, y, width, height = corners_of(cells[1:5])
            corners = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        known = cells[0].isdecimal() and int(cells[0]) < len(names)
        label = names[int(cells[0])] if known else cells[0]
        found.append(DrawnBox(label, corners, (1.0, 1.0), position=position))
    return found


def read_voc(path: Path) -> list[DrawnBox]:
    """The ``object`` elements of one image.

    Raises:
        BadAnnotations: no XML, or XML that defines entities.
    """
    try:
        root: Element = fromstring(path.read_bytes())
    except (ParseError, DefusedXmlException, ValueError):
        raise BadAnnotations from None
    width, height = (number(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
    size = (width, height) if width and height else None
    return [
        DrawnBox(
            item.findtext("name", "").strip(),
            corners_of([item.findtext(f"bndbox/{corner}", "") for corner in ("xmin", "ymin", "xmax", "ymax")]),
            size,
            position=position,
        )
        for position, item in enumerate(root.iter("object"), 1)
    ]


def read_coco(path: Path) -> dict[str, list[DrawnBox]]:
    """Boxes by the file name of their image, without its folders.

    Raises:
        BadAnnotations: no JSON, or not of the form of COCO.
    """
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in known["images"]}
        names = {category["id"]: str(category["name"]) for category in known["categories"]}
        found: dict[str, list[DrawnBox]] = {}
        for position, item in enumerate(known["annotations"], 1):
            image = images[item["image_id"]]
            size = (float(image["width"]), float(image["height"])) if image.get("width") else None
            x, y, width, height = _numbers(item.get("bbox"))
            box = DrawnBox(names[item["category_id"]], (x, y, x + width, y + height), size, position=position)
            found.setdefault(str(image["file_name"]).rpartition("/")[2], []).append(box)
    except (KeyError, TypeError, ValueError):
        raise BadAnnotations from None
    return found


def read_list(text: str, position: int) -> tuple[DrawnBox, ...]:
    """A cell ``[[x0, y0, x1, y1, "label"], ...]`` in pixels of the file, as JSON; empty is no box."""
    try:
        items: Any = json.loads(text) if text.strip() else []
    except ValueError:
        items = [None]
    lists: Iterable[Any] = items if isinstance(items, list) else [None]
    return tuple(
        DrawnBox(str(item[4]), _numbers(item[:4]), position=position)
        if isinstance(item, list) and len(item) == 5
        else DrawnBox("", _NOWHERE, position=position)
        for item in lists
    )


def _numbers(written: Any) -> tuple[float, float, float, float]:
    if not isinstance(written, list) or len(written) != 4:
        return _NOWHERE
    a, b, c, d = (float(v) if isinstance(v, int | float) and not isinstance(v, bool) else math.nan for v in written)
    return a, b, c, d
