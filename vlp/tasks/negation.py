"""Does a model prefer what a report says to its contrary? "Fracture du radius." against "Pas de fracture du radius."

The false text is made by the rules of the language pack (vlp/training/rewrite.py), by which the training of hard
negatives makes its own; the studies are others. It differs from the true one by a few words, so a model that reads texts
as bags of findings is at chance. After the compositional tests of Yuksekgonul et al. 2023 (arXiv 2210.01936).

A text tower can tell some false texts from true ones without an image, since "pas de fracture" is the commoner
sentence. :func:`without_image` says how far that goes, and :func:`image_decides` compares two studies about the same two
texts, so that the texts alone decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from anonymize.labels.row import Value
from vlp.study import Study
from vlp.tasks.features import Array
from vlp.training.rewrite import Rewriting, rewriter
from vlp.training.texts import whole

Scope = Literal["report", "statement"]
Kind = Literal["denied", "affirmed", "side"]


@dataclass(frozen=True)
class Choice:
    """Two texts for one study, of which the first is true.

    Attributes:
        true, false: the texts.
        kind: what was done to the true text: a finding that is there was denied, one that is not was affirmed, or the
            side was swapped.
        label: of the label miner; "" for a side.
        scope: ``statement``, or ``report`` (results and conclusion) in which every statement of the same finding, or
            every side, was turned.
    """

    study: Study
    true: str
    false: str
    kind: Kind
    label: str
    scope: Scope


def choices(studies: Sequence[Study]) -> list[Choice]:
    """For each study one choice of each scope for every finding, and for the side, that its report tells.

    Studies in a language without rewriting rules, or without a statement that can be turned, give none.
    """
    found: list[Choice] = []
    for study in studies:
        rewrite = rewriter(study.language) if study.language else None
        if rewrite is None:
            continue
        text = whole(study)
        for contrary in rewrite.contraries(text, rewrite.facts(study.report)):
            turned = contrary.rewriting
            kind = _kind(turned)
            found.append(Choice(study, contrary.statement, turned.text, kind, turned.label, "statement"))
            found.append(Choice(study, text, contrary.text, kind, turned.label, "report"))
    return found


def preferred(images: Array, true: Array, false: Array) -> npt.NDArray[np.float64]:
    """[n]: 1 where an image is nearer to its true text, 0.5 where both are as near, 0 else; all [n, E], normalised."""
    margin = (images * (true - false)).sum(axis=1, dtype=np.float64)
    return (np.sign(margin) + 1) / 2


def without_image(asked: Sequence[Choice], images: Array) -> Array:
    """In place of each study's embedding, the mean of the studies of its anatomy: [n, E], normalised.

    What :func:`preferred` answers with these needs no image; a model that looks must do better.
    """
    anatomies = np.asarray([choice.study.anatomy for choice in asked])
    means = np.empty_like(images)
    for anatomy in np.unique(anatomies):
        rows = anatomies == anatomy
        once = {choice.study.study_id: row for row, choice in enumerate(asked) if choice.study.anatomy == anatomy}
        means[rows] = images[list(once.values())].mean(axis=0)
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)


def image_decides(
    asked: Sequence[Choice], images: Array, true: Array, false: Array
) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Whether the study prefers its true text more than studies do of which the other text is true.

    Both are asked about the same two texts, so whatever the texts alone decide cancels: 0.5 is chance for any model
    that does not look. Only choices whose label is known of their study count.

    Args:
        images, true, false: [n, E] embeddings of the studies and of the two texts of ``asked``.

    Returns:
        Which of ``asked`` count, and of each the share of studies of the same anatomy with the contrary label, among
        all that are asked about, that prefer the text less (ties half).
    """
    row_of = {choice.study.study_id: row for row, choice in enumerate(asked)}
    studies = [asked[row].study for row in row_of.values()]
    bank = images[list(row_of.values())]
    counted: list[int] = []
    shares: list[float] = []
    for row, choice in enumerate(asked):
        own = choice.study.labels.get(choice.label)
        if own is None or own != (choice.kind == "denied"):
            continue  # not known, or the report and the label differ
        others = [i for i, s in enumerate(studies) if s.anatomy == choice.study.anatomy]
        others = [i for i in others if studies[i].labels.get(choice.label) == 1 - own]
        if others:
            direction = true[row] - false[row]
            ahead = np.float64(images[row] @ direction) - (bank[others] @ direction).astype(np.float64)
            counted.append(row)
            shares.append(float(((np.sign(ahead) + 1) / 2).mean()))
    return counted, np.asarray(shares)


def _kind(rewriting: Rewriting) -> Kind:
    if rewriting.kind == "side":
        return "side"
    return "denied" if rewriting.was is Value.PRESENT else "affirmed"
