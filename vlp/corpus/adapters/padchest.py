"""PadChest (Bustos et al. 2020, doi:10.1016/j.media.2020.101797): chest films with Spanish reports.

Columns as torchxrayvision reads them, the rest of the header and the folders from memory. The release's reports are
prepared text (lower case, words cut to stems, no accents), and 27 % of the labels are by hand, the others by a network
(column MethodLabel). A label that is not listed counts as absent, unless the report says "unchanged", "exclude" or
"suboptimal study". Healed rib fractures ("callus rib fracture") leave fracture unknown where nothing else is broken.
Birth is given as a year. Images are 16-bit PNG, either in the folders 0 to 54 of the release or flat. Not checked
against a copy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import Folder, Need, PublicSet, stated
from vlp.corpus.adapters.tables import cell, iso_date, number, sex

_TABLE = Need(
    ("*/PADCHEST_chest_x_ray_images_labels_160K*.csv", "*/PADCHEST_chest_x_ray_images_labels_160K*.csv.gz"),
    "table of films with reports and labels",
    ("ImageID", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "Projection", "Report", "Labels"),
)
_LABELS = {
    "effusion": ("pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax"),
    "consolidation": ("consolidation", "pneumonia", "atypical pneumonia"),
    "cardiomegaly": ("cardiomegaly",),
    "pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "fracture": ("fracture", "rib fracture", "clavicle fracture", "humeral fracture", "vertebral fracture"),
    "hardware": ("osteosynthesis material", "humeral prosthesis"),
    "scoliosis": ("scoliosis",),
}
_SILENT = {"unchanged", "exclude", "suboptimal study"}  # they say nothing about what is not listed
_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "LAT"}


def _labels(written: str) -> dict[str, float]:
    names = {name.strip().lower() for name in re.findall(r"['\"]([^'\"]+)['\"]", written)} - {""}
    if not names:
        return {}
    labels = stated(names, _LABELS, exhaustive=not names & _SILENT)
    if "callus rib fracture" in names and labels.get("fracture") == 0:
        del labels["fracture"]
    if names == {"normal"}:
        labels["abnormal"] = 0.0
    elif names - _SILENT - {"normal"}:
        labels["abnormal"] = 1.0
    return labels


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    told: set[tuple[str, str]] = set()
    for row in folder.rows(_TABLE):
        name, patient, study = cell(row, "ImageID"), cell(row, "PatientID"), cell(row, "StudyID")
        report, projection, date = cell(row, "Report"), cell(row, "Projection"), iso_date(cell(row, "StudyDate_DICOM"))
        birth = number(cell(row, "PatientBirth"))
        age = int(date[:4]) - int(birth) if date and birth else -1
        text = Text("es", report) if report and (study, report) not in told else None
        told.add((study, report))
        labels = _labels(cell(row, "Labels"))
        excluded = projection.upper() == "EXCLUDE"
        yield Film(
            image=folder.find(f"{cell(row, 'ImageDir').removesuffix('.0')}/{name}".lstrip("/")) if name else "",
            anatomy="chest",
            patient=patient,
            study=study,
            view=_VIEWS.get(projection, ""),
            date=date,
            age_months=12 * age if 0 <= age <= 120 else None,
            sex=sex(cell(row, "PatientSex_DICOM")),
            text=text,
            labels=labels,
            fault="excluded_by_the_set" if excluded else "" if patient else "no_patient",
        )


SET = PublicSet(
    name="padchest",
    title="PadChest",
    licence="PadChest Dataset Research Use Agreement",
    use="Non-commercial research by the person who signed; no redistribution.",
    where="BIMCV, PadChest; doi:10.1016/j.media.2020.101797",
    languages="es",
    labels="effusion, consolidation, cardiomegaly, pneumothorax, fracture, hardware, scoliosis, abnormal",
    patients="PatientID; one study is StudyID",
    layout=(_TABLE, Need(("*/*_*.png", "*/[0-9]*.png"), "films, <ImageDir>/<ImageID>")),
    tree="""\
PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv    (or .csv.gz) ImageID,ImageDir,StudyDate_DICOM,StudyID,
    PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,MethodProjection,Pediatric,...,
    ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS
0/20536686640136348236148679891455886468_k6ga29.png      (folders 0 to 54, unpacked, or all files in one folder)""",
    films=_films,
)
