"""FracAtlas (Abedeen et al. 2023, doi:10.1038/s41597-023-02432-4): limbs, hips and shoulders with and without fracture.

Folders, ``image_id`` and ``fractured`` as public loaders read them, the other columns from memory; not checked against
a copy. Patients are not given: films that nearly equal one another count as one patient. "leg" covers knees, lower
legs, ankles and feet, hence extremity. Boxes come from ``Annotations/``, of the COCO file, else of the VOC, else of the
YOLO files; masks are not read. The set's own split covers the films with a fracture only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from vlp.corpus.adapters.annotations import BadAnnotations, read_coco
from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import Folder, Need, PublicSet, box_files
from vlp.corpus.adapters.tables import cell
from vlp.corpus.source import DrawnBox

_TABLE = Need(
    ("*/dataset.csv",), "table of films", ("image_id", "hand", "hardware", "fractured", "frontal", "lateral", "oblique")
)
_COCO = Need(("*/COCO JSON/*.json",), "boxes, COCO", optional=True)
_VOC = Need(("*/PASCAL VOC/*.xml",), "boxes, PASCAL VOC", optional=True)
_YOLO = Need(("*/YOLO/*.txt",), "boxes, YOLO", optional=True)
_VIEWS = {"frontal": "AP", "lateral": "LAT", "oblique": "OBL"}  # frontal as in the words of the language packs
_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_SPLIT_TABLES = {
    part: Need((f"*/Fracture Split/{part}.csv",), f"the authors' {part} films", ("image_id",), optional=True)
    for part in _SPLITS
}


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    splits = {cell(row, "image_id"): _SPLITS[part] for part, need in _SPLIT_TABLES.items() for row in folder.rows(need)}
    boxes = _boxes(folder, notes)
    for row in folder.rows(_TABLE):
        name = cell(row, "image_id")
        flags = {column for column, value in row.items() if value.strip() in ("1", "1.0")}
        views = [view for column, view in _VIEWS.items() if column in flags]
        known = {"fracture": "fractured", "hardware": "hardware"}
        labels = {label: float(column in flags) for label, column in known.items() if cell(row, column)}
        parts = {"hand", "leg", "hip", "shoulder", "mixed"} & flags
        yield Film(
            image=folder.find(name, "Fractured" if "fractured" in flags else "Non_fractured") if name else "",
            anatomy="hand" if parts == {"hand"} else "extremity",
            view=views[0] if len(views) == 1 else "",
            boxes=boxes(name),
            labels=labels,
            split=splits.get(name, ""),
        )


def _boxes(folder: Folder, notes: Counter[str]) -> Callable[[str], tuple[DrawnBox, ...]]:
    for path in folder.matches(_COCO)[:1]:
        try:
            found = read_coco(folder.root / path)
        except BadAnnotations:
            notes["unreadable_box_files"] += 1
        else:
            return lambda name: tuple(found.get(name, ()))
    others = box_files(folder, notes, _VOC, _YOLO, ("fractured",))
    return lambda name: others(name.rpartition(".")[0])


SET = PublicSet(
    name="fracatlas",
    title="FracAtlas",
    licence="CC BY 4.0",
    use="Free with attribution (Abedeen et al. 2023).",
    where="figshare doi:10.6084/m9.figshare.22363012",
    languages="none",
    labels="fracture, hardware",
    patients="not given; near-duplicates count as one",
    layout=(
        _TABLE,
        Need(("*/images/Fractured/*.jpg",), "films with a fracture"),
        Need(("*/images/Non_fractured/*.jpg",), "films without"),
        *_SPLIT_TABLES.values(),
        *(_COCO, _VOC, _YOLO),
    ),
    tree="""\
FracAtlas/dataset.csv                   image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,
                                        fracture_count,frontal,lateral,oblique
FracAtlas/images/Fractured/IMG0000019.jpg
FracAtlas/images/Non_fractured/IMG0000000.jpg
FracAtlas/Utilities/Fracture Split/{train,valid,test}.csv    image_id (films with a fracture only)
FracAtlas/Annotations/COCO JSON/COCO_fracture_masks.json     boxes
FracAtlas/Annotations/PASCAL VOC/IMG0000019.xml              boxes, read where there is no COCO file
FracAtlas/Annotations/YOLO/IMG0000019.txt                    boxes, read where there is neither""",
    films=_films,
)
