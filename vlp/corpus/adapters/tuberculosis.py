"""Montgomery County and Shenzhen chest films (Jaeger et al. 2014, doi:10.3978/j.issn.2223-4292.2014.11.20).

The last digit of the name says normal (0) or tuberculosis (1). ``ClinicalReadings`` holds a short English reading:
Montgomery three lines (sex, age as "027Y", finding), Shenzhen "male 45yrs" and the finding, with irregular blanks,
commas and units. The reading is the report. Lung masks are counted, not used. Layouts as the read-me files and public
code give them; not checked against copies. One film is one patient.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import Folder, Need, PublicSet
from vlp.corpus.adapters.tables import months, sex

_SEX = re.compile(r"\b(female|male|F|M)\b", re.IGNORECASE)
_AGE = re.compile(r"(\d{1,3})\s*-?\s*((?:y|m|w|d)[a-z]*)", re.IGNORECASE)
_FINDING_ABSENT = ("effusion", "consolidation", "cardiomegaly", "pneumothorax")


def reading(text: str) -> tuple[str, int | None, str]:
    """Sex, age in months and the finding of a reading; "", None and "" where they are missing."""
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]
    head = [line for line in lines if line.lower().startswith("patient")] or lines[:1]
    top = " ".join(line.partition(":")[2] or line for line in head)
    person, age = _SEX.search(top), _AGE.search(top)
    finding = " ".join(" ".join(line for line in lines if line not in head).split())
    return (
        sex(person.group(1)) if person else "",
        months("".join(age.groups())) if age else None,
        finding,
    )


def _films(folder: Folder, notes: Counter[str], *, prefix: str, layout: tuple[Need, ...]) -> Iterator[Film]:
    films, readings = layout[0], layout[1]
    texts = {path.rpartition("/")[2][:-4]: path for path in folder.matches(readings)}
    notes["masks_not_used"] += len(folder.matches(layout[2]))
    for path in folder.matches(films):
        name = path.rpartition("/")[2][:-4]
        found = re.fullmatch(rf"{prefix}_(\d{{4}})_([01])", name)
        if not found:
            yield Film(path, fault="unknown_file_name")
            continue
        data = (folder.root / texts.pop(name)).read_bytes() if name in texts else b""
        person, age, finding = reading(data.decode("utf-8-sig", errors="replace"))
        sick = found.group(2) == "1"
        yield Film(
            image=path,
            anatomy="chest",
            patient=found.group(1),
            view="PA",
            age_months=age,
            sex=person,
            text=Text("en", finding) if finding else None,
            labels={"abnormal": 1.0} if sick else dict.fromkeys((*_FINDING_ABSENT, "abnormal"), 0.0),
        )
    for path in texts.values():
        yield Film(path, text=Text("en", ""), fault="report_without_images", report_alone=True)


def _set(name: str, title: str, prefix: str, mask: str, tree: str) -> PublicSet:
    layout = (
        Need((f"*/CXR_png/{prefix}_*.png",), f"films, {prefix}_0001_0.png"),
        Need((f"*/ClinicalReadings/{prefix}_*.txt",), "readings, one a film"),
        Need((mask,), "lung masks, counted only", optional=True),
    )
    return PublicSet(
        name=name,
        title=title,
        licence="NLM terms: free for research with citation",
        use="Research with citation of Jaeger et al. 2014 and Candemir et al. 2014; no re-identification.",
        where="NLM, Lister Hill Center, tuberculosis chest X-ray sets; doi:10.3978/j.issn.2223-4292.2014.11.20",
        languages="en",
        labels="abnormal; of normal films also effusion, consolidation, cardiomegaly, pneumothorax (absent)",
        patients="one film each",
        layout=layout,
        tree=tree,
        films=partial(_films, prefix=prefix, layout=layout),
    )


MONTGOMERY = _set(
    "montgomery",
    "Montgomery County chest X-ray set",
    "MCUCXR",
    "*/ManualMask/*/MCUCXR_*.png",
    """\
MontgomerySet/CXR_png/MCUCXR_0001_0.png
MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt     Patient's Sex: F / Patient's Age: 027Y / normal
MontgomerySet/ManualMask/{leftMask,rightMask}/MCUCXR_0001_0.png""",
)
SHENZHEN = _set(
    "shenzhen",
    "Shenzhen chest X-ray set",
    "CHNCXR",
    "*/CHNCXR_*_mask.png",
    """\
ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png
ChinaSet_AllFiles/ClinicalReadings/CHNCXR_0001_0.txt     male 45yrs / normal""",
)
