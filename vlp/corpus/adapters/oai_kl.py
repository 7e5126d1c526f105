"""Knee severity grading from the Osteoarthritis Initiative (Chen 2018, Mendeley doi:10.17632/56rmx5bjcr.1).

Folders from memory of the release; file names and grades were checked on 404 real crops (tests/test_adapters_real.py).
Crops of one knee, 224 or 299 pixels, in folders by split and Kellgren-Lawrence grade; file names are the OAI number of
the person and the side. ``auto_test`` holds crops of the test knees that a detector made: those of knees that a graded
folder already has are refused as second_crop, so that no knee counts twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import Folder, Need, PublicSet

_PARTS = {"train": "train", "val": "validation", "test": "test", "auto_test": "test"}
_NAME = re.compile(r"(?:^|/)(train|val|test|auto_test)/([^/]+)/(\d{7})([LR])[^/]*\.(?:png|jpg|jpeg)$", re.IGNORECASE)
_FILMS = Need(
    tuple(f"*/{part}/*/*.[pj][np]*g" for part in _PARTS), "knee crops, <split>/<grade>/<OAI number><L or R>.png"
)


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    order = list(_PARTS)
    seen: set[str] = set()

    def rank(path: str) -> tuple[int, str]:
        found = _NAME.search(path)
        return (order.index(found.group(1).lower()) if found else len(order), path)

    for path in sorted(folder.matches(_FILMS), key=rank):
        found = _NAME.search(path)
        if not found:
            yield Film(image=path, fault="unknown_file_name")
            continue
        part, grade, person, side = found.groups()
        side = side.upper()
        fault = "" if grade in ("0", "1", "2", "3", "4") else "unknown_class_folder"
        if not fault and part.lower() == "auto_test" and f"{person}{side}" in seen:
            fault = "second_crop"
        seen.add(f"{person}{side}")
        value = float(grade) if not fault else 0.0
        yield Film(
            image=path,
            anatomy="knee",
            patient=person,
            view="PA",
            laterality=side,
            labels={"kl_grade": value, "kl_right" if side == "R" else "kl_left": value},
            split=_PARTS[part.lower()],
            fault=fault,
        )


SET = PublicSet(
    name="oai-kl",
    title="OAI knees with Kellgren-Lawrence grades (release of P. Chen)",
    licence="CC BY 4.0 (Mendeley Data); OAI data use terms for the originals",
    use="Free with attribution (Chen 2018; OAI); the OAI's data use terms forbid attempts to identify participants.",
    where="Mendeley Data doi:10.17632/56rmx5bjcr.1",
    languages="none",
    labels="kl_grade, kl_right or kl_left",
    patients="OAI number at the start of the file name; both knees of a person are one patient",
    layout=(_FILMS,),
    tree="""\
KneeXrayData/ClsKLData/kneeKL224/train/0/9003175L.png      grades 0 to 4
KneeXrayData/ClsKLData/kneeKL224/val/...
KneeXrayData/ClsKLData/kneeKL224/test/...
KneeXrayData/ClsKLData/kneeKL224/auto_test/...              the test knees, cropped by a detector""",
    films=_films,
)
