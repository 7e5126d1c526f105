"""A full OCR engine as second opinion (RapidOCR, ONNX models inside its wheel): the extra ``dicom-ocr``.

It reads what anonymize/dicom/pixels.py found, so that marks of the language packs stay, and adds what it alone finds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from anonymize.console import UserError
from anonymize.dicom import lead, pixels
from anonymize.dicom.boxes import Box, Region, inside, pad, scaled
from anonymize.dicom.marks import is_mark

_SURE = 0.9  # score of a reading from which a mark stays


@lru_cache(maxsize=1)
def engine() -> Any:
    """The OCR engine of this process.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("pixels=ocr needs the extra dicom-ocr: pip install 'vlp-xray[dicom-ocr]'") from None
    return RapidOCR(params={"Global.log_level": "critical"})


def find_text(frame: npt.NDArray[np.generic], *, gated: bool = True) -> pixels.Finding:
    """The regions of :func:`anonymize.dicom.pixels.find_text` and those that the engine reads, marks kept."""
    plain = pixels.find_text(frame, gated=gated)
    gray, scale = pixels.to_gray(frame)
    found = engine()(np.repeat(gray[:, :, None], 3, axis=2), use_cls=False)
    shape = frame.shape[:2]
    kept: list[Box] = []
    added: list[Region] = []
    for corners, text, score in zip(*(_listed(part) for part in (found.boxes, found.txts, found.scores)), strict=True):
        (x0, y0), (x1, y1) = np.min(corners, axis=0), np.max(corners, axis=0)
        line = pad((int(x0), int(y0), int(x1) + 1, int(y1) + 1), gray.shape, min(x1 - x0, y1 - y0))
        if score >= _SURE and is_mark(text):
            kept.append(scaled(line, scale, shape))
        elif sum(char.isalnum() for char in text) >= lead.SHORTEST:
            added.append(Region(scaled(line, scale, shape), float(score), "ocr", doubtful=score < pixels.SURE))
    marks = [box for box in kept if not any(inside(box, other.box, 0.3) for other in added)]
    left = [region for region in plain.regions if not any(inside(region.box, box, 0.6) for box in marks)]
    return pixels.Finding(tuple(pixels.merge([*left, *added])), plain.searched)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value)
