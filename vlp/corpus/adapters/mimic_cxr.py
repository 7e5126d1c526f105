"""MIMIC-CXR and MIMIC-CXR-JPG 2.x (Johnson et al. 2019, doi:10.1038/s41597-019-0322-0): English reports.

Layout from memory of PhysioNet's pages. JPG needs the metadata table; without it the record list of the DICOM release
serves. Reports are text files, one a study, here split into sections; their blanks "___" stay. Labels are CheXpert's
(else NegBio's): -1 (uncertain) and empty (not mentioned) are unknown, but under "No Finding" what is not mentioned is
absent. Consolidation includes pneumonia, as in docs/labels.md; support devices are no orthopaedic hardware. Dates are
those of the release (shifted). Ages are not part of MIMIC-CXR. Not checked against a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from anonymize.languages import load_pack
from anonymize.sections import parser_of
from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import PHYSIONET, PHYSIONET_USE, Folder, Need, PublicSet
from vlp.corpus.adapters.tables import cell, iso_date, number
from vlp.corpus.anatomy import view_of


def _table(name: str, what: str, *columns: str, optional: bool = True) -> Need:
    return Need((f"*/{name}.csv.gz", f"*/{name}.csv"), what, columns, optional)


_FILMS = Need(
    tuple(f"*/{name}.csv{gz}" for name in ("mimic-cxr-2.*-metadata", "cxr-record-list") for gz in (".gz", "")),
    "table of films (JPG release: metadata; DICOM release: record list)",
    ("dicom_id", "subject_id", "study_id"),
)
_SPLIT = _table("mimic-cxr-2.*-split", "the authors' split", "dicom_id", "split")
_LABELS = (
    _table("mimic-cxr-2.*-chexpert", "labels by CheXpert", "study_id", "No Finding", "Pleural Effusion"),
    _table("mimic-cxr-2.*-negbio", "labels by NegBio, read where CheXpert's are missing", "study_id", "No Finding"),
)
_REPORTS = Need(("*/p1[0-9]/p1*/s*.txt",), "reports, one a study (mimic-cxr-reports.zip, unpacked)", optional=True)
_NAMES = {
    name.lower().replace("pleural ", ""): name
    for name in ("Fracture", "Pleural Effusion", "Cardiomegaly", "Pneumothorax")
}
_OTHER = ("Atelectasis", "Edema", "Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity", "Pleural Other")
_SPLITS = {"train": "train", "validate": "validation", "test": "test"}


def _labels(row: Mapping[str, str]) -> dict[str, float]:
    says = {name: number(cell(row, name)) for name in (*_NAMES.values(), *_OTHER, "Consolidation", "Pneumonia")}
    labels = {label: float(value) for label, name in _NAMES.items() if (value := says[name]) in (0, 1)}
    both = (says["Consolidation"], says["Pneumonia"])
    if 1 in both:
        labels["consolidation"] = 1.0
    elif both[0] == 0 and both[1] != -1:
        labels["consolidation"] = 0.0
    if 1 in says.values():
        labels["abnormal"] = 1.0
    elif number(cell(row, "No Finding")) == 1:
        labels = {**dict.fromkeys((*_NAMES, "consolidation"), 0.0), **labels, "abnormal": 0.0}
    return labels


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    parser = parser_of(load_pack("en"))
    reports = {path.rpartition("/")[2][1:-4]: path for path in folder.matches(_REPORTS)}
    unread = dict(reports)
    splits = {cell(row, "dicom_id"): _SPLITS.get(cell(row, "split"), "") for row in folder.rows(_SPLIT)}
    labeler = next((need for need in _LABELS if folder.matches(need)), _LABELS[0])
    labels = {cell(row, "study_id").removesuffix(".0"): _labels(row) for row in folder.rows(labeler)}
    for row in folder.rows(_FILMS):
        name, patient, study = (cell(row, column) for column in ("dicom_id", "subject_id", "study_id"))
        path = f"files/p{patient[:2]}/p{patient}/s{study}/{name}"
        image = folder.find(path, endings=(".jpg", ".dcm"))
        whole = ""
        if study in unread:
            whole = (folder.root / unread.pop(study)).read_bytes().decode("utf-8", errors="replace").strip()
        yield Film(
            image=image if name else "",
            anatomy="chest",
            patient=patient,
            study=study,
            view=view_of(cell(row, "ViewPosition"), [(cell(row, "ViewCodeSequence_CodeMeaning"), "en")]),
            date=iso_date(cell(row, "StudyDate")),
            text=Text("en", whole, **parser.parse(whole)) if whole else None,
            labels=labels.get(study, {}),
            split=splits.get(name, ""),
            fault="" if patient else "no_patient",
        )
    for study in unread:
        yield Film(f"s{study}.txt", text=Text("en", ""), fault="report_without_images", report_alone=True)


SET = PublicSet(
    name="mimic-cxr",
    title="MIMIC-CXR (JPG or DICOM)",
    licence=PHYSIONET,
    use=PHYSIONET_USE,
    where="PhysioNet, mimic-cxr-jpg and mimic-cxr; doi:10.1038/s41597-019-0322-0",
    languages="en",
    labels="effusion, consolidation, cardiomegaly, pneumothorax, fracture, abnormal",
    patients="subject_id; one study is study_id",
    layout=(_FILMS, Need(("*/s[0-9]*/*.jpg", "*/s[0-9]*/*.dcm"), "films"), _REPORTS, _SPLIT, *_LABELS),
    tree="""\
mimic-cxr-2.0.0-metadata.csv.gz     dicom_id,subject_id,study_id,...,ViewPosition,Rows,Columns,StudyDate,StudyTime,...
mimic-cxr-2.0.0-split.csv.gz        dicom_id,study_id,subject_id,split (train, validate, test)
mimic-cxr-2.0.0-chexpert.csv.gz     subject_id,study_id,Atelectasis,...,No Finding,...,Support Devices (1, 0, -1, empty)
mimic-cxr-2.0.0-negbio.csv.gz
files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg     (.dcm in the DICOM release)
files/p10/p10000032/s50414267.txt   from mimic-cxr-reports.zip; a folder of its own is as good
cxr-record-list.csv.gz              DICOM release: subject_id,study_id,dicom_id,path""",
    films=_films,
)
