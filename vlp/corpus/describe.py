"""A report written from labels, for data sets that have labels and no reports (language pack topic describe.yaml).

Only what a label states is written; an unknown label leaves no trace in the text.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from anonymize.config import ConfigError
from anonymize.languages import load_pack
from vlp.corpus.source import PlannedStudy


def describe(study: PlannedStudy, language: str) -> PlannedStudy:
    """``study`` with technique, results and report in ``language``, ``report_source`` "described".

    A study without labels stays as it is. The wording drawn depends on the study's identifier alone.

    Raises:
        ConfigError: no such language pack, or its describe.yaml lacks a key.
    """
    words = load_pack(language)["describe"]
    labels = dict(study.labels)
    if "kl_right" in labels or "kl_left" in labels:
        labels.pop("kl_grade", None)  # said by side
    try:
        sentences = [
            _sentence(name, labels[name], words, f"{study.study_id} {name}")
            for name in words["order"]
            if name in labels and name in words["labels"]
        ]
        if not any(sentences):
            return study
        technique = _technique(study, words)
    except KeyError as error:
        raise ConfigError(f"language pack '{language}', describe.yaml: the key {error} is missing") from None
    results = " ".join(filter(None, sentences))
    return dataclasses.replace(
        study,
        language=language,
        technique=technique,
        results=results,
        report=f"{technique}\n{results}".strip(),
        report_source="described",
    )


def _technique(study: PlannedStudy, words: Mapping[str, Any]) -> str:
    """The exam line: anatomy, the side that most images show, and the views."""
    exams = words["exams"].get(study.anatomy) or words["exams"]["unknown"]
    sides = Counter(image.laterality for image in study.images if image.laterality)
    side = sides.most_common(1)[0][0] if sides else ""
    if {"R", "L"} <= set(sides):
        side = "B"
    views = dict.fromkeys(image.view for image in study.images if image.view in words["views"])
    exam = exams.get(side) or exams[""]
    return (
        words["exam_line"]
        .format(exam=exam, views=words["views_join"].join(words["views"][v] for v in views))
        .replace(" .", ".")
    )


def _sentence(name: str, value: float, words: Mapping[str, Any], draw: str) -> str:
    wordings = words["labels"][name]
    if isinstance(wordings, Mapping):  # by value
        wordings = wordings.get(int(value), ())
    if not wordings:
        return ""
    chosen = _choose(wordings, draw)
    return chosen.format(value=int(value), duration=_duration(round(value), words["duration"]))


def _duration(months: int, words: Mapping[str, str]) -> str:
    years, rest = divmod(months, 12)
    parts = [words["year" if years == 1 else "years"].format(years)] if years else []
    if rest or not years:
        parts.append(words["month" if rest == 1 else "months"].format(rest))
    return words["join"].join(parts)


def _choose(wordings: Sequence[str], draw: str) -> str:
    return wordings[int.from_bytes(hashlib.sha256(draw.encode()).digest()[:8], "big") % len(wordings)]
