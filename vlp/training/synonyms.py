"""Batches of synonyms by index, and which names are kept out of training to be asked for afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vlp.corpus.term_files import Term
from vlp.corpus.terminology import name_key
from vlp.training.data import EpochBatches, check_batch
from vlp.training.texts import key


@dataclass(frozen=True)
class SynonymSplit:
    """Names by what they are for. No name that reads like a candidate is asked for.

    Attributes:
        training: concept to its names that are trained on, two or more that read differently.
        names: names of trained concepts, unseen in training.
        concepts: one name of every concept that is kept out whole.
        candidates: what ``names`` and ``concepts`` are looked for among: the training names, and the other names of
            the concepts that are kept out.
    """

    training: dict[str, list[Term]]
    names: tuple[Term, ...]
    concepts: tuple[Term, ...]
    candidates: tuple[Term, ...]


def split_synonyms(
    groups: Mapping[str, Sequence[Term]], held_names: float, held_concepts: float, seed: int
) -> SynonymSplit:
    """Keep names out of training: of ``held_concepts`` of the concepts all, of ``held_names`` of the others one.

    A name is only kept out where two that read differently remain. Which, is told by a hash of seed and concept, so
    that it does not depend on what else stands in the files.

    Args:
        groups: concept to its names; concepts with one name are candidates only.
    """
    training: dict[str, list[Term]] = {}
    names: list[Term] = []
    concepts: list[Term] = []
    candidates: list[Term] = []
    for concept, terms in groups.items():
        ordered = sorted(terms, key=lambda term: _chance(seed, term.concept, term.language, term.text))
        forms = len({name_key(term.text) for term in ordered})
        if forms < 2:
            candidates += ordered
        elif _chance(seed, "concept", concept) < held_concepts:
            concepts.append(ordered[0])
            candidates += ordered[1:]
        else:
            rest = ordered
            if forms > 2 and _chance(seed, "name", concept) < held_names:
                names.append(ordered[0])
                rest = ordered[1:]
            training[concept] = list(rest)
            candidates += rest
    known = {name_key(term.text) for term in candidates}
    return SynonymSplit(
        training,
        tuple(term for term in names if name_key(term.text) not in known),
        tuple(term for term in concepts if name_key(term.text) not in known),
        tuple(candidates),
    )


class SynonymBatches:
    """This rank's concepts of batch ``index``, two names of each; an epoch shows every concept once, in a new order.

    A pure function of the index. The two names read differently and may be in different languages.
    """

    def __init__(
        self, training: Mapping[str, Sequence[Term]], batch_size: int, seed: int, rank: int, world: int
    ) -> None:
        """
        Args:
            training: concept to names, at least two that read differently.
            batch_size: concepts over all processes.

        Raises:
            UserError: the batch does not divide by the processes, or there are fewer concepts than one batch.
        """
        check_batch(batch_size, world, len(training), "concepts with two names", "batch_size")
        self._concepts = list(training)
        self._names = [list(terms) for terms in training.values()]
        self.seed, self._chosen = seed, EpochBatches(len(self._concepts), batch_size, seed, rank, world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        chosen = self._chosen[index]
        pairs = [self._pair(number, np.random.default_rng([self.seed, index, number])) for number in chosen]
        texts = [term.text for side in zip(*pairs, strict=True) for term in side]
        concepts = torch.tensor([key(self._concepts[number]) for number in chosen])
        return {
            "texts": texts,
            "concepts": concepts.repeat(2),
            "forms": torch.tensor([key(name_key(text)) for text in texts]),
            "ids": [self._concepts[number] for number in chosen],
        }

    def _pair(self, number: int, rng: np.random.Generator) -> tuple[Term, Term]:
        names = self._names[number]
        first = names[int(rng.integers(len(names)))]
        others = [term for term in names if name_key(term.text) != name_key(first.text)]
        return first, others[int(rng.integers(len(others)))]


def _chance(seed: int, *parts: str) -> float:
    """A number in [0, 1) that is a function of the arguments."""
    digest = hashlib.blake2b("|".join((str(seed), *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
