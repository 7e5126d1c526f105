"""Findings of a report as numbers, for the tasks: a view of the label miner of ``anonymize.labels``.

The words, the scope of negation and uncertainty and the rank of the sections live there; here are only the names that
the tasks compare and their values. Old findings and those of another kind (a joint effusion) are left out.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from anonymize.labels.miner import Miner, miner
from anonymize.labels.row import Value

PRESENT, UNCERTAIN, ABSENT = 1.0, 0.5, 0.0
FINDINGS = (
    "fracture",
    "effusion",
    "consolidation",
    "cardiomegaly",
    "pneumothorax",
    "cast",
    "hardware",
    "scoliosis",
    "osteoarthritis",
    "joint_space_narrowing",
    "osteophyte",
)
_STATUS = {Value.PRESENT: PRESENT, Value.UNCERTAIN: UNCERTAIN, Value.ABSENT: ABSENT}


class Labeler:
    """The labels of one language as numbers. Make it with :func:`labeler`."""

    def __init__(self, rules: Miner) -> None:
        self.language = rules.language
        self.findings = FINDINGS
        self._rules = rules

    def labels(self, text: str) -> dict[str, float]:
        """Status of each finding that ``text`` names: 1.0 present, 0.5 uncertain, 0.0 absent; ``kl_grade`` 0-4."""
        result: dict[str, float] = {}
        read = self._rules.read(unicodedata.normalize("NFC", text))
        for name, mention in read.items():
            if name in FINDINGS and mention.value in _STATUS and not mention.qualifiers.history:
                result[name] = _STATUS[mention.value]
        if "kl_grade" in read and read["kl_grade"].grade is not None:
            result["kl_grade"] = float(read["kl_grade"].grade)
        return result

    def vector(self, text: str, *, uncertain: bool = True) -> npt.NDArray[np.float64]:
        """[findings] 1.0 where present (or uncertain, if counted so), else 0.0, in the order of ``findings``."""
        labels = self.labels(text)
        floor = UNCERTAIN if uncertain else PRESENT
        return np.asarray([float(labels.get(name, ABSENT) >= floor) for name in self.findings])


@lru_cache(maxsize=16)
def labeler(language: str) -> Labeler:
    """The labeler of a language pack.

    Raises:
        ConfigError: the pack lacks ``labels.yaml``, or one of its expressions cannot be compiled.
    """
    return Labeler(miner(language))
