"""NIH ChestX-ray14 (Wang et al. 2017, doi:10.1109/CVPR.2017.369): chest films, findings mined from reports.

Names of files and columns as torchxrayvision's loader reads them, those of width and spacing from memory; findings,
ages and views were checked on 181 real rows (tests/test_adapters_real.py), not on a copy. The 14 findings are
exhaustive: one that is not listed counts as absent. Pneumonia counts as consolidation, as in docs/labels.md. Ages of
148 to 414 years and those without meaning stay unknown; older releases write "058Y". Films were resized to 1024 x 1024,
so the spacing is that of the original times its size / 1024, and given only where both axes agree within 2 %. Boxes
(BBox_List_2017.csv: x, y, width, height in these 1024 pixels) are of 984 findings; a film without one may show as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from vlp.corpus.adapters.annotations import corners_of
from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import Folder, Need, PublicSet, stated
from vlp.corpus.adapters.tables import cell, months, number, read_table, sex
from vlp.corpus.source import DrawnBox

_TABLE = Need(
    ("*/Data_Entry_2017_v2020.csv", "*/Data_Entry_2017.csv", "*/Data_Entry_2017*.csv.gz"),
    "table of films",
    ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
)
_BOXES = Need(("*/BBox_List_2017.csv",), "boxes of 984 findings", ("Image Index", "Finding Label"), True)
_SPLITS = {
    "train": Need(("*/train_val_list.txt",), "the authors' training films", optional=True),
    "test": Need(("*/test_list.txt",), "the authors' test films", optional=True),
}
_LABELS = {
    "effusion": ("Effusion",),
    "consolidation": ("Consolidation", "Pneumonia"),
    "cardiomegaly": ("Cardiomegaly",),
    "pneumothorax": ("Pneumothorax",),
}
_SIDE = 1024  # pixels of a released film


def _spacing(row: Mapping[str, str]) -> float | None:
    names = ("OriginalImage[Width", "OriginalImagePixelSpacing[x", "Height]", "y]")
    width, across, height, down = (number(cell(row, name)) or 0.0 for name in names)
    x, y = width * across / _SIDE, height * down / _SIDE
    return x if x > 0 and abs(x - y) <= 0.02 * x else None


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    splits: dict[str, str] = {}
    for split, need in _SPLITS.items():
        for path in folder.matches(need)[:1]:
            splits.update({row["name"].strip(): split for row in read_table(folder.root / path, header=("name",))})
    boxes = _boxes(folder)
    for row in folder.rows(_TABLE):
        name, patient = cell(row, "Image Index"), cell(row, "Patient ID")
        findings = {finding.strip() for finding in cell(row, "Finding Labels").split("|")} - {""}
        labels = stated(findings, _LABELS, exhaustive=True) if findings else {}
        if findings:
            labels["abnormal"] = float(findings != {"No Finding"})
        yield Film(
            image=folder.find(name) if name else "",
            anatomy="chest",
            patient=patient,
            view={"PA": "PA", "AP": "AP"}.get(cell(row, "View Position"), ""),
            spacing_mm=_spacing(row),
            boxes=tuple(boxes.pop(name, ())),
            age_months=months(cell(row, "Patient Age")),
            sex=sex(cell(row, "Patient Gender")),
            labels=labels,
            split=splits.get(name, ""),
            fault="" if patient else "no_patient",
        )
    notes["boxes_without_film"] += sum(map(len, boxes.values()))


def _boxes(folder: Folder) -> dict[str, list[DrawnBox]]:
    found: dict[str, list[DrawnBox]] = {}
    for position, row in enumerate(folder.rows(_BOXES), 2):
        x, y, width, height = corners_of([cell(row, name) for name in ("Bbox [x", "y", "w", "h]")])
        corners = (x, y, x + width, y + height)
        box = DrawnBox(cell(row, "Finding Label"), corners, (_SIDE, _SIDE), position=position)
        found.setdefault(cell(row, "Image Index"), []).append(box)
    return found


SET = PublicSet(
    name="nih-chestxray14",
    title="NIH ChestX-ray14",
    licence="no restrictions stated; attribution asked",
    use="Free with attribution to the NIH Clinical Center, a link to the download site, and the citation.",
    where="NIH Clinical Center, ChestXray-NIHCC; doi:10.1109/CVPR.2017.369",
    languages="none",
    labels="effusion, consolidation, cardiomegaly, pneumothorax, abnormal",
    patients="Patient ID",
    layout=(_TABLE, Need(("*/[0-9]*_[0-9]*.png",), "films, 00000001_000.png"), *_SPLITS.values(), _BOXES),
    tree="""\
Data_Entry_2017_v2020.csv    (or Data_Entry_2017.csv) Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,
                             Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],
BBox_List_2017.csv           Image Index,Finding Label,Bbox [x,y,w,h],,,
train_val_list.txt           one name a line
test_list.txt
images_001/images/00000001_000.png      (images_001 to images_012, or all in images/)""",
    films=_films,
)
