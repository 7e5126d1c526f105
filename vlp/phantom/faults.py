"""Broken input, planted on purpose and written down in truth/faults.parquet: no reader of an export may fail on it.

Each fault sits in its own patient's first study.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from anonymize.files import write_bytes_atomic
from vlp.phantom.chance import stream
from vlp.phantom.config import PhantomConfig
from vlp.phantom.population import make_patient

KINDS = (
    "truncated_dicom",
    "not_dicom",  # a PNG named .dcm
    "nul_byte",  # in the report
    "empty_report",
    "duplicated_row",
    "two_patients",  # the number of one, name and birth date of another
    "wrong_encoding",  # bytes of another encoding in one row
    "study_without_images",
    "image_without_study",  # its row is missing from the table
)


def plan(config: PhantomConfig) -> dict[int, str]:
    """Patient index -> kind of fault; ``faults_per_kind`` of each, fewer where there are too few patients."""
    if not config.faults:
        return {}
    wanted = [kind for _ in range(config.faults_per_kind) for kind in KINDS][: config.patients]
    order = stream(config.seed, "faults").sample(range(config.patients), k=config.patients)
    chosen: dict[int, str] = {}
    for kind in wanted:
        # another name under a number shows only beside a row with the right one
        fits = (i for i in order if i not in chosen and (kind != "two_patients" or _returns(config, i)))
        index = next(fits, None)
        if index is not None:
            chosen[index] = kind
    return chosen


def _returns(config: PhantomConfig, index: int) -> bool:
    return len(make_patient(config, index).visits) > 1


def truncate(path: Path) -> str:
    """Cut a file to 60 % of its bytes, as a broken transfer does."""
    data = path.read_bytes()
    kept = len(data) * 6 // 10
    write_bytes_atomic(path, data[:kept])
    return f"{kept} of {len(data)} bytes"


def write_png_as_dicom(path: Path) -> str:
    """A small PNG under a name that ends in .dcm."""
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).save(buffer, format="PNG")
    write_bytes_atomic(path, buffer.getvalue())
    return "PNG, 64 x 64"


def damage_text(kind: str, text: str) -> str:
    """The report's text as the damaged row has it."""
    if kind == "nul_byte":
        return text[: len(text) // 2] + "\0" + text[len(text) // 2 :]
    return "" if kind == "empty_report" else text


def damage_bytes(row: str, encoding: str) -> bytes:
    """The row in an encoding that is not the file's: Latin-1 bytes in UTF-8, or UTF-8 and a byte Windows-1252 lacks."""
    if encoding == "utf-8":
        data = row.encode("cp1252", errors="replace")
        return data if any(byte > 127 for byte in data) else data.replace(b"e", b"\xe9", 1)
    return row.encode("utf-8").replace(b" ", b" \x81", 1)
