"""VinDr-SpineXR (Nguyen et al. 2021, arXiv:2106.12930): spine films in DICOM, one row a box, "No finding" without.

Names of files and columns after the authors' own loader (vinbigdata-medical/vindr-spinexr); not checked against a copy.
A study counts as one patient. Labels are the lesions that boxes name; a collapsed vertebra counts as a fracture. Boxes
count pixels of the DICOM files, so films that were converted get none. Age and sex stand in the DICOM headers and are
not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import PHYSIONET_USE, Folder, PublicSet, stated
from vlp.corpus.adapters.tables import cell
from vlp.corpus.adapters.vindr import ENDINGS, IMAGES, drawn_boxes, of_original, split_tables

_LESIONS = {"fracture": ("Fracture", "Vertebral collapse"), "hardware": ("Surgical implant",)}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_BOXES = split_tables("", "boxes", "image_id", "study_id", "lesion_type", *_CORNERS)


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for split, need in _BOXES.items():
        films: dict[tuple[str, str], set[str]] = {}
        for row in folder.rows(need):
            films.setdefault((cell(row, "image_id"), cell(row, "study_id")), set()).add(cell(row, "lesion_type"))
        boxes = drawn_boxes(folder.rows(need), "lesion_type", _CORNERS)
        for (name, study), lesions in films.items():
            image = folder.find(name, split, endings=ENDINGS) if name else ""
            yield Film(
                image=image,
                anatomy="spine",
                patient=study,
                study=study,
                boxes=of_original(image, boxes.pop(name, ()), notes),
                labels={**stated(lesions, _LESIONS, exhaustive=True), "abnormal": float(lesions != {"No finding"})},
                split=split,
                fault="" if study else "no_patient",
            )


SET = PublicSet(
    name="vindr-spinexr",
    title="VinDr-SpineXR",
    licence="PhysioNet, restricted access; terms on the page",
    use=PHYSIONET_USE,
    where="PhysioNet, vindr-spinexr; doi:10.13026/q45h-5h59",
    languages="none",
    labels="fracture, hardware, abnormal",
    patients="study_id",
    layout=(*_BOXES.values(), IMAGES),
    tree="""\
annotations/train.csv                   image_id,study_id,series_id,rad_id,lesion_type,xmin,ymin,xmax,ymax
annotations/test.csv
train_images/<image_id>.dicom
test_images/...""",
    films=_films,
)
