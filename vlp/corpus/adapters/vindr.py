"""VinDr-CXR, VinDr-PCXR (children) and VinDr-SpineXR: DICOM without reports, labels by radiologists.

VinDr-CXR (Nguyen et al. 2022, doi:10.1038/s41597-022-01498-w): three radiologists read each training film; what two of
them see is present, what one sees is unknown, what none sees absent. Test films hold a consensus. VinDr-PCXR (Pham et
al. 2023, doi:10.1038/s41597-023-02102-5): one reader; the image labels are diagnoses, the findings stand in the boxes
of ``annotations_*.csv``. VinDr-SpineXR (Nguyen et al. 2021, arXiv:2106.12930): one row a box, "No finding" without.
Patients are not given in CXR and PCXR (near-duplicates count as one); in SpineXR a study counts as one patient.
Names of files and columns as public code reads them, the spine's after the authors' own loader; not checked against
copies. Of the boxes only the finding they name is used. Age and sex stand in the DICOM headers and are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from vlp.corpus.adapters.films import Film
from vlp.corpus.adapters.public import PHYSIONET, PHYSIONET_USE, Folder, Need, PublicSet, stated
from vlp.corpus.adapters.tables import cell, number

_IMAGES = Need(("*/*.dicom", "*/*.dcm", "*/*.png", "*/*.jpg"), "films, <split>/<image_id>.dicom")
_LABELS = {
    "effusion": ("Pleural effusion",),
    "consolidation": ("Consolidation", "Pneumonia", "Brocho-pneumonia", "Pleuro-pneumonia"),
    "cardiomegaly": ("Cardiomegaly",),
    "pneumothorax": ("Pneumothorax",),
}
_BONES = {"fracture": ("Rib fracture", "Clavicle fracture")}
_SPINE = {"fracture": ("Fracture", "Vertebral collapse"), "hardware": ("Surgical implant",)}


def _tables(name: str, what: str, *columns: str) -> dict[str, Need]:
    return {
        split: Need((f"*/{name}{split}.csv",), f"{what} of the {split} films", columns, split == "test")
        for split in ("train", "test")
    }


_READ = _tables("image_labels_", "labels", "image_id", "No finding")
_BOXES = {split: Need((f"*/annotations_{split}.csv",), "boxes", ("image_id", "class_name"), True) for split in _READ}
_SPINE_BOXES = _tables("", "boxes", "image_id", "study_id", "lesion_type")


def _image(folder: Folder, name: str, split: str) -> str:
    ends = (".dicom", ".dcm", ".png", ".jpg")
    return next((p for e in ends if (p := folder.find(name + e, split)) != name + e), f"{split}/{name}.dicom")


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
        for row in folder.rows(_BOXES[split]) if not bones else ():
            for names in readers.get(cell(row, "image_id"), {}).values():
                names.add(cell(row, "class_name"))
        for name, seen in readers.items():
            rows = list(seen.values())
            normal = sum("No finding" in names for names in rows)
            labels = _votes(rows, of)
            if 2 * normal != len(rows):
                labels["abnormal"] = float(2 * normal < len(rows))
            image = _image(folder, name, split) if name else ""
            yield Film(image, "chest", view="PA" if bones else "", labels=labels, split=split)


def _spine(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for split, need in _SPINE_BOXES.items():
        films: dict[tuple[str, str], set[str]] = {}
        for row in folder.rows(need):
            films.setdefault((cell(row, "image_id"), cell(row, "study_id")), set()).add(cell(row, "lesion_type"))
        for (name, study), lesions in films.items():
            labels = stated(lesions, _SPINE, exhaustive=True)
            labels["abnormal"] = float(lesions != {"No finding"})
            image = _image(folder, name, split) if name else ""
            yield Film(image, "spine", study, study, labels=labels, split=split, fault="" if study else "no_patient")


def _set(short: str, title: str, where: str, labels: str, needs: dict[str, Need], tree: str, read) -> PublicSet:  # pyright: ignore
    patients = "study_id" if short == "spinexr" else "not given; near-duplicates count as one"
    layout = (*needs.values(), *(_BOXES.values() if short == "pcxr" else ()), _IMAGES)
    use = PHYSIONET_USE
    return PublicSet(f"vindr-{short}", title, PHYSIONET, use, where, "none", labels, patients, layout, tree, read)


_FOUND = ", ".join(_LABELS)
CXR = _set(
    "cxr",
    "VinDr-CXR",
    "PhysioNet, vindr-cxr; doi:10.13026/3akn-b287",
    f"{_FOUND}, fracture, abnormal",
    _READ,
    """\
annotations/image_labels_train.csv      image_id,rad_id,<28 findings>,No finding          (three rows a film)
annotations/image_labels_test.csv       image_id,<28 findings>,No finding
annotations/annotations_{train,test}.csv    boxes, not read
train/000434271f63a053c4128a0ba6352c7f.dicom
test/...""",
    partial(_chest, bones=True),
)
PCXR = _set(
    "pcxr",
    "VinDr-PCXR, chest films of children",
    "PhysioNet, vindr-pcxr; doi:10.13026/k8qc-na36",
    f"{_FOUND}, abnormal",
    _READ,
    """\
image_labels_train.csv                  image_id,rad_ID,No finding,Bronchitis,Brocho-pneumonia,...
image_labels_test.csv
annotations_{train,test}.csv            image_id,rad_ID,class_name,...
train/<image_id>.dicom
test/...""",
    partial(_chest, bones=False),
)
SPINEXR = _set(
    "spinexr",
    "VinDr-SpineXR",
    "PhysioNet, vindr-spinexr; doi:10.13026/q45h-5h59",
    "fracture, hardware, abnormal",
    _SPINE_BOXES,
    """\
annotations/train.csv                   image_id,study_id,series_id,rad_id,lesion_type,xmin,ymin,xmax,ymax
annotations/test.csv
train_images/<image_id>.dicom
test_images/...""",
    _spine,
)
