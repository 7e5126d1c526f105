"""GRAZPEDWRI-DX (Nagy et al. 2022, doi:10.1038/s41597-022-01328-z): wrists of children, 16-bit PNG.

Columns as public loaders of ``dataset.csv`` read them. An empty flag means no. Projection 1 is the frontal view, which
is given as PA (the usual view of a wrist), 2 lateral, 3 oblique. Where the table calls the diagnosis uncertain and
shows no fracture, fracture stays unknown. Boxes come from ``folder_structure/``, of the YOLO files or else of the VOC
files, with the set's names ("text" is a side marker). Not checked against a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import Folder, Need, PublicSet, box_files
from vlp.corpus.adapters.tables import cell, months, number, sex

_TABLE = Need(
    ("*/dataset.csv",),
    "table of films",
    ("filestem", "patient_id", "study_number", "gender", "age", "laterality", "projection", "cast", "fracture_visible"),
)
_YOLO = Need(("*/yolov5/labels/*.txt", "*/labels/*_WRI-*.txt"), "boxes, YOLO", optional=True)
_VOC = Need(("*/pascalvoc/*.xml",), "boxes, PASCAL VOC", optional=True)
_NAMES = (  # of the classes by their number, as yolov5/meta.yaml lists them
    *("boneanomaly", "bonelesion", "foreignbody", "fracture", "metal"),
    *("periostealreaction", "pronatorsign", "softtissue", "text"),
)
_VIEWS = {"1": "PA", "2": "LAT", "3": "OBL"}


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    boxes = box_files(folder, notes, _YOLO, _VOC, _NAMES)
    for row in folder.rows(_TABLE):
        name, patient = cell(row, "filestem"), cell(row, "patient_id").removesuffix(".0")
        side = cell(row, "laterality").upper()
        flags = {column for column in ("fracture_visible", "cast", "metal") if number(cell(row, column)) == 1}
        labels = {"cast": float("cast" in flags), "hardware": float("metal" in flags)}
        if "fracture_visible" in flags or number(cell(row, "diagnosis_uncertain")) != 1:
            labels["fracture"] = float("fracture_visible" in flags)
        else:
            notes["uncertain_diagnosis"] += 1
        yield Film(
            image=folder.find(f"{name}.png") if name else "",
            anatomy="wrist",
            patient=patient,
            study=f"{patient}/{cell(row, 'study_number').removesuffix('.0')}/{side}",
            view=_VIEWS.get(cell(row, "projection").removesuffix(".0"), ""),
            laterality=side if side in ("L", "R") else "",
            boxes=boxes(name),
            spacing_mm=number(cell(row, "pixel_spacing")) or None,
            age_months=months(cell(row, "age")),
            sex=sex(cell(row, "gender")),
            labels=labels,
            fault="" if patient else "no_patient",
        )


SET = PublicSet(
    name="grazpedwri-dx",
    title="GRAZPEDWRI-DX, paediatric wrist trauma",
    licence="CC BY 4.0",
    use="Free with attribution (Nagy et al. 2022).",
    where="figshare doi:10.6084/m9.figshare.14825193",
    languages="none",
    labels="fracture, cast, hardware",
    patients="patient_id; one study is patient_id, study_number and side",
    layout=(_TABLE, Need(("*/images_part[1-4]/*.png", "*/images/*.png"), "films, <filestem>.png"), _YOLO, _VOC),
    tree="""\
dataset.csv          filestem,patient_id,study_number,timehash,gender,age,laterality,projection,initial_exam,
                     ao_classification,cast,diagnosis_uncertain,osteopenia,fracture_visible,metal,pixel_spacing,
                     device_manufacturer
images_part1/0001_1297860395_01_WRI-L1_M014.png      (images_part1 to images_part4)
folder_structure/yolov5/labels/<filestem>.txt        boxes
folder_structure/pascalvoc/<filestem>.xml            boxes, read where there are no YOLO files
folder_structure/supervisely/...                     not read""",
    films=_films,
)
