"""Indiana University chest X-rays on Open-i (Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080): English reports.

Two layouts: the XML reports (``ecgen-radiology/N.xml``) with PNG (or DICOM-named) images of Open-i, and the common CSV
re-release (``indiana_reports.csv``, ``indiana_projections.csv``). Removed words stand as XXXX in the texts. Labels come
from the MeSH terms that two coders gave each report, so a finding that is not coded counts as absent; "no indexing"
and bad image quality say nothing. One report is one patient. Not checked against a copy of the whole set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import Folder, Need, PublicSet, stated
from vlp.corpus.adapters.tables import cell
from vlp.corpus.anatomy import view_of

_XML = Need(("*/ecgen-radiology/*.xml",), "reports of Open-i", optional=True)
_TABLE = Need(
    ("*/indiana_reports.csv",), "reports of the CSV release", ("uid", "findings", "impression"), optional=True
)
_IMAGES = Need(
    ("*/indiana_projections.csv",), "images of the CSV release", ("uid", "filename", "projection"), optional=True
)
_LABELS = {
    "effusion": ("pleural effusion",),
    "consolidation": ("consolidation", "pneumonia"),
    "cardiomegaly": ("cardiomegaly",),
    "pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "fracture": ("fractures, bone",),
    "scoliosis": ("scoliosis",),
}
_SECTIONS = {"indication": "indication", "comparison": "comparison", "findings": "results", "impression": "conclusion"}


def _labels(terms: list[str]) -> dict[str, float]:
    names = {term.partition("/")[0].strip().lower() for term in terms} - {""}
    if not names or names & {"no indexing", "technical quality of image unsatisfactory"}:
        return {}
    return {**stated(names, _LABELS, exhaustive=True), "abnormal": float(names != {"normal"})}


def _text(sections: dict[str, str]) -> Text | None:
    """A report needs findings or impression: with a reason for the examination alone there is nothing to learn."""
    filled = {_SECTIONS[name]: text for name, text in sections.items() if text}
    if not filled.get("results") and not filled.get("conclusion"):
        return None
    return Text("en", "\n".join(f"{name.upper()}: {text}" for name, text in sections.items() if text), **filled)


def _study(uid: str, images: list[tuple[str, str]], text: Text | None, labels: dict[str, float]) -> Iterator[Film]:
    for number, (image, view) in enumerate(images):
        yield Film(image, "chest", uid, uid, view=view, text=None if number else text, labels=labels)
    if text and not images:
        yield Film(uid, text=text, fault="report_without_images", report_alone=True)


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    for path in folder.matches(_XML):
        try:
            report: Element = fromstring((folder.root / path).read_bytes())
        except (ParseError, DefusedXmlException, ValueError, OSError):
            yield Film(path, text=Text("en", ""), fault="unreadable_report", report_alone=True)
            continue
        spoken = {e.get("Label", "").lower(): (e.text or "").strip() for e in report.iter("AbstractText")}
        terms = [e.text or "" for e in report.iter("major")]
        names = [e.get("id", "") for e in report.iter("parentImage")]
        images = [(folder.find(f"{name}.png"), "") for name in dict.fromkeys(names) if name]
        text = _text({name: spoken.get(name, "") for name in _SECTIONS})
        yield from _study(Path(path).stem, images, text, _labels(terms))
    if folder.matches(_XML):
        return
    shown: dict[str, list[tuple[str, str]]] = {}
    for row in folder.rows(_IMAGES):
        image = (folder.find(cell(row, "filename")), view_of("", [(cell(row, "projection"), "en")]))
        shown.setdefault(cell(row, "uid"), []).append(image)
    for row in folder.rows(_TABLE):
        uid = cell(row, "uid")
        text = _text({name: cell(row, name) for name in _SECTIONS})
        yield from _study(uid, shown.pop(uid, []), text, _labels(cell(row, "MeSH").split(";")))
    for uid, images in shown.items():
        yield from _study(uid, images, None, {})


SET = PublicSet(
    name="iu-xray",
    title="Indiana University chest X-rays (Open-i)",
    licence="CC BY-NC-ND 4.0 (as each report's XML states)",
    use="Non-commercial, with attribution; no redistribution of altered copies, which a corpus is.",
    where="NLM Open-i, NLMCXR collection; doi:10.1093/jamia/ocv080",
    languages="en",
    labels="effusion, consolidation, cardiomegaly, pneumothorax, fracture, scoliosis, abnormal",
    patients="one report each",
    layout=(
        Need((*_XML.patterns, *_TABLE.patterns), "reports: the XML of Open-i or the CSV release"),
        Need(("*/CXR*.png", "*/*.dcm.png"), "images of the release that the reports are from"),
        _IMAGES,
    ),
    tree="""\
NLMCXR_reports/ecgen-radiology/1.xml     AbstractText (COMPARISON, INDICATION, FINDINGS, IMPRESSION), MeSH, parentImage
NLMCXR_png/CXR1_1_IM-0001-3001.png
or
indiana_reports.csv                      uid,MeSH,Problems,image,indication,comparison,findings,impression
indiana_projections.csv                  uid,filename,projection (Frontal, Lateral)
images/images_normalized/1_IM-0001-4001.dcm.png""",
    films=_films,
)
