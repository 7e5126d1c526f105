"""Films to draw text on, and the arguments that scripts/train_text_detector.py and scripts/train_mark_reader.py share.

Phantom films are made where ``--films`` does not hold them yet (:data:`FILMS`). Real films: chest_hannover (CC BY 3.0),
chest_nih (open, NIH Clinical Center), knee_gornale and spine_scoliosis (CC BY 4.0), of two thirds of the patients; the
others, and every other part, are for measuring. Films that bear text of their own are named in ``--leave-out``.
"""

from __future__ import annotations

import argparse
import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import torch

from anonymize.console import Console
from anonymize.dicom.frames import stored_frame
from anonymize.files import read_rows
from vlp.phantom.config import PhantomConfig
from vlp.phantom.export import run_phantom

Gray = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

FILMS = (  # level, long side in px, seed, patients
    ("hard", 512, 101, 220),
    ("easy", 256, 103, 60),
    ("easy", 512, 104, 160),
    ("hard", 360, 105, 60),
    ("hard", 512, 106, 120),
    ("easy", 512, 107, 120),
)
PARTS = ("chest_hannover", "chest_nih", "knee_gornale", "spine_scoliosis")
LEAVE_OUT = Path(__file__).with_name("text_detector_leave_out.txt")


@dataclass(frozen=True)
class Ground:
    """A film to draw on: [H, W], marks that it bears (x0, y0, x1, y1), and whether all of them are known."""

    gray: Gray
    marks: tuple[Box, ...]
    complete: bool
    traps: tuple[tuple[float, float, float], ...] = ()  # x, y, scale at which an earlier network took it for text


def arguments(description: str | None, *, steps: int, batch: int, rate: float) -> argparse.ArgumentParser:
    """The arguments of both trainings, with their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, required=True, help="folder of the phantom's films; made where missing")
    parser.add_argument("--real", type=Path, help="xray_open of the shared data")
    parser.add_argument("--leave-out", type=Path, default=LEAVE_OUT, help="films with text of their own, one a line")
    parser.add_argument("--fonts", type=Path, help="fonts beside the built-in ones")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    return parser


def grounds_of(options: argparse.Namespace) -> tuple[list[Ground], list[Ground]]:
    """Films of the phantom, and real ones; seeds torch and keeps it on one thread, so that a run can be repeated."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # on shared cores the waiting of a second thread costs more than it brings
    phantom = [ground for film in FILMS for ground in phantom_grounds(made(options.films, *film))]
    left_out = set(options.leave_out.read_text(encoding="utf-8").split())
    return phantom, list(real_grounds(options.real, left_out)) if options.real else []


def made(folder: Path, level: str, size: int, seed: int, patients: int) -> Path:
    """The output of ``vlp phantom`` for one entry of :data:`FILMS`, made if it is not there."""
    out = folder / f"{level}-{size}-{seed}"
    if not (out / "summary.json").is_file():
        config = PhantomConfig(patients=patients, size=size, seed=seed, level=level, burned_in_share=0, workers=1)  # pyright: ignore[reportArgumentType]
        run_phantom(config, out, Console("quiet"))
    return out


def phantom_grounds(folder: Path) -> Iterator[Ground]:
    """Clean films of a ``vlp phantom`` output, with the places of their lead marks."""
    marks: dict[str, list[Box]] = {}
    for row in read_rows(folder / "truth" / "objects.parquet"):
        if row["name"] == "marker":
            marks.setdefault(row["image_id"], []).append((row["x0"], row["y0"], row["x1"], row["y1"]))
    for row in read_rows(folder / "truth" / "images.parquet"):
        if not row["burned_in"]:
            gray = decoded(folder / "export" / "dicom" / row["path"])
            yield Ground(gray, tuple(marks.get(row["image_id"], ())), complete=True)


def decoded(path: Path) -> Gray:
    """Stored values of a DICOM film as the search sees them: 8 bits over their whole range."""
    frame = stored_frame(pydicom.dcmread(path))[0].astype(np.float32)
    return ((frame - frame.min()) * (255 / max(1.0, float(np.ptp(frame))))).round().astype(np.uint8)


def for_training(part: str, patient: str, image: str) -> bool:
    """Two thirds of the patients of the open parts, by a hash of patient (or image) that never changes."""
    return part in PARTS and zlib.crc32(f"{part}/{patient or image}".encode()) % 3 != 0


def real_grounds(folder: Path, leave_out: set[str]) -> Iterator[Ground]:
    """Films for training of the shared collection; the marks on them are not known."""
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if for_training(row["part"], row["patient_id"], row["image"]) and row["image"] not in leave_out:
                gray = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
                yield Ground(np.asarray(gray, np.uint8), (), complete=False)
