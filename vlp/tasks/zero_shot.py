"""Zero-shot answers by prompts of the language pack: no label is used.

A class is the mean of the normalised embeddings of its prompts, normalised again (prompt ensemble, Radford 2021). For a
finding the score is the softmax of the positive against the negative class (CheXzero, Tiu 2022); for a grade it is the
nearest class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from anonymize.config import ConfigError
from anonymize.languages import load_pack
from vlp.encoders.dual import DualEncoder
from vlp.study import Study
from vlp.tasks.features import Array, text_embeddings
from vlp.tasks.task import Task
from vlp.training.descriptions import described_classes


def prompts_of(language: str, task: Task, source: Literal["pack", "descriptions"] = "pack") -> list[list[str]]:
    """One list of prompts a class: negative and positive, or grade 0, 1, 2 ... of ``prompts.yaml``; [] if it has none.

    With ``source`` "descriptions" a finding is all sentences of its facets in ``descriptions.yaml``, and its absence
    those that deny it; grades keep their prompts.

    Raises:
        ConfigError: the pack is missing, or an entry has no prompt for a class.
    """
    if source == "descriptions" and task.kind == "binary":
        return described_classes(language, task.label)
    topic = load_pack(language)["prompts"]
    entry = topic.get("findings", topic).get(task.label)
    if entry is None:
        return []
    keys = ["negative", "positive"] if task.kind == "binary" else list(range(task.classes))
    classes: list[Any] = (
        [entry.get(key) or entry.get(str(key)) for key in keys] if isinstance(entry, dict) else list(entry)
    )
    if len(classes) != len(keys) or not all(classes):
        raise ConfigError(f"language pack '{language}', prompts.yaml: '{task.label}' needs prompts for each of {keys}")
    return [list(prompts) for prompts in classes]


def class_embeddings(dual: DualEncoder, classes: Sequence[Sequence[str]]) -> Array:
    """[C, E], L2-normalised."""
    means = np.stack([text_embeddings(dual, list(prompts)).mean(axis=0) for prompts in classes])
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)


def zero_shot(images: Array, classes: Array, logit_scale: float) -> npt.NDArray[np.float64]:
    """Answers [n] of image embeddings [n, E] to class embeddings [C, E]: P(positive) of two classes, else the nearest.

    No expectation over grades: the softmax at the trained temperature is nearly flat, so it would name the middle one.
    """
    similarity = np.asarray(images @ classes.T, np.float64)
    if len(classes) > 2:
        return similarity.argmax(axis=1).astype(np.float64)
    return softmax(logit_scale * similarity, axis=1)[:, 1]


def corpus_language(studies: Sequence[Study]) -> str:
    """The language of most reports; "" where there is none."""
    counts = Counter(s.language for s in studies if s.language)
    return counts.most_common(1)[0][0] if counts else ""
