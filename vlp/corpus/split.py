"""The split by patient."""

from __future__ import annotations

import hashlib

from vlp.corpus.config import SplitConfig


def split_of(patient: str, config: SplitConfig) -> str:
    """train, validation or test: a pure function of the patient's pseudonym, so new data never move a patient.

    SHA-256 of salt and pseudonym gives a place in [0, 1): test lies at the bottom, validation above it, so a larger
    test part keeps the former test patients.
    """
    digest = hashlib.sha256(f"{config.salt}\0{patient}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < config.test:
        return "test"
    return "validation" if place < config.test + config.validation else "train"
