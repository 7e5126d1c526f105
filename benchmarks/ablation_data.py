"""Data of the ablation: where the phantom's findings are in the corpus, and a corpus whose reports are templates."""

from __future__ import annotations

import dataclasses
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np

from anonymize.files import fingerprint, read_json, read_rows, write_json, write_table
from anonymize.keys import Keys
from vlp.corpus.boxes import place_boxes
from vlp.corpus.dataset import Corpus
from vlp.corpus.decoded import DecodedRow
from vlp.corpus.source import DrawnBox, ImageFile
from vlp.study import MANIFEST_SCHEMA, Box, ImageRef, Study
from vlp.training.rewrite import Facts, rewriter
from vlp.training.texts import whole


def boxes_by_image(run: Path, wanted: dict[str, ImageRef], names: tuple[str, ...]) -> dict[str, tuple[Box, ...]]:
    """Boxes of the phantom's objects called ``names``, by image, in the images as the corpus stores them.

    Args:
        run: a folder of ``vlp run`` with ``hospital`` (truth) and ``corpus``.
        wanted: images of the corpus by their id.

    Raises:
        ValueError: the corpus does not say which part of a film each of its images shows.
    """
    keys = Keys((run / "hospital/secret.key").read_text(encoding="utf-8").strip().encode())
    truth = {
        row["image_id"]: keys.pseudonym("image", row["sop_instance_uid"])
        for row in read_rows(run / "hospital/truth/images.parquet", ["image_id", "sop_instance_uid"])
    }
    drawn: dict[str, list[DrawnBox]] = defaultdict(list)
    columns = ["image_id", "name", "x0", "y0", "x1", "y1"]
    for row in read_rows(run / "hospital/truth/objects.parquet", columns):
        image = truth.get(row["image_id"], "")
        if image in wanted and row["name"] in names:
            drawn[image].append(DrawnBox(row["name"], (row["x0"], row["y0"], row["x1"], row["y1"])))
    decoded = {row["image_id"]: DecodedRow(**row) for row in read_rows(run / "corpus/decoded")}
    if any(not decoded[image].file_rows for image in drawn):
        raise ValueError("the corpus was prepared by an older version; run `vlp prepare` again")
    files = [ImageFile(image, "", "", "", boxes=tuple(boxes)) for image, boxes in drawn.items()]
    return place_boxes(files, decoded).by_image


def write_templated(
    corpus: Path, out: Path, share: float, templates: int, seed: int, left_out: tuple[str, ...] = ()
) -> dict[str, float]:
    """A copy of ``corpus`` in which ``share`` of the reported studies have one of ``templates`` reports.

    So duplicates are as in a hospital whose readers use text modules where there is nothing to say. A template is one
    of the shorter real reports of a normal training study; it takes the place of that of another normal study of the
    same anatomy, and names no side and no number. Images are those of ``corpus`` (linked).

    Args:
        left_out: anatomies that the copy lacks: those whose reports always hold a measurement make no templates.

    Returns:
        Shares and counts as reached; ``share`` is below what was asked for where there are too few normal studies.
    """
    opened = Corpus.open(corpus)
    rng = np.random.default_rng([seed, 23])
    studies = [study for study in opened.studies if study.anatomy not in left_out]
    groups: dict[str, list[int]] = defaultdict(list)
    for number, study in enumerate(studies):
        if study.report and study.images and study.labels and not any(study.labels.values()):
            groups[study.anatomy].append(number)
    pools: list[tuple[list[int], list[Study]]] = []
    for members in groups.values():
        sources = [studies[i] for i in members if studies[i].split == "train" and _is_general(studies[i])]
        sources = sorted(sources, key=lambda study: len(whole(study)))[: max(templates, len(sources) // 3)]
        if sources:
            pools.append((members, [sources[i] for i in rng.permutation(len(sources))]))
    pools.sort(key=lambda pool: -len(pool[0]))
    chosen = _share_out(pools, templates)
    before = list(studies)
    reported = sum(bool(study.report) for study in studies)
    places = [(number, texts) for members, texts in chosen for number in members]
    picked = rng.permutation(len(places))[: round(share * reported)]
    for place in picked:
        number, texts = places[place]
        text = texts[int(rng.integers(len(texts)))]
        changes = {name: getattr(text, name) for name in ("results", "conclusion", "report", "report_hash")}
        studies[number] = dataclasses.replace(studies[number], **changes)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / "images").symlink_to((corpus / "images").resolve())
    write_table(out / "manifest.parquet", [study.row() for study in studies], MANIFEST_SCHEMA)
    info = read_json(corpus / "corpus.json")
    mark = fingerprint(info["fingerprint"], "templates", share, templates, seed, left_out)
    write_json(out / "corpus.json", {**info, "fingerprint": mark})
    return {
        "studies": len(studies),
        "share": len(picked) / reported,
        "templates": sum(len(texts) for _, texts in chosen),
        "share_of_duplicates_before": _duplicates(before),
        "share_of_duplicates_after": _duplicates(studies),
    }


def _share_out(pools: list[tuple[list[int], list[Study]]], templates: int) -> list[tuple[list[int], list[Study]]]:
    """``templates`` different texts over the pools, one each in turn, the largest pools first."""
    taken: list[list[Study]] = [[] for _ in pools]
    texts: set[str] = set()
    turn = 0
    while len(texts) < templates and turn < templates:
        for (_, sources), own in zip(pools, taken, strict=True):
            fresh = next((study for study in sources if whole(study) not in texts), None)
            if fresh is not None and len(texts) < templates:
                own.append(fresh)
                texts.add(whole(fresh))
        turn += 1
    return [(members, own) for (members, _), own in zip(pools, taken, strict=True) if own]


def _is_general(study: Study) -> bool:
    """Whether the report fits every study with the same labels: no number, no side, nothing beyond the labels."""
    rewrite = rewriter(study.language)
    text = whole(study)
    if rewrite is None or any(c.isdigit() for c in text) or rewrite.sides.swap(text) != text:
        return False
    facts: Facts = rewrite.facts(study.report)
    return all(study.labels.get(label, 0.0) == (value.name == "PRESENT") for label, value in facts.values.items())


def _duplicates(studies: list[Study]) -> float:
    """Share of the training reports that another training study has too."""
    counts: dict[str, int] = defaultdict(int)
    texts = [whole(study) for study in studies if study.split == "train" and study.report]
    for text in texts:
        counts[text] += 1
    return sum(counts[text] > 1 for text in texts) / max(1, len(texts))
