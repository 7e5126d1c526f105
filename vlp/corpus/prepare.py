"""``vlp prepare``: studies of a source become a corpus (docs/architecture.md, "Corpus")."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from anonymize.config import dump_config
from anonymize.console import Console
from anonymize.engines import Steps
from anonymize.quarantine import Quarantined, count_reasons
from vlp.corpus.boxes import Placed, box_summary, place_boxes
from vlp.corpus.build import build_shards, shards_of
from vlp.corpus.config import PrepareConfig
from vlp.corpus.decoded import DecodedRow, remove_leftovers
from vlp.corpus.duplicates import ALIKE, groups, likeness, near_duplicates
from vlp.corpus.official import official_splits
from vlp.corpus.plan import PLAN, finished_rows, write_plan
from vlp.corpus.recognise import TABLE, recognise
from vlp.corpus.source import PlannedStudy, Source, refuse
from vlp.corpus.split import LEDGER, group_name, known_patients, split_patients, write_ledger
from vlp.corpus.store import Store
from vlp.corpus.stored import StoredImages
from vlp.corpus.text import report_hash
from vlp.study import ImageRef, Study


def run_prepare(
    config: PrepareConfig,
    safe: Path,
    out: Path | str,
    console: Console,
    describe_labels: str = "",
    steps: Steps | None = None,
) -> dict[str, Any]:
    """Make the corpus ``out`` from the safe export ``safe``.

    The same input and configuration give the same bytes, whatever the engine and the number of workers. A killed run
    goes on with the shards that are done.

    Args:
        out: a folder, or a location that fsspec writes to, such as ``s3://bucket/corpus``.
        describe_labels: language in which studies without a report get a text written from their labels; "" for none.
        steps: plan alone, or finish alone, where tasks share the work between them (:func:`vlp.corpus.plan.work_on`);
            all by default.

    Returns:
        the summary: images, reports and studies read, kept and refused (they add up), boxes where there are any,
        splits, seconds. Of the plan alone ``images`` and ``shards``.

    Raises:
        UserError: ``safe`` is no safe export, or nothing usable is in it.
    """
    from vlp.corpus.safe import read_safe

    return build_corpus(config, read_safe(safe, config), out, console, describe_labels, steps)


def build_corpus(
    config: PrepareConfig,
    source: Source,
    out: Path | str,
    console: Console,
    describe_labels: str = "",
    steps: Steps | None = None,
) -> dict[str, Any]:
    """Decode, check, split and write the studies of any source; see :func:`run_prepare`."""
    from vlp.corpus.describe import describe
    from vlp.corpus.finish import put, write_corpus

    start = time.monotonic()
    steps = steps or Steps()
    store = Store(out)
    planned = sorted(source.studies, key=lambda s: s.study_id)
    files = [image for study in planned for image in study.images]
    shards = shards_of(files, config)
    if not steps.finish:
        return write_plan(shards, store, config)
    known = known_patients(store, config.split)
    store.remove("corpus.json")  # an unfinished corpus must not look like a finished one
    put(store, "config.yaml", lambda path: dump_config(config, path))
    rows = (
        build_shards(shards, store, config, console, len(files)) if steps.work else finished_rows(shards, store, config)
    )
    remove_leftovers(store, len(shards), config)
    store.remove(PLAN)
    decoded = {row.image_id: row for row in rows}
    place = {image.image_id: number for number, image in enumerate(files, 1)}
    patients = {image.image_id: study.patient_id for study in planned for image in study.images}
    pairs = _pairs(rows, store, config)
    refused = [refuse(r.image_id, place[r.image_id], r.reason, r.remedy) for r in rows if r.reason]
    if config.drop_duplicates:
        refused += _duplicates(rows, pairs, patients, place, config)
    lost = {item.ref for item in refused}
    kept = [s for s in planned if any(image.image_id not in lost for image in s.images)]
    empty = [s for s in planned if all(image.image_id in lost for image in s.images)]
    reports = source.refused_reports + [
        refuse(
            s.report_id, 0, "report_without_usable_images", "Every image of the study was refused; see their reasons."
        )
        for s in empty
        if s.report_source == "report"
    ]
    kept = _with_patients(kept, pairs, lost)
    recognised: dict[str, Any] = {}
    store.remove(TABLE)
    if config.recognise:
        kept, recognised = recognise(kept, decoded, lost, store, config)
    if describe_labels:
        kept = [study if study.report else describe(study, describe_labels) for study in kept]
    moved = 0
    if config.split.official:
        splits, moved = official_splits(kept, config.split)
    else:
        splits = split_patients(kept, config.split, known)
    placed = place_boxes((image for study in kept for image in study.images if image.image_id not in lost), decoded)
    studies = [_finished(study, decoded, lost, splits[study.patient_id], placed) for study in kept]
    images = source.refused_images + refused
    summary = _summary(source, studies, images, reports, empty, start)
    if source.boxes_read:
        summary |= box_summary(source.boxes_read, files, lost, placed)
    if moved:
        summary["notes"]["moved_to_a_held_out_part"] = moved
    put(store, LEDGER, lambda path: write_ledger(path, studies, known, config.split))
    split_by_image = {ref.image_id: (s.patient_id, s.split) for s in studies for ref in s.images}
    summary["recognised"] = recognised
    summary["flags"] = _flag_counts(decoded[ref.image_id] for study in studies for ref in study.images)
    summary["near_duplicates"] = _near_summary(pairs, split_by_image)
    used = [decoded[ref.image_id] for study in studies for ref in study.images]
    fallen = [*images, *reports, *placed.refused]
    write_corpus(store, studies, used, fallen, len(shards), summary, config, source.origin)
    return summary


def _pairs(rows: Sequence[DecodedRow], store: Store, config: PrepareConfig) -> list[tuple[str, str, int]]:
    """Near-duplicates: the hashes propose, the pixels confirm."""
    good = [row for row in rows if not row.reason]
    stored = StoredImages(store, config.store)

    def same(a: DecodedRow, b: DecodedRow) -> bool:
        if a.digest == b.digest:
            return True
        return likeness(*(stored.pixels(row.shard, row.row) for row in (a, b))) >= ALIKE

    found = near_duplicates([row.perceptual_hash for row in good], config.near_duplicate_bits)
    return [(good[a].image_id, good[b].image_id, bits) for a, b, bits in found if same(good[a], good[b])]


def _duplicates(
    rows: Sequence[DecodedRow],
    pairs: Sequence[tuple[str, str, int]],
    patients: dict[str, str],
    place: dict[str, int],
    config: PrepareConfig,
) -> list[Quarantined]:
    """All but the first of equal images; with ``drop_near_duplicates`` also what resembles another patient's image."""
    first: dict[str, str] = {}
    out: dict[str, Quarantined] = {}
    for row in rows:
        if row.reason or first.setdefault(row.digest, row.image_id) == row.image_id:
            continue
        same = patients[row.image_id] == patients[first[row.digest]]
        reason, remedy = (
            ("duplicate_image", "The same image came twice; the first is kept.")
            if same
            else ("duplicate_of_other_patient", "Two patients have the same image; find out whose it is.")
        )
        out[row.image_id] = refuse(row.image_id, place[row.image_id], reason, remedy)
    for a, b, _ in pairs if config.drop_near_duplicates else ():
        if patients[a] and patients[b] and patients[a] != patients[b] and a not in out and b not in out:
            remedy = "The image is nearly that of another patient; find out whose it is."
            out[b] = refuse(b, place[b], "near_duplicate_of_other_patient", remedy)
    return list(out.values())


def _with_patients(
    studies: list[PlannedStudy], pairs: Sequence[tuple[str, str, int]], lost: set[str]
) -> list[PlannedStudy]:
    """Studies of unknown patients count as one patient where near-duplicates or a common original connect them."""
    unknown = [i for i, study in enumerate(studies) if not study.patient_id]
    owner = {image.image_id: n for n, i in enumerate(unknown) for image in studies[i].images}
    links = [(owner[a], owner[b]) for a, b, _ in pairs if a in owner and b in owner]
    first: dict[str, int] = {}
    for number, i in enumerate(unknown):
        if studies[i].original:
            links.append((first.setdefault(studies[i].original, number), number))
    out = list(studies)
    for number, leader in enumerate(groups(len(unknown), links)):
        study = studies[unknown[number]]
        out[unknown[number]] = dataclasses.replace(study, patient_id=group_name(studies[unknown[leader]].study_id))
    return out


def _finished(study: PlannedStudy, decoded: dict[str, DecodedRow], lost: set[str], split: str, placed: Placed) -> Study:
    refs = []
    for image in study.images:
        if image.image_id in lost:
            continue
        row = decoded[image.image_id]
        refs.append(
            ImageRef(
                image.image_id,
                row.shard,
                row.row,
                row.height,
                row.width,
                image.view,
                image.laterality,
                row.spacing_mm,
                image.view_source if image.view else "",
                placed.by_image.get(image.image_id, ()),
            )
        )
    same = {f.name: getattr(study, f.name) for f in dataclasses.fields(Study) if f.name not in _MADE}
    return Study(
        **same,
        split=split,
        images=tuple(refs),
        report_hash=report_hash(study.results, study.conclusion, study.report),
        anatomy_source=study.anatomy_source if study.anatomy != "unknown" else "",
        pairing=study.pairing if study.report_source == "report" else "",
    )


_MADE = ("split", "images", "report_hash", "anatomy_source", "pairing")


def _summary(
    source: Source,
    studies: Sequence[Study],
    images: Sequence[Quarantined],
    reports: Sequence[Quarantined],
    empty: Sequence[PlannedStudy],
    start: float,
) -> dict[str, Any]:
    kept_images = sum(len(s.images) for s in studies)
    kept_reports = sum(s.report_source == "report" for s in studies)
    if kept_images + len(images) != source.images_read or kept_reports + len(reports) != source.reports_read:
        raise AssertionError("images or reports were lost on the way: kept and refused do not add up to what was read")
    return {
        "studies": {"kept": len(studies), "without_usable_images": len(empty)},
        "patients": len({s.patient_id for s in studies}),
        "images": {"read": source.images_read, "kept": kept_images, "refused": len(images)},
        "reports": {
            "read": source.reports_read,
            "kept": kept_reports,
            "refused": len(reports),
            "described": sum(s.report_source == "described" for s in studies),
        },
        "studies_without_text": sum(not s.report for s in studies),
        "splits": dict(sorted(Counter(s.split for s in studies).items())),
        "pairing": dict(sorted(Counter(s.pairing for s in studies if s.pairing).items())),
        "anatomies": dict(Counter(s.anatomy for s in studies).most_common()),
        "anatomy_sources": dict(sorted(Counter(s.anatomy_source or "unknown" for s in studies).items())),
        "refused_images": count_reasons(images),
        "refused_reports": count_reasons(reports),
        "notes": dict(source.notes),
        **({"source": dataclasses.asdict(source.origin)} if source.origin else {}),
        "seconds": round(time.monotonic() - start, 1),
    }


def _flag_counts(rows: Iterable[DecodedRow]) -> dict[str, int]:
    return dict(sorted(Counter(flag for row in rows for flag in row.flags.split()).items()))


def _near_summary(pairs: Sequence[tuple[str, str, int]], by_image: dict[str, tuple[str, str]]) -> dict[str, int]:
    kept = [(by_image[a], by_image[b]) for a, b, _ in pairs if a in by_image and b in by_image]
    return {
        "pairs": len(kept),
        "of_two_patients": sum(a[0] != b[0] for a, b in kept),
        "across_splits": sum(a[1] != b[1] for a, b in kept),
    }
