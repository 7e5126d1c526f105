"""COVID-19 image data collection (Cohen et al. 2020, arXiv:2006.11988): chest films with English clinical notes.

Columns as the collection's repository documents them and the part that this project's development set holds. CT slices
are refused as not_a_radiograph. ``finding`` is the patient's diagnosis, not what the film shows: only "No Finding" gives
labels (all absent), as in configs/mappings/xray-open.yaml. The notes are case histories that can give the diagnosis
away; names of their authors ("Credit to ...", "Case courtesy of ...") are cut. Licences differ by image: they are
counted in the notes of the card.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import Folder, Need, PublicSet
from vlp.corpus.adapters.tables import cell, iso_date, months, sex

_TABLE = Need(
    ("*/metadata.csv",),
    "table of images",
    ("patientid", "sex", "age", "finding", "view", "modality", "folder", "filename", "license", "clinical_notes"),
)
_ABSENT = ("effusion", "consolidation", "cardiomegaly", "pneumothorax", "abnormal")
_VIEWS = {"L": "LAT", "PA": "PA"}
_CREDITS = re.compile(r"\s*(?:Credit to|Case courtesy of) .*$", re.DOTALL)


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for row in folder.rows(_TABLE):
        name, view, patient = cell(row, "filename"), cell(row, "view"), cell(row, "patientid")
        radiograph = cell(row, "modality").lower() in ("x-ray", "xray", "")
        said = _CREDITS.sub("", cell(row, "clinical_notes"))
        where = f"{cell(row, 'folder') or 'images'}/{name}"
        if radiograph:
            notes[f"licence {cell(row, 'license') or 'not stated'}"] += 1
        yield Film(
            image=folder.find(where) if name else "",
            anatomy="chest",
            patient=patient,
            view="AP" if view.startswith("AP") else _VIEWS.get(view, ""),
            date=iso_date(cell(row, "date")),
            age_months=months(cell(row, "age")),
            sex=sex(cell(row, "sex")),
            text=Text("en", said) if said else None,
            labels=dict.fromkeys(_ABSENT, 0.0) if cell(row, "finding") == "No Finding" else {},
            fault="" if radiograph and patient else "no_patient" if radiograph else "not_a_radiograph",
        )


SET = PublicSet(
    name="covid-19-collection",
    title="COVID-19 image data collection",
    licence="per image: CC BY, CC BY-NC-SA, CC BY-SA, CC0 and others (column license)",
    use="Research; some images are non-commercial and share-alike, so the corpus as a whole is.",
    where="github.com/ieee8023/covid-chestxray-dataset; arXiv:2006.11988",
    languages="en",
    labels="effusion, consolidation, cardiomegaly, pneumothorax, abnormal (absent only)",
    patients="patientid",
    layout=(_TABLE, Need(("*/images/*.[pj][np]*g",), "images (the folder images/ of the repository)")),
    tree="""\
metadata.csv      patientid,offset,sex,age,finding,...,view,modality,date,location,folder,filename,doi,url,license,
                  clinical_notes,other_notes,
images/000001-1.jpg
volumes/...       CT, not read""",
    films=_films,
)
