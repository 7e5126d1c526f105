"""The truth tables: labels, boxes, masks and the places of identities, beside the export that hides them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vlp.phantom.facts import Exam, TrueObject
from vlp.phantom.findings import is_fractured
from vlp.study import LABELS

_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCHEMAS: dict[str, pa.Schema] = {
    "patients": pa.schema(
        [("patient", _I), ("ipp", _S), ("sex", _S), ("birth_date", _S), ("anatomy", _S), ("site", _I), ("held_out", _B)]
        + [("identity", pa.map_(_S, _S))]  # every identifying value of the patient, by name
    ),
    "studies": pa.schema(
        [("accession", _S), ("patient", _I), ("exam_id", _S), ("date", _S), ("anatomy", _S), ("side", _S)]
        + [("age_months", _I), ("device", _S), ("site", _I), ("bone_age_read", _F), ("kl_read", _I)]
        + [("planted_marker", _S), ("contrast", _F), ("facts", _S)]  # facts: the whole Exam as JSON
        + [(name, _F) for name in LABELS]
    ),
    "images": pa.schema(
        [
            ("image_id", _S),
            ("accession", _S),
            ("patient", _I),
            ("path", _S),
            ("sop_instance_uid", _S),
            ("projection", _S),
        ]
        + [("side", _S), ("height", _I), ("width", _I), ("spacing_mm", _F), ("burned_in", pa.list_(_S))]
    ),
    "reports": pa.schema(
        [("accession", _S), ("patient", _I), ("date", _S), ("style", _S), ("held_out", _B), ("two_exams", _B)]
        + [
            ("language", _S),
            ("text", _S),
            ("staff", pa.list_(_S)),
        ]  # staff: names in the text that are not the patient's
    ),
    "spans": pa.schema(
        [("accession", _S), ("start", _I), ("end", _I), ("label", _S), ("text", _S), ("value", _S), ("altered", _B)]
    ),
    "objects": pa.schema(
        [("image_id", _S), ("name", _S), ("x0", _F), ("y0", _F), ("x1", _F), ("y1", _F)]
        + [("rle", pa.list_(pa.int32())), ("rle_height", _I), ("rle_width", _I)]
    ),
    "faults": pa.schema([("kind", _S), ("accession", _S), ("path", _S), ("detail", _S)]),
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
