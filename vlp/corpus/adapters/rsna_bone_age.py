"""RSNA Pediatric Bone Age Challenge 2017 (Halabi et al. 2019, doi:10.1148/radiol.2018180736).

Two layouts are in use: that of the challenge (training, validation and test set in folders of their own) and that of
the Kaggle copy. Column names as public loaders of both read them; the test table of the challenge is an XLSX file.
Neither was checked against a copy of the whole set. There is one film a patient; chronological age is not given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import Folder, Need, PublicSet
from vlp.corpus.adapters.tables import cell, number, sex

_TRAIN = Need(("*/boneage-training-dataset.csv", "*/train.csv"), "training table", ("id", "boneage", "male"))
_VALIDATION = Need(
    ("*/Validation Dataset.csv",), "validation table", ("Image ID", "male", "Bone Age (months)"), optional=True
)
_TEST = Need(
    ("*/Bone age ground truth.xlsx", "*/Bone age ground truth.csv", "*/test.xlsx", "*/boneage-test-dataset.csv"),
    "test table; that of the Kaggle copy has no bone ages",
    ("Case ID", "Sex"),
    optional=True,
)
_FOLDERS = {"train": ("train",), "validation": ("alidation", "val"), "test": ("test", "Test")}


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for split, need in (("train", _TRAIN), ("validation", _VALIDATION), ("test", _TEST)):
        for row in folder.rows(need):
            name = cell(row, "id", "Image ID", "Case ID").removesuffix(".0")
            age = number(cell(row, "boneage", "Bone Age (months)", "Ground truth bone age (months)"))
            male = {"true": "M", "1": "M", "false": "F", "0": "F"}.get(cell(row, "male").lower(), "")
            yield Film(
                image=folder.find(f"{name}.png", *_FOLDERS[split]) if name else "",
                anatomy="hand",
                patient=name,
                view="PA",
                laterality="L",
                sex=male or sex(cell(row, "Sex")),
                labels={} if age is None else {"bone_age_months": age},
                split=split,
            )


SET = PublicSet(
    name="rsna-bone-age",
    title="RSNA Pediatric Bone Age Challenge",
    licence="RSNA challenge terms of use",
    use="Non-commercial research with attribution; no redistribution of images.",
    where="RSNA, AI Challenge 2017 (Pediatric Bone Age); doi:10.1148/radiol.2018180736",
    languages="none",
    labels="bone_age_months, sex",
    patients="one film each",
    layout=(
        _TRAIN,
        Need(("*train*/[0-9]*.png",), "training films, NNNN.png"),
        _VALIDATION,
        _TEST,
    ),
    tree="""\
boneage-training-dataset.csv            id,boneage,male            (challenge: train.csv)
boneage-training-dataset/boneage-training-dataset/1377.png
Bone Age Validation Set/Validation Dataset.csv    Image ID,male,Bone Age (months)
Bone Age Validation Set/boneage-validation-dataset-1/1386.png
Bone Age Test Set/Bone age ground truth.xlsx      Case ID,Sex,Ground truth bone age (months)
Bone Age Test Set/Test Set Images/4360.png""",
    films=_films,
)
