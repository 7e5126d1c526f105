"""VinDr-CXR and VinDr-PCXR (children): DICOM without reports, labels by radiologists.

VinDr-CXR (Nguyen et al. 2022, doi:10.1038/s41597-022-01498-w): three radiologists read each training film; what two of
them see is present, what one sees is unknown, what none sees absent. Test films hold a consensus. VinDr-PCXR (Pham et
al. 2023, doi:10.1038/s41597-023-02102-5): one reader; the image labels are diagnoses, the findings stand in the boxes
of ``annotations_*.csv``. Every reader's boxes are kept, with the reader. They count pixels of the DICOM files, so films
that were converted get none. Patients are not given: near-duplicates count as one. Names of files and columns as public
code reads them; not checked against copies. Age and sex stand in the DICOM headers and are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from vlp.corpus.adapters.annotations import corners_of
from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import PHYSIONET, PHYSIONET_USE, Folder, Need, PublicSet, stated
from vlp.corpus.adapters.tables import cell, number
from vlp.corpus.source import DrawnBox

IMAGES = Need(("*/*.dicom", "*/*.dcm", "*/*.png", "*/*.jpg"), "films, <split>/<image_id>.dicom")
ENDINGS = (".dicom", ".dcm", ".png", ".jpg")
_LABELS = {
    "effusion": ("Pleural effusion",),
    "consolidation": ("Consolidation", "Pneumonia", "Brocho-pneumonia", "Pleuro-pneumonia"),
    "cardiomegaly": ("Cardiomegaly",),
    "pneumothorax": ("Pneumothorax",),
}
_BONES = {"fracture": ("Rib fracture", "Clavicle fracture")}


def split_tables(name: str, what: str, *columns: str) -> dict[str, Need]:
    return {
        split: Need((f"*/{name}{split}.csv",), f"{what} of the {split} films", columns, split == "test")
        for split in ("train", "test")
    }


_READ = split_tables("image_labels_", "labels", "image_id", "No finding")
_CORNERS = ("x_min", "y_min", "x_max", "y_max")
_BOXES = {
    split: Need((f"*/annotations_{split}.csv",), "boxes", ("image_id", "class_name", *_CORNERS), True)
    for split in _READ
}


def drawn_boxes(rows: Iterable[Mapping[str, str]], label: str, corners: Sequence[str]) -> dict[str, list[DrawnBox]]:
    """Boxes by ``image_id`` from rows with a column ``label`` and four of ``corners``; a row without any is no box."""
    found: dict[str, list[DrawnBox]] = {}
    for position, row in enumerate(rows, 2):
        cells = [cell(row, name) for name in corners]
        if any(cells):
            box = DrawnBox(cell(row, label), corners_of(cells), None, cell(row, "rad_id", "rad_ID"), position)
            found.setdefault(cell(row, "image_id"), []).append(box)
    return found


def of_original(image: str, boxes: Sequence[DrawnBox], notes: Counter[str]) -> tuple[DrawnBox, ...]:
    """``boxes`` where ``image`` is a DICOM file, whose pixels they count; else none, and a note."""
    if not boxes or image.endswith(ENDINGS[:2]):
        return tuple(boxes)
    notes["boxes_of_converted_films"] += len(boxes)
    return ()


def _votes(rows: list[set[str]], of: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Present where most readers see it, absent where none does, else unknown."""
    counts = Counter(label for names in rows for label in stated(names, of, exhaustive=False))
    return {label: float(n > 0) for label in of if (n := counts[label]) == 0 or 2 * n > len(rows)}


def _chest(folder: Folder, notes: Counter[str], *, bones: bool) -> Iterator[Film]:
    of = {**_LABELS, **(_BONES if bones else {})}
    for split, need in _READ.items():
        readers: dict[str, dict[str, set[str]]] = {}
        for number_, row in enumerate(folder.rows(need)):
            names = {name for name, value in row.items() if number(value) == 1}
            readers.setdefault(cell(row, "image_id"), {})[cell(row, "rad_id", "rad_ID") or str(number_)] = names
        boxes = drawn_boxes(folder.rows(_BOXES[split]), "class_name", _CORNERS)
        for row in folder.rows(_BOXES[split]) if not bones else ():
            for names in readers.get(cell(row, "image_id"), {}).values():
                names.add(cell(row, "class_name"))
        for name, seen in readers.items():
            rows = list(seen.values())
            normal = sum("No finding" in names for names in rows)
            labels = _votes(rows, of)
            if 2 * normal != len(rows):
                labels["abnormal"] = float(2 * normal < len(rows))
            image = folder.find(name, split, endings=ENDINGS) if name else ""
            own = of_original(image, boxes.pop(name, ()), notes)
            yield Film(image, "chest", view="PA" if bones else "", boxes=own, labels=labels, split=split)
        notes["boxes_without_film"] += sum(map(len, boxes.values()))


def _set(
    name: str, title: str, where: str, labels: str, layout: tuple[Need, ...], tree: str, *, bones: bool
) -> PublicSet:
    return PublicSet(
        name=name,
        title=title,
        licence=PHYSIONET,
        use=PHYSIONET_USE,
        where=where,
        languages="none",
        labels=labels,
        patients="not given; near-duplicates count as one",
        layout=layout,
        tree=tree,
        films=partial(_chest, bones=bones),
    )


_FOUND = ", ".join(_LABELS)
CXR = _set(
    "vindr-cxr",
    "VinDr-CXR",
    "PhysioNet, vindr-cxr; doi:10.13026/3akn-b287",
    f"{_FOUND}, fracture, abnormal",
    (*_READ.values(), *_BOXES.values(), IMAGES),
    """\
annotations/image_labels_train.csv      image_id,rad_id,<28 findings>,No finding          (three rows a film)
annotations/image_labels_test.csv       image_id,<28 findings>,No finding
annotations/annotations_{train,test}.csv    image_id,rad_id,class_name,x_min,y_min,x_max,y_max     (test without rad_id)
train/000434271f63a053c4128a0ba6352c7f.dicom
test/...""",
    bones=True,
)
PCXR = _set(
    "vindr-pcxr",
    "VinDr-PCXR, chest films of children",
    "PhysioNet, vindr-pcxr; doi:10.13026/k8qc-na36",
    f"{_FOUND}, abnormal",
    (*_READ.values(), *_BOXES.values(), IMAGES),
    """\
image_labels_train.csv                  image_id,rad_ID,No finding,Bronchitis,Brocho-pneumonia,...
image_labels_test.csv
annotations_{train,test}.csv            image_id,rad_ID,class_name,x_min,y_min,x_max,y_max,...
train/<image_id>.dicom
test/...""",
    bones=False,
)
