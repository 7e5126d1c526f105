"""MURA v1.1 (Rajpurkar et al. 2018, arXiv:1712.06957): upper limbs, normal or abnormal by study.

Layout from memory of the release, not looked up and not checked against a copy: tables without header whose paths begin
with ``MURA-v1.1/``; patient and class are part of the path. The test set was never published; ``valid`` is given as
validation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import Folder, Need, PublicSet
from vlp.corpus.adapters.tables import read_table

_PATH = re.compile(r"(?:^|/)((train|valid)/XR_([A-Z]+)/(patient\d+)/(study\d+_(positive|negative)))/image\d+\.\w+$")
_ANATOMY = {"WRIST": "wrist", "FOREARM": "forearm", "HAND": "hand", "FINGER": "hand"}
_SPLITS = {"train": "train", "valid": "validation"}
_TABLES = tuple(
    Need((f"*/{part}_image_paths.csv",), f"paths of the {part} films, one a line, without header") for part in _SPLITS
)


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for table in _TABLES:
        path = folder.matches(table)[0]
        base = path.rpartition("/")[0]
        for row in read_table(folder.root / path, header=("path",)):
            found = _PATH.search(row["path"].strip())
            if not found:
                yield Film(image=row["path"].strip(), fault="unknown_file_name")
                continue
            study, part, region, patient, _, result = found.groups()
            inside = row["path"].strip()[found.start(1) :]
            yield Film(
                image=f"{base}/{inside}" if base else inside,
                anatomy=_ANATOMY.get(region, "extremity"),
                patient=patient,
                study=study,
                labels={"abnormal": float(result == "positive")},
                split=_SPLITS[part],
                site=f"mura {region.lower()}",
            )


SET = PublicSet(
    name="mura",
    title="MURA v1.1, musculoskeletal radiographs",
    licence="Stanford University Dataset Research Use Agreement",
    use="Non-commercial research by the person who signed; no redistribution.",
    where="Stanford AIMI, MURA; arXiv:1712.06957",
    languages="none",
    labels="abnormal (by study)",
    patients="patientNNNNN in the path, the same person in every XR_ folder",
    layout=(
        *_TABLES,
        Need(("*/train/XR_*/patient*/study*/image*.png",), "training films"),
        Need(("*/valid/XR_*/patient*/study*/image*.png",), "validation films"),
    ),
    tree="""\
MURA-v1.1/train_image_paths.csv         no header: MURA-v1.1/train/XR_WRIST/patient00006/study1_positive/image1.png
MURA-v1.1/train_labeled_studies.csv     no header: study path,1 (not read: the folder name says the same)
MURA-v1.1/valid_image_paths.csv
MURA-v1.1/valid_labeled_studies.csv
MURA-v1.1/train/XR_{ELBOW,FINGER,FOREARM,HAND,HUMERUS,SHOULDER,WRIST}/patient00006/study1_positive/image1.png
MURA-v1.1/valid/XR_.../patient11185/study1_negative/image1.png""",
    films=_films,
)
