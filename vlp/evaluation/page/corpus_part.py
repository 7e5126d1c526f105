"""What went in, what was refused, and a few studies to look at."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from anonymize.files import read_json
from anonymize.quarantine import read_quarantine
from vlp.corpus.dataset import Corpus
from vlp.study import SPLITS, Study

SECTIONS = ("indication", "technique", "comparison", "results", "conclusion")


def corpus_part(corpora: list[Path], safes: list[Path]) -> dict[str, Any] | None:
    """Counts, quarantine and examples of the run's corpus; None where there is none yet."""
    if not corpora or not (corpora[0] / "corpus.json").is_file():
        return None
    corpus = Corpus.open(corpora[0])
    studies = corpus.studies
    items = [item for safe in safes for item in read_quarantine(safe / "quarantine")]
    items += read_quarantine(corpora[0] / "quarantine.parquet")
    reasons = Counter((item.stage, item.reason, item.remedy) for item in items)
    return {
        "tiles": {
            "patients": len({s.patient_id for s in studies}),
            "studies": len(studies),
            "images": sum(len(s.images) for s in studies),
            "reports": sum(bool(s.report) for s in studies),
            "quarantined": len(items),
        },
        "anatomies": _by_anatomy(studies),
        "splits": SPLITS,
        "labels": _label_counts(studies),
        "quarantine": [
            {"stage": stage, "reason": reason.replace("_", " "), "remedy": remedy, "count": count}
            for (stage, reason, remedy), count in sorted(reasons.items(), key=lambda pair: (pair[0][0], -pair[1]))
        ],
        "totals": _totals(safes),
        "examples": _examples(corpus),
    }


def _by_anatomy(studies: list[Study]) -> list[dict[str, Any]]:
    rows = []
    for anatomy in sorted({s.anatomy for s in studies}):
        group = [s for s in studies if s.anatomy == anatomy]
        counts = Counter(s.split for s in group)
        ages = sorted(s.age_months / 12 for s in group if s.age_months is not None)
        rows.append(
            {
                "anatomy": anatomy.replace("_", " "),
                "studies": len(group),
                "images": sum(len(s.images) for s in group),
                "splits": [counts[split] for split in SPLITS],
                "female": f"{sum(s.sex == 'F' for s in group) / len(group):.0%}",
                "age": f"{ages[len(ages) // 2]:.0f} ({ages[0]:.0f}–{ages[-1]:.0f})" if ages else "–",
            }
        )
    return rows


def _label_counts(studies: list[Study]) -> list[dict[str, Any]]:
    names = sorted({name for s in studies for name in s.labels})
    rows = []
    for name in names:
        values = [s.labels[name] for s in studies if name in s.labels]
        binary = set(values) <= {0.0, 1.0}
        shown = f"{sum(values) / len(values):.0%} positive" if binary else f"{min(values):g} to {max(values):g}"
        rows.append({"name": name.replace("_", " "), "known": len(values), "shown": shown})
    return rows


def _totals(safes: list[Path]) -> list[dict[str, Any]]:
    """The count lines of each stage's summary, so that a reader can add them up."""
    found = []
    for safe in safes:
        for path in sorted(safe.glob("*/summary.json")):
            counts = {
                k.replace("_", " "): v for k, v in read_json(path).items() if isinstance(v, int) and v is not True
            }
            found.append({"stage": path.parent.name, "counts": counts})
    return found


def _examples(corpus: Corpus) -> list[dict[str, Any]]:
    """The first reported test study of each anatomy."""
    chosen: dict[str, Study] = {}
    for study in corpus.select("test", reported=True):
        if study.images:
            chosen.setdefault(study.anatomy, study)
    return [
        {
            "caption": ", ".join(_facts(study)),
            "images": [_thumbnail(corpus, study, i) for i in range(min(2, len(study.images)))],
            "sections": [(name, getattr(study, name)) for name in SECTIONS if getattr(study, name)]
            or [("report", study.report)],
            "described": study.report_source == "described",
        }
        for _, study in sorted(chosen.items())
    ]


def _facts(study: Study) -> list[str]:
    age = [] if study.age_months is None else [f"{study.age_months // 12} years"]
    sex = [{"F": "female", "M": "male"}[study.sex]] if study.sex in ("F", "M") else []
    return [study.anatomy.replace("_", " "), *age, *sex]


def _thumbnail(corpus: Corpus, study: Study, index: int) -> str:
    pixels = corpus.pixels(study.images[index])
    ok, png = cv2.imencode(".png", pixels)
    if not ok:
        raise ValueError(f"an image of study {study.study_id} could not be encoded as PNG")
    return png_uri(png.tobytes())


def png_uri(png: bytes) -> str:
    """A PNG inlined, so that the page is one file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
