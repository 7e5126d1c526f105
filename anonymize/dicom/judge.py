"""Whether text stands in the pixels of an instance, where, and what is done about it: one record an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydicom.dataset import Dataset

from anonymize.dicom import ocr, pixels
from anonymize.dicom.boxes import Box, Region
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.regions import regions_of

Decision = Literal["", "keep", "mask"]

_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture and its multi-frame kinds
_MADE_ELSEWHERE = {"DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"}  # ConversionType, PS3.3 C.8.6.1
_CROP_MARGIN = 24  # px around a doubtful region on the page of the review

RECORD_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("image_id", "state", "gate", "engine", "template", "decision")],
        ("searched", pa.float64()),
        (
            "regions",
            pa.list_(
                pa.struct(
                    [
                        *[(name, pa.int32()) for name in ("frame", "x0", "y0", "x1", "y1")],
                        ("score", pa.float64()),
                        ("engine", pa.string()),
                        ("doubtful", pa.bool_()),
                        ("filled", pa.bool_()),
                    ]
                )
            ),
        ),
    ]
)


@dataclass(frozen=True)
class PlacedRegion:
    """One region of the record: where, how sure, and whether it was filled."""

    frame: int
    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    engine: str
    doubtful: bool
    filled: bool


@dataclass(frozen=True)
class PixelRecord:
    """The decision on one image (SAFE/dicom/pixels). No text: only places and scores."""

    image_id: str
    state: str  # none, masked, doubtful, unsure
    gate: str  # off, quiet (nothing to search), strokes; stated, capture or small (searched everywhere)
    engine: str  # detector, ocr, or "" where pixels=off
    template: str  # names of the templates that were filled
    decision: Decision  # of a person, from decisions.csv
    searched: float  # 0-1: the largest share of a frame that was searched
    regions: tuple[PlacedRegion, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What to fill in each frame, what to say of the image, and why it cannot be written ("" where it can)."""

    record: PixelRecord
    boxes: tuple[tuple[Box, ...], ...]
    refusal: str = ""
    crops: tuple[bytes, ...] = field(default=(), repr=False)  # PNG of each doubtful region, for a person

    @property
    def is_clean(self) -> bool:
        """Whether the header may say that no text is left."""
        open_doubt = any(region.doubtful and not region.filled for region in self.record.regions)
        return (
            self.record.engine != ""
            and self.record.state != "unsure"
            and (not open_doubt or self.record.decision == "keep")
        )


def judge(
    ds: Dataset, frames: npt.NDArray[Any], config: DicomConfig, image_id: str, decision: Decision = ""
) -> Judgement:
    """Templates first, then the search of every frame ([N, H, W] or [N, H, W, 3]) as the gate allows.

    Args:
        decision: what a person said of the doubtful regions of this image in an earlier run.
    """
    claimed = str(ds.get("BurnedInAnnotation", "") or "").upper() == "YES"
    if config.pixels == "off":
        record = PixelRecord(image_id, "unsure" if claimed else "none", "off", "", "", decision, 0.0)
        return _refused_where_unsure(Judgement(record, tuple(() for _ in frames)), config)
    path = "stated" if claimed else "capture" if is_capture(ds) else ""
    names, fixed = regions_of(ds, config.regions)
    found = [_found(frame, config, gated=not path) for frame in frames]
    if not path and max(frames.shape[1:3]) < pixels.SMALL_SIDE:
        path = "small"
    path = path or ("strokes" if any(finding.searched for finding in found) else "quiet")
    placed: list[PlacedRegion] = []
    crops: list[bytes] = []
    for index, finding in enumerate(found):
        regions = [*(Region(box, 1.0, "template") for box in fixed), *finding.regions]
        placed += [_placed(index, region, config, decision) for region in regions]
        crops += [crop_of(frames[index], region.box) for region in regions if region.doubtful]
    boxes = tuple(
        tuple((r.x0, r.y0, r.x1, r.y1) for r in placed if r.frame == index and r.filled) for index in range(len(frames))
    )
    doubtful = any(region.doubtful for region in placed)
    state = "doubtful" if doubtful and not decision else "masked" if any(boxes) else "unsure" if claimed else "none"
    searched = round(max((finding.searched for finding in found), default=0.0), 4)
    record = PixelRecord(image_id, state, path, _engine(config), names, decision, searched, tuple(placed))
    refusal = "burned_in_doubtful" if state == "doubtful" and config.on_doubtful == "quarantine" else ""
    return _refused_where_unsure(Judgement(record, boxes, refusal, tuple(crops)), config)


def is_capture(ds: Dataset) -> bool:
    """Whether the image came from a screen, a scanner or a workstation, where whole pages of text are common."""
    if str(ds.get("SOPClassUID", "")).startswith(_CAPTURES):
        return True
    return str(ds.get("ConversionType", "") or "").upper() in _MADE_ELSEWHERE


def crop_of(frame: npt.NDArray[Any], box: Box) -> bytes:
    """PNG of a region with some ground around it, 8 bits over its own range."""
    height, width = frame.shape[:2]
    x0, y0 = max(0, box[0] - _CROP_MARGIN), max(0, box[1] - _CROP_MARGIN)
    part = frame[y0 : min(height, box[3] + _CROP_MARGIN), x0 : min(width, box[2] + _CROP_MARGIN)].astype(np.float32)
    low, high = float(part.min()), float(part.max())
    gray = ((part - low) * (255.0 / max(high - low, 1.0))).round().astype(np.uint8)
    return cv2.imencode(".png", gray[..., ::-1] if gray.ndim == 3 else gray)[1].tobytes()


def _found(frame: npt.NDArray[Any], config: DicomConfig, *, gated: bool) -> pixels.Finding:
    if config.pixels == "ocr":
        return ocr.find_text(frame, gated=gated)
    return pixels.find_text(frame, gated=gated)


def _placed(index: int, region: Region, config: DicomConfig, decision: Decision) -> PlacedRegion:
    filled = not region.doubtful or (decision == "mask" if decision else config.on_doubtful != "write")
    return PlacedRegion(index, *region.box, round(region.score, 4), region.engine, region.doubtful, filled)


def _engine(config: DicomConfig) -> str:
    return "detector" if config.pixels == "detect" else config.pixels


def _refused_where_unsure(judged: Judgement, config: DicomConfig) -> Judgement:
    if judged.record.state == "unsure" and config.on_unsure == "quarantine":
        return Judgement(judged.record, judged.boxes, "burned_in_unsure", judged.crops)
    return judged
