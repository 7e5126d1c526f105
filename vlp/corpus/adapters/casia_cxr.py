"""CASIA-CXR (Metmer & Yang 2024, Neurocomputing, "An open chest X-ray dataset ... in French"; casia-cxr.net).

Names of folders, tables and columns as public code that reads the five ``CASIA-CXR_<class>_Reports.csv`` gives them
(class folders; trailing columns ``EndHere`` and ``#``; placeholder rows without ExamID). Where the images lie below a
class folder, and what ImageID looks like, could not be verified: an image is looked for by its ImageID, with or without
ending, in the class folder first. The class folder states its own finding only; the others stay unknown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import Folder, Need, PublicSet
from vlp.corpus.adapters.tables import cell, iso_date, months, sex
from vlp.corpus.anatomy import view_of

_CLASSES = {
    "Cardiomegaly": "cardiomegaly",
    "Mass": "",
    "PleuralEffusion": "effusion",
    "Pneumonia": "consolidation",
    "Pneumothorax": "pneumothorax",
}
_COLUMNS = ("ExamID", "ImageID", "PatientID", "Findings", "Impression")
_TABLES = {name: Need((f"*/CASIA-CXR_{name}_Reports.csv",), f"reports of {name}", _COLUMNS, True) for name in _CLASSES}
_ENDINGS = ("", ".jpg", ".jpeg", ".png", ".JPG", ".dcm")


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for name, need in _TABLES.items():
        for row in folder.rows(need):
            exam, image = cell(row, "ExamID"), cell(row, "ImageID").replace("\\", "/")
            if not exam and not image:
                notes["placeholder_rows"] += 1  # as released: filled columns EndHere and # only
                continue
            found = folder.find(image, f"CASIA-CXR_{name}/", endings=_ENDINGS)
            sections = {
                "indication": cell(row, "Indication"),
                "comparison": cell(row, "Comparison"),
                "results": cell(row, "Findings"),
                "conclusion": cell(row, "Impression"),
            }
            # the release separates sentences by slashes; a slash between digits is a fraction or a date
            sections = {key: re.sub(r"\s*(?<!\d)/(?!\d)\s*", " ", text).strip() for key, text in sections.items()}
            whole = "\n".join(filter(None, sections.values()))
            reported = sections["results"] or sections["conclusion"]
            label = _CLASSES[name]
            yield Film(
                image=found if image else "",
                anatomy="chest",
                patient=cell(row, "PatientID"),
                # an examination may stand in several classes; whether numbers begin anew in each is not known
                study=f"{cell(row, 'PatientID')}/{exam}",
                view=view_of(cell(row, "PositionView", "Projection"), [(cell(row, "Projection"), "")]),
                date=iso_date(cell(row, "StudyDate")),
                age_months=months(cell(row, "PatientAge")),
                sex=sex(cell(row, "PatientGender")),
                text=Text("fr", whole, **sections) if reported else None,
                labels={"abnormal": 1.0, **({label: 1.0} if label else {})},
                site=f"casia-cxr {name.lower()}",
                fault="" if cell(row, "PatientID") else "no_patient",
            )


SET = PublicSet(
    name="casia-cxr",
    title="CASIA-CXR, chest films with French reports",
    licence="terms on casia-cxr.net (not verified)",
    use="Read the terms on the page before use; treat as research only, no redistribution.",
    where="casia-cxr.net; Metmer & Yang 2024, Neurocomputing",
    languages="fr",
    labels="cardiomegaly, effusion, consolidation, pneumothorax (present only), abnormal",
    patients="PatientID; one study is ExamID",
    layout=(
        Need(("*/CASIA-CXR_*_Reports.csv",), "reports, one table a class; any of the five will do", _COLUMNS),
        *_TABLES.values(),
        Need(("*/CASIA-CXR_*/*.jpg", "*/CASIA-CXR_*/*.jpeg", "*/CASIA-CXR_*/*.png"), "images below the class folders"),
    ),
    tree="""\
CASIA-CXR_Cardiomegaly/CASIA-CXR_Cardiomegaly_Reports.csv    ExamID,ImageID,PatientID,ImageDir,StudyDate,PatientAge,
    PatientGender,PatientPosition,PositionView,Projection,ProjectionMethod,ImageWidth,ImageHeight,ReportID,Findings,
    Indication,Comparison,Impression
CASIA-CXR_Cardiomegaly/.../<ImageID>.jpg                     (place below the class folder not verified)
CASIA-CXR_{Mass,PleuralEffusion,Pneumonia,Pneumothorax}/...""",
    films=_films,
)
