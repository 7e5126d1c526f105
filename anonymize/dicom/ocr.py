"""Text in pixels by a trained text detector (RapidOCR, ONNX models inside its wheel): the extra ``dicom-ocr``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from anonymize.console import UserError
from anonymize.dicom import pixels

SHORTEST = 3  # letters and digits of a text that is filled; side marks are shorter


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


def find_text(frame: npt.NDArray[np.generic]) -> pixels.Finding:
    """The lines of :func:`anonymize.dicom.pixels.find_text` and those that the OCR engine reads, side marks kept."""
    plain = pixels.find_text(frame)
    gray, scale = pixels.to_gray(frame)
    found = engine()(np.repeat(gray[:, :, None], 3, axis=2))
    boxes = list(plain.boxes)
    for corners, text in zip(_listed(found.boxes), _listed(found.txts), strict=True):
        if sum(char.isalnum() for char in text) >= SHORTEST:
            (x0, y0), (x1, y1) = np.min(corners, axis=0), np.max(corners, axis=0)
            line = pixels.pad((int(x0), int(y0), int(x1) + 1, int(y1) + 1), gray.shape)
            boxes.extend(pixels.scaled([line], scale, frame.shape))
    return pixels.Finding(tuple(pixels.merge(boxes)))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value)
