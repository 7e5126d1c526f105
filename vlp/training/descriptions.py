"""Descriptions of findings from the language packs, drawn for a batch, and what a study's labels say of each finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from anonymize.config import ConfigError
from anonymize.console import UserError
from anonymize.languages import available, load_pack
from vlp.objectives.descriptions import FACETS
from vlp.study import Study

FINDINGS = (
    *("fracture", "effusion", "consolidation", "cardiomegaly", "pneumothorax"),
    *("cast", "hardware", "scoliosis", "abnormal", "kl_grade"),
)
"""Findings that packs describe; ``kl_grade`` is osteoarthritis of the knee. A bone age is no finding."""
OSTEOARTHRITIS = 2  # the grade from which a knee has it (Kellgren & Lawrence 1957); 1 is doubtful


def known_findings(labels: Mapping[str, float]) -> list[int]:
    """For each of ``FINDINGS`` 1 present, 0 absent, -1 not known or doubtful."""
    found = []
    for name in FINDINGS:
        if name == "kl_grade":
            grades = [labels[key] for key in ("kl_grade", "kl_right", "kl_left") if key in labels]
            grade = max(grades, default=1)
            found.append(1 if grade >= OSTEOARTHRITIS else 0 if grade < 1 else -1)
        else:
            found.append({1.0: 1, 0.0: 0}.get(labels.get(name, -1.0), -1))
    return found


def described_findings(language: str) -> dict[str, dict[str, list[str]]]:
    """Finding to facet to sentences, of a pack.

    Raises:
        ConfigError: no such pack, or it has no descriptions.yaml.
    """
    return load_pack(language)["descriptions"]["findings"]


def described_classes(language: str, label: str) -> list[list[str]]:
    """Sentences that deny ``label`` and sentences that describe it; [] where the pack does not describe it.

    Raises:
        ConfigError: no such pack, or it has no descriptions.yaml.
    """
    facets = described_findings(language).get(label)
    if not facets:
        return []
    return [list(facets["negative"]), [text for f in FACETS if f != "negative" for text in facets.get(f, ())]]


class Descriptions:
    """One sentence for every finding and facet, drawn anew for each batch in one of the languages."""

    def __init__(self, languages: Sequence[str], seed: int) -> None:
        """``languages`` are packs' codes, a language as often as it shall be drawn.

        Raises:
            ConfigError: a pack has no descriptions.yaml.
        """
        self.languages, self.seed = list(languages), seed
        self._texts = {language: described_findings(language) for language in self.languages}

    @classmethod
    def of(cls, studies: Sequence[Study], seed: int) -> Descriptions:
        """In the languages of the studies' reports, as often as they are written in them.

        Raises:
            UserError: no study's labels tell a finding from its absence, or a pack describes nothing.
        """
        known = np.asarray([known_findings(study.labels) for study in studies]).reshape(-1, len(FINDINGS))
        if not ((known == 1).any(axis=0) & (known == 0).any(axis=0)).any():
            raise UserError(
                "contrastive.descriptions needs labels: no finding is known to be present in one training study and "
                "absent in another; mine labels from the reports (`anonymize labels`) or leave the term at 0"
            )
        languages = [study.language for study in studies if study.language in available()]
        if not languages:
            raise UserError("contrastive.descriptions: no report is in a language that has a pack")
        try:
            return cls(sorted(languages), seed)
        except ConfigError as error:
            raise UserError(f"contrastive.descriptions: {error}") from None

    def texts(self, index: int) -> list[str]:
        """Findings x facets sentences of batch ``index``, finding by finding; "" where a pack has none."""
        rng = np.random.default_rng([self.seed, index, 17])
        language = self.languages[int(rng.integers(len(self.languages)))]
        drawn = []
        for finding in FINDINGS:
            for facet in FACETS:
                options = self._texts[language].get(finding, {}).get(facet, [])
                drawn.append(str(options[int(rng.integers(len(options)))]) if options else "")
        return drawn

    def batch(self, index: int, studies: Sequence[Study]) -> dict[str, Any]:
        """``descriptions``, ``written`` and ``findings`` as :class:`vlp.objectives.descriptions.Described` has them."""
        texts = self.texts(index)
        return {
            "descriptions": texts,
            "written": torch.tensor([bool(text) for text in texts]).view(len(FINDINGS), len(FACETS)),
            "findings": torch.tensor([known_findings(study.labels) for study in studies]),
        }
