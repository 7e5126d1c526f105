"""The truth tables: labels, boxes, masks and the places of identities, beside the export that hides them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vlp.phantom.facts import Exam, TrueObject
from vlp.phantom.findings import is_fractured
from vlp.study import LABELS

_TYPES = {"s": pa.string(), "i": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "S": pa.list_(pa.string())}
_TYPES |= {"I": pa.list_(pa.int32()), "m": pa.map_(pa.string(), pa.string())}


def _schema(columns: str) -> pa.Schema:
    """A schema from ``name:type`` words (types: the keys of ``_TYPES``)."""
    return pa.schema([(name, _TYPES[kind]) for name, kind in (word.split(":") for word in columns.split())])


SCHEMAS: dict[str, pa.Schema] = {
    # identity: every identifying value of the patient, by name
    "patients": _schema("patient:i ipp:s sex:s birth_date:s anatomy:s site:i held_out:b identity:m"),
    # facts: the whole Exam as JSON; identity: identifying values of this visit (staff, numbers), by name
    "studies": _schema(
        "accession:s patient:i exam_id:s date:s anatomy:s side:s age_months:i device:s site:i "
        "bone_age_read:f kl_read:i planted_marker:s contrast:f facts:s identity:m "
        + " ".join(f"{name}:f" for name in LABELS)
    ),
    "images": _schema(
        "image_id:s accession:s patient:i path:s sop_instance_uid:s projection:s side:s height:i width:i spacing_mm:f "
        "burned_in:S"
    ),
    "reports": _schema("accession:s patient:i date:s style:s held_out:b two_exams:b language:s text:s"),
    "spans": _schema("accession:s start:i end:i label:s text:s value:s altered:b"),
    "objects": _schema("image_id:s name:s x0:f y0:f x1:f y1:f rle:I rle_height:i rle_width:i"),
    "faults": _schema("kind:s accession:s path:s detail:s"),
    # what a de-identifier must do with each attribute (anonymize/dicom/midi.py); empty unless ``answer_key`` is set
    "answers": _schema("sop_instance_uid:s patient:s action:s path:s value:s"),
}
"""Tables below ``truth/``. Offsets of spans are code points of the report's text, end exclusive."""


def labels_of(exam: Exam) -> dict[str, float]:
    """The true labels that apply to the examination (names of :data:`vlp.study.LABELS`; others are absent)."""
    labels: dict[str, float] = {}
    if exam.chest is not None:
        labels = {
            "effusion": float(bool(exam.chest.effusion)),
            "consolidation": float(bool(exam.chest.consolidation)),
            "cardiomegaly": float(exam.chest.cardiothoracic_ratio > 0.5),
            "pneumothorax": float(bool(exam.chest.pneumothorax)),
        }
        labels["abnormal"] = max(labels.values())
    elif exam.knees:
        grades = {side: knee.kl for side, knee in exam.knees.items() if not knee.prosthesis}
        if grades:
            labels["kl_grade"] = float(max(grades.values()))
        labels |= {{"R": "kl_right", "L": "kl_left"}[side]: float(grade) for side, grade in grades.items()}
        labels["hardware"] = float(exam.hardware)
        labels["abnormal"] = float(exam.hardware or max(grades.values(), default=0) >= 2)
    elif exam.bone_age_months is not None:
        labels["bone_age_months"] = exam.bone_age_months
        labels["abnormal"] = float(abs(exam.bone_age_months - exam.age_months) > 24)
    else:
        broken = is_fractured(exam.fractures)
        labels = {"fracture": float(broken), "cast": float(exam.cast), "hardware": float(exam.hardware)}
        labels["abnormal"] = float(broken or exam.hardware or bool(exam.fractures))
    return labels


def encode_rle(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask [H, W], column by column, beginning with the zeros (the uncompressed RLE of COCO)."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], changes, [flat.size])))
    return ([0] if flat.size and flat[0] else []) + [int(run) for run in runs]


def decode_rle(runs: list[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The inverse of :func:`encode_rle`: a mask [height, width]."""
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def object_row(image_id: str, item: TrueObject) -> dict[str, Any]:
    """One object as a row of the table ``objects``."""
    x0, y0, x1, y1 = (float(value) for value in item.box)
    row: dict[str, Any] = {"image_id": image_id, "name": item.name, "x0": x0, "y0": y0, "x1": x1, "y1": y1}
    if item.mask is not None:
        height, width = item.mask.shape
        row |= {"rle": encode_rle(item.mask), "rle_height": height, "rle_width": width}
    return row
