"""Anatomy and view by the look of the images, where header and report are silent; and images that contradict them.

``recognised.parquet`` has one row per image of the corpus. Predictions fill only what is not known; a contradiction is a
flag, because most are errors of the header (15 % of Body Part Examined, doi:10.1117/12.467047) but not all.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa

from anonymize.console import UserError
from anonymize.engines import Job, run_tasks
from anonymize.files import write_table
from vlp.corpus.config import PrepareConfig
from vlp.corpus.decoded import DecodedRow
from vlp.corpus.pair_day import neighbours
from vlp.corpus.source import PlannedStudy
from vlp.corpus.store import Store
from vlp.corpus.stored import StoredImages
from vlp.corpus.teller import Features, Teller, Trial, features, fold_of, teach, usable_classes

TABLE = "recognised.parquet"
_MOST = 400  # images of a class that are learned from
_LEAST_PRECISION = 0.9  # lower end of the interval; below it the classifier stays silent
_INVERTED = 0.99  # probability; at 0.95 twice as many good images are flagged
_CONTRADICTED = 0.1  # probability of a label from a header, below which it is not learned from
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("anatomy", pa.string()),
        ("anatomy_confidence", pa.float32()),
        ("view", pa.string()),
        ("view_confidence", pa.float32()),
        ("flags", pa.string()),
    ]
)


@dataclass(frozen=True)
class Recognised:
    """What an image looks like. Empty where no classifier could be trained."""

    image_id: str
    anatomy: str = ""  # the likeliest
    anatomy_confidence: float = 0.0  # its calibrated probability; 0 where the image is unlike any known one
    view: str = ""
    view_confidence: float = 0.0
    flags: str = ""  # other_anatomy, inverted; separated by blanks


@dataclass(frozen=True)
class _Item:
    image_id: str
    shard: int
    row: int
    fold: int
    patient: str
    study: int
    anatomy: str
    source: str
    view: str


@dataclass(frozen=True)
class _Tellers:
    anatomy: Teller | None
    views: dict[str, Teller]  # by anatomy
    polarity: Teller | None


def recognise(
    studies: Sequence[PlannedStudy],
    decoded: Mapping[str, DecodedRow],
    lost: set[str],
    store: Store,
    config: PrepareConfig,
) -> tuple[list[PlannedStudy], dict[str, Any]]:
    """``studies`` with anatomies and views filled in where the images tell them, and a summary.

    Writes ``recognised.parquet``. The result does not depend on the number of workers.
    """
    items = [
        _Item(
            i.image_id, row.shard, row.row, fold_of(s.patient_id), s.patient_id, n, s.anatomy, s.anatomy_source, i.view
        )
        for n, s in enumerate(studies)
        for i in s.images
        if i.image_id not in lost and (row := decoded[i.image_id])
    ]
    summary: dict[str, Any] = {}
    tellers = _taught(items, store, config, summary)
    rows = _told(items, tellers, store, config)
    anatomies = _anatomies(items, rows, config)
    views = {r.image_id: r.view for r in rows if r.view and r.view_confidence >= config.recognise_confidence}
    filled = [_filled(study, anatomies.get(n, ""), views) for n, study in enumerate(studies)]
    rows = [dataclasses.replace(r, flags=_flags(r, i, config)) for r, i in zip(rows, items, strict=True)]
    with store.writing(TABLE) as path:
        write_table(path, rows, _SCHEMA)
    summary["anatomies_filled"] = len(anatomies)
    summary["views_filled"] = sum(i.view_source == "image" for s in filled for i in s.images)
    summary["flags"] = dict(sorted(Counter(flag for r in rows for flag in r.flags.split()).items()))
    return filled, summary


def _taught(items: Sequence[_Item], store: Store, config: PrepareConfig, summary: dict[str, Any]) -> _Tellers:
    stored = StoredImages(store, config.store)
    cache: dict[str, Features] = {}

    def seen(item: _Item) -> Features:
        if item.image_id not in cache:
            cache[item.image_id] = features(stored.pixels(item.shard, item.row))
        return cache[item.image_id]

    def fit(sample: Sequence[_Item], labels: Sequence[str]) -> tuple[Teller, Trial] | None:
        wanted = usable_classes(labels, [i.patient for i in sample], config.recognise_least)
        chosen = [(i, label) for i, label in zip(sample, labels, strict=True) if label in wanted]
        if len(wanted) < 2:
            return None
        try:
            fitted = _fit([(i, label, seen(i)) for i, label in chosen], config)
            # codes of a header that patients of other folds contradict would teach errors and blur the calibration
            sound = [
                (i, label, seen(i)) for i, label in chosen if i.source != "header" or _fits(fitted[0], i, label, seen)
            ]
            return fitted if len(sound) == len(chosen) else _fit(sound, config)
        except ValueError:  # all patients of a class in one fold
            return None

    sample = _sample((i for i in items if i.anatomy != "unknown"), lambda i: i.anatomy, config.recognise_least)
    fitted = fit(sample, [i.anatomy for i in sample])
    summary["anatomy"] = _shown(fitted)
    anatomy = fitted[0] if fitted and summary["anatomy"]["used"] else None
    views: dict[str, Teller] = {}
    for name in sorted({i.anatomy for i in items} - {"unknown"}):
        known = (dataclasses.replace(i, source="") for i in items if i.anatomy == name and i.view)  # views count alike
        part = _sample(known, lambda i: i.view, config.recognise_least)
        fitted = fit(part, [i.view for i in part])
        if fitted:
            summary[f"view_{name}"] = _shown(fitted)
            if summary[f"view_{name}"]["used"]:
                views[name] = fitted[0]
    return _Tellers(anatomy, views, _polarity(sample, stored, config) if anatomy else None)


def _fit(known: Sequence[tuple[_Item, str, Features]], config: PrepareConfig) -> tuple[Teller, Trial]:
    items, labels, found = zip(*known, strict=True)
    return teach(np.stack(found), labels, [i.patient for i in items], config.recognise_confidence)


def _fits(teller: Teller, item: _Item, label: str, seen: Callable[[_Item], Features]) -> bool:
    return float(np.exp(teller.tell(seen(item), item.fold)[teller.names.index(label)])) >= _CONTRADICTED


def _polarity(sample: Sequence[_Item], stored: StoredImages, config: PrepareConfig) -> Teller | None:
    """Tells images with dark bones from the others; nearly all of the corpus must be right for that."""
    pixels = [stored.pixels(i.shard, i.row) for i in sample]
    seen = np.stack([features(p) for p in pixels] + [features(255 - p) for p in pixels])
    patients = [i.patient for i in sample] * 2
    labels = ["as_usual"] * len(sample) + ["inverted"] * len(sample)
    try:
        return teach(seen, labels, patients, config.recognise_confidence)[0]
    except ValueError:
        return None


def _sample(items: Iterable[_Item], label: Callable[[_Item], str], least: int) -> list[_Item]:
    """At most 400 images of each class by hash; labels that only a header states where there are too few others."""
    by_class: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        by_class[label(item)].append(item)
    chosen: list[_Item] = []
    for name in sorted(by_class):
        trusted = [i for i in by_class[name] if i.source != "header"]
        part = (
            trusted
            if len(usable_classes([name] * len(trusted), [i.patient for i in trusted], least))
            else by_class[name]
        )
        chosen += sorted(part, key=lambda i: hashlib.sha256(i.image_id.encode()).digest())[:_MOST]
    return chosen


def _shown(fitted: tuple[Teller, Trial] | None) -> dict[str, Any]:
    if fitted is None:
        return {"used": False, "why": "too few known images of at least two classes"}
    teller, trial = fitted
    used = trial.least_precision >= _LEAST_PRECISION
    shown = {
        "used": used,
        "classes": list(teller.names),
        "known": trial.known,
        "right": trial.right,
        "sure": trial.sure,
        "sure_and_right": trial.sure_and_right,
        "confusions": [f"{a} as {b}: {n}" for a, b, n in trial.confusions[:5]],
    }
    return shown if used else {**shown, "why": "not right often enough on patients it had not seen"}


def _told(items: Sequence[_Item], tellers: _Tellers, store: Store, config: PrepareConfig) -> list[Recognised]:
    if tellers.anatomy is None and not tellers.views:
        return [Recognised(i.image_id) for i in items]
    by_shard: dict[int, list[_Item]] = defaultdict(list)
    for item in items:
        by_shard[item.shard].append(item)
    parts = [by_shard[shard] for shard in sorted(by_shard)]
    job = Job(_Recogniser, (tellers, store, config.store), _again)
    found = {}
    for part, rows in run_tasks(job, parts, config.engine, config.workers, len(parts)):
        if rows is None:
            raise UserError(
                f"a process died while it looked at images/shard-{part[0].shard:05d}; is there enough memory?"
            )
        found.update({row.image_id: row for row in rows})
    return [found[item.image_id] for item in items]


class _Recogniser:
    """What a worker does with the images of a shard."""

    def __init__(self, tellers: _Tellers, store: Store, kind: Literal["parquet", "tar"]) -> None:
        cv2.setNumThreads(1)
        self._tellers, self._stored = tellers, StoredImages(store, kind)

    def __call__(self, items: Sequence[_Item]) -> list[Recognised]:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return [_one(i, features(self._stored.pixels(i.shard, i.row)), self._tellers) for i in items]


def _again(part: list[_Item], deaths: int) -> list[list[_Item]]:
    """Memory can run out once by chance."""
    return [part] if deaths < 2 else []


def _one(item: _Item, seen: Features, tellers: _Tellers) -> Recognised:
    anatomy, sure = "", 0.0
    if tellers.anatomy:
        anatomy, sure = _best(tellers.anatomy, seen, item.fold)
        if not tellers.anatomy.like_known(seen, item.fold):
            sure = 0.0
    view, view_sure = "", 0.0
    teller = tellers.views.get(item.anatomy if item.anatomy != "unknown" else anatomy)
    if teller:
        view, view_sure = _best(teller, seen, item.fold)
        if not teller.like_known(seen, item.fold):
            view_sure = 0.0
    inverted = ""
    if tellers.polarity:
        name, chance = _best(tellers.polarity, seen, item.fold)
        inverted = "inverted" if name == "inverted" and chance >= _INVERTED else ""
    return Recognised(item.image_id, anatomy, sure, view, view_sure, inverted)


def _best(teller: Teller, seen: Features, fold: int) -> tuple[str, float]:
    chance = teller.tell(seen, fold)
    best = int(chance.argmax())
    return teller.names[best], round(float(np.exp(chance[best])), 3)


def _anatomies(items: Sequence[_Item], rows: Sequence[Recognised], config: PrepareConfig) -> dict[int, str]:
    """Studies without anatomy whose images, all that are told with confidence, agree."""
    told: dict[int, set[str]] = defaultdict(set)
    for item, row in zip(items, rows, strict=True):
        if item.anatomy == "unknown" and row.anatomy_confidence >= config.recognise_confidence:
            told[item.study].add(row.anatomy)
    return {study: next(iter(names)) for study, names in told.items() if len(names) == 1}


def _filled(study: PlannedStudy, anatomy: str, views: Mapping[str, str]) -> PlannedStudy:
    if anatomy:
        study = dataclasses.replace(study, anatomy=anatomy, anatomy_source="image")
    if study.anatomy == "unknown":
        return study
    images = tuple(
        i if i.view or i.image_id not in views else dataclasses.replace(i, view=views[i.image_id], view_source="image")
        for i in study.images
    )
    return dataclasses.replace(study, images=images)


def _flags(row: Recognised, item: _Item, config: PrepareConfig) -> str:
    found = row.flags.split()
    sure = row.anatomy_confidence >= config.recognise_confidence
    if sure and item.anatomy != "unknown" and not neighbours(item.anatomy, row.anatomy):
        found.append("other_anatomy")
    return " ".join(sorted(found))
