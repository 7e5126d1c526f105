"""Figures of open-access articles, as a collector of PubMed Central or Open-i leaves them.

A collector writes ``figures.jsonl``, one figure a line::

    {"image": "images/PMC123_fig1.jpg", "pmcid": "PMC123", "licence": "CC BY 4.0", "language": "en",
     "caption": "Radiographs of ...",
     "subfigures": [{"box": [12, 8, 410, 520], "caption": "AP view of the left knee ...", "modality": "X-ray"}]}

``box`` is x0, y0, x1, y1 in pixels of the stored image, x1 and y1 excluded. Boxes are cut when the image is decoded, so
that coloured neighbours do not refuse a radiograph. Subfigures of a figure with the same caption are one study; a figure
without ``subfigures`` is one image with its whole caption. ``modality`` is optional. All studies of an article count as
one patient, because its figures show the same persons. Figures without a licence are refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from vlp.corpus.adapters.films import Film, Text
from vlp.corpus.adapters.public import Folder, Need, PublicSet
from vlp.corpus.anatomy import anatomy_of, laterality_of, view_of

_INDEX = Need(("*/figures.jsonl",), "index of figures, one JSON object a line", remedy="Run the collector again.")
_RADIOGRAPH = {"", "x-ray", "xray", "x ray", "radiograph", "radiography", "dr", "cr", "dx", "plain radiograph"}


def _box(written: Any) -> tuple[int, int, int, int] | None:
    """The box in whole pixels, None where it is none."""
    if not isinstance(written, list) or len(written) != 4:
        return None
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e6 for v in written):
        return None
    x0, y0, x1, y1 = (round(v) for v in written)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _films(folder: Folder, notes: Counter[str]) -> Iterator[Film]:
    index = folder.matches(_INDEX)[0]
    base = index.rpartition("/")[0]
    with (folder.root / index).open("rb") as lines:
        for position, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                figure = json.loads(line)
            except ValueError:
                figure = None
            if not isinstance(figure, dict):
                yield Film(f"{index}#{position}", fault="unreadable_row", position=position)
                continue
            yield from _figure(figure, base, position, notes)


def _figure(figure: dict[str, Any], base: str, position: int, notes: Counter[str]) -> Iterator[Film]:
    image, article, licence, language = (
        str(figure.get(key) or "").strip() for key in ("image", "pmcid", "licence", "language")
    )
    image = f"{base}/{image}" if base and image else image
    whole = {"caption": figure.get("caption")}
    told: set[str] = set()
    parts = figure.get("subfigures") or [whole]
    for part in parts if isinstance(parts, list) else [None]:
        known = part if isinstance(part, dict) else {}
        box, cut = _box(known.get("box")), known is not whole
        caption = " ".join(str(known.get("caption") or "").split())
        words = [(caption, language or "en")]
        modality = str(known.get("modality") or "").strip().lower()
        fault = (
            "no_patient" if not article else "no_licence" if not licence else "bad_box" if cut and box is None else ""
        )
        if not fault and modality not in _RADIOGRAPH:
            fault = "not_a_radiograph"
        if not fault:
            notes[f"licence {licence}"] += 1
        yield Film(
            image=image,
            anatomy=anatomy_of("", words),
            patient=article,
            study=f"{image}\0{caption}" if caption else "",
            view=view_of("", words),
            laterality=laterality_of("", words),
            box=box,
            text=Text(language or "en", caption) if caption and caption not in told else None,
            fault=fault,
            position=position,
        )
        told.add(caption)


SET = PublicSet(
    name="figures",
    title="Figures of open-access articles (PubMed Central, Open-i)",
    licence="per figure (field licence; counted in the notes of the card)",
    use="As each licence says; keep the PMCID for attribution. Non-commercial licences bind the corpus as a whole.",
    where="output of a collector, see docs/public-sets.md",
    languages="of the captions (field language)",
    labels="none; captions serve as reports",
    patients="one article (pmcid) counts as one patient",
    layout=(_INDEX, Need(("*/*.jpg", "*/*.jpeg", "*/*.png", "*/*.tif", "*/*.tiff"), "images of the figures")),
    tree="""\
figures.jsonl                  one figure a line: image, pmcid, licence, language, caption, subfigures
                               subfigures: box [x0, y0, x1, y1], caption, modality
images/PMC123_fig1.jpg         any path below the folder of figures.jsonl""",
    films=_films,
)
