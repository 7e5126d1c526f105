"""The split of a public set's authors, kept patient-wise."""

from __future__ import annotations

from collections.abc import Sequence

from vlp.corpus.config import SplitConfig
from vlp.corpus.source import PlannedStudy
from vlp.corpus.split import split_of
from vlp.study import SPLITS


def official_splits(studies: Sequence[PlannedStudy], config: SplitConfig) -> tuple[dict[str, str], int]:
    """The split of every patient, and how many studies left the authors' split for their patient's sake.

    A patient whom the authors put into several parts goes as a whole to the part held out most (test, then
    validation). A part that the authors do not have is dealt from their training part by the keyed hash; patients of
    whom they say nothing are dealt by it altogether.
    """
    rank = {name: number for number, name in enumerate(SPLITS)}
    stated = {study.split for study in studies if study.split}
    place: dict[str, str] = {}
    for study in studies:
        if study.split:
            place[study.patient_id] = max(study.split, place.get(study.patient_id, "train"), key=rank.__getitem__)
    missing = {part: 0.0 if part in stated else getattr(config, part) for part in ("validation", "test")}
    dealt = config.model_copy(update=missing)
    out: dict[str, str] = {}
    moved = 0
    for study in studies:
        part = place.get(study.patient_id, "")
        moved += bool(study.split) and study.split != part
        if part in ("", "train"):
            part = split_of(study.patient_id, dealt if part else config)
        out[study.patient_id] = part
    return out, moved
