"""What the ablation measures of one model, on patients it was not trained on: rows that can be resampled by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anonymize.console import Console
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder
from vlp.study import Box, ImageRef, Study
from vlp.tasks.features import Features, study_features, text_embeddings
from vlp.tasks.grounding import PixelBox, box_in_square, pointing_game, similarity_maps
from vlp.tasks.linear_probe import fit_probe
from vlp.tasks.negation import Choice, choices, image_decides, preferred, without_image
from vlp.tasks.retrieval import retrieval_ranks
from vlp.tasks.task import label_subset, task_by_name
from vlp.tasks.zero_shot import class_embeddings, prompts_of, zero_shot
from vlp.training.texts import whole

FINDINGS = ("fracture", "effusion", "consolidation", "cardiomegaly", "pneumothorax")
POINTED = ("fracture", "effusion", "consolidation", "pneumothorax")  # the heart lies where the middle is
SHOWN = (*FINDINGS, "cast", "hardware", "")  # of the miner's labels, what is drawn; "" is the side
FRACTIONS = (0.01, 0.1)
DRAWS = 5  # of the labelled patients of a fraction


@dataclass
class Rows:
    """One measure of one model: row i belongs to a patient and a group (finding, kind), ``runs`` hold its scores.

    AUROC measures have a target; the others are averages of their scores.
    """

    patients: list[str]
    groups: list[str]
    runs: list[list[float]]
    target: list[float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Scores with five digits are enough for every metric here."""
        return {**vars(self), "runs": [[round(value, 6) for value in run] for run in self.runs]}


@dataclass(frozen=True)
class Bench:
    """What all models are asked: the corpus, the choices between texts, and where the findings are."""

    corpus: Corpus
    studies: list[Study]
    asked: list[Choice]
    boxes: dict[str, tuple[Box, ...]]  # by image; a label is the finding
    language: str

    @classmethod
    def of(cls, corpus: Corpus, boxes: dict[str, tuple[Box, ...]], language: str, split: str = "test") -> Bench:
        """The bench of a split."""
        studies = [study for study in corpus.select(split) if study.images]
        return cls(corpus, studies, choices([study for study in studies if study.report]), boxes, language)


def measure(bench: Bench, image: ImageEncoder, dual: DualEncoder | None, probes: bool) -> dict[str, Rows]:
    """Every measure that the model allows; linear probes where ``probes``."""
    labelled = [s for s in bench.corpus.studies if s.images and s.split != "test"] if probes else []
    features = study_features(image.eval(), dual, bench.corpus, [*bench.studies, *labelled], Console("quiet"))
    found: dict[str, Rows] = {}
    if probes:
        found |= {f"linear_{fraction:.0%}": _probes(bench, features, fraction) for fraction in FRACTIONS}
    if dual is not None:
        dual.eval()
        found["zero_shot"] = _zero_shot(bench, dual, features)
        found |= _retrieval(bench, dual, features)
        found |= _negation(bench, dual, features)
        found |= _pointing(bench, dual)
    return found


def _zero_shot(bench: Bench, dual: DualEncoder, features: Features) -> Rows:
    rows = Rows([], [], [[]], [])
    for name in FINDINGS:
        task = task_by_name(name)
        studies = [study for study in bench.studies if task.label in study.labels]
        classes = class_embeddings(dual, prompts_of(bench.language, task))
        scale = float(dual.logit_scale.detach().exp())
        _extend(rows, studies, name, task.targets(studies), [zero_shot(features.of(studies).embedding, classes, scale)])
    return rows


def _probes(bench: Bench, features: Features, fraction: float) -> Rows:
    rows = Rows([], [], [[] for _ in range(DRAWS)], [])
    for name in FINDINGS:
        task = task_by_name(name)
        train, validation, test = (task.eligible(bench.corpus.studies, s) for s in ("train", "validation", "test"))
        if any(len(set(task.targets(part))) < 2 for part in (train, test)):
            continue  # a corpus without the finding
        answers = []
        for draw in range(DRAWS):
            some = label_subset(task, train, fraction, draw)
            # as few labels to choose the penalty by as there are to learn from
            held = label_subset(task, validation, fraction, draw)
            probe = fit_probe(task, (features.of(some).probe, some), (features.of(held).probe, held))
            assert probe is not None, "label_subset holds two studies of each class"
            answers.append(probe.predict(features.of(test).probe, test))
        _extend(rows, test, name, task.targets(test), answers)
    return rows


def _retrieval(bench: Bench, dual: DualEncoder, features: Features) -> dict[str, Rows]:
    reported = [study for study in bench.studies if study.report]
    texts = text_embeddings(dual, [whole(study) for study in reported])
    images = features.of(reported).embedding
    answers = [study.report_hash for study in reported]
    found = {}
    for name, ranks in (
        ("image_to_text", retrieval_ranks(images, texts, answers)),
        ("text_to_image", retrieval_ranks(texts, images, answers)),
    ):
        rows = Rows([], [], [[]])
        _extend(rows, reported, name, None, [(ranks <= 10).astype(float)])
        found[f"recall_at_10_{name}"] = rows
    return found


def _negation(bench: Bench, dual: DualEncoder, features: Features) -> dict[str, Rows]:
    studies = [choice.study for choice in bench.asked]
    texts = [text_embeddings(dual, [getattr(c, side) for c in bench.asked]) for side in ("true", "false")]
    images = features.of(studies).embedding
    found = {}
    for ending, seen in (("", images), ("_without_image", without_image(bench.asked, images))):
        right = preferred(seen, *texts)
        for scope in ("report", "statement"):
            for shown in (True, False):
                own = [i for i, c in enumerate(bench.asked) if c.scope == scope and (not shown or c.label in SHOWN)]
                name = f"true_over_false_{scope}{'' if shown else '_all'}{ending}"
                kinds = [bench.asked[i].kind for i in own]
                found[name] = Rows([studies[i].patient_id for i in own], kinds, [right[own].tolist()])
    counted, shares = image_decides(bench.asked, images, *texts)
    for scope in ("report", "statement"):
        own = [place for place, row in enumerate(counted) if bench.asked[row].scope == scope]
        rows = [counted[place] for place in own]
        kinds = [bench.asked[row].kind for row in rows]
        found[f"image_decides_{scope}"] = Rows([studies[row].patient_id for row in rows], kinds, [shares[own].tolist()])
    return found


def _pointing(bench: Bench, dual: DualEncoder) -> dict[str, Rows]:
    square = Square(dual.image.image_size, dual.image.config.framing)
    names = ("pointing", "pointing_contrast", "pointing_chance", "pointing_centre")
    found = {name: Rows([], [], [[]]) for name in names}
    for finding in POINTED:
        patients: list[str] = []
        refs: list[ImageRef] = []
        placed: list[list[PixelBox]] = []
        for study in bench.studies:
            for ref in study.images:
                pixels = bench.corpus.pixels(ref)
                marked = [box for box in bench.boxes.get(ref.image_id, ()) if box.label == finding]
                own = [box_in_square(box, pixels, square) for box in marked]
                if inside := [box for box in own if box is not None]:
                    patients.append(study.patient_id)
                    refs.append(ref)
                    placed.append(inside)
        if not refs:
            continue
        negative, positive = class_embeddings(dual, prompts_of(bench.language, task_by_name(finding)))
        game = pointing_game(similarity_maps(dual, bench.corpus, refs, positive), placed, square.side)
        contrast = pointing_game(similarity_maps(dual, bench.corpus, refs, positive - negative), placed, square.side)
        for name, scores in zip(names, (game.hit, contrast.hit, game.chance, game.centre), strict=True):
            rows = found[name]
            rows.patients += patients
            rows.groups += [finding] * len(refs)
            rows.runs[0] += scores.tolist()
    return {name: rows for name, rows in found.items() if rows.patients}


def _extend(
    rows: Rows, studies: Sequence[Study], group: str, target: np.ndarray | None, runs: list[np.ndarray]
) -> None:
    rows.patients += [study.patient_id for study in studies]
    rows.groups += [group] * len(studies)
    if target is not None and rows.target is not None:
        rows.target += target.tolist()
    for kept, more in zip(rows.runs, runs, strict=True):
        kept += more.tolist()
