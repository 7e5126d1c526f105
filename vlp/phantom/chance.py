"""Random draws that depend on named keys only: any patient, any worker, any order gives the same hospital."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def stream(*keys: object) -> random.Random:
    """A generator seeded by the keys' text (SHA-512 inside :class:`random.Random`), equal on every machine."""
    return random.Random("/".join(str(key) for key in keys))


def weighted(rng: random.Random, weights: Mapping[T, float]) -> T:
    """One key of ``weights``, drawn in proportion to its value."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]


def clipped_gauss(rng: random.Random, mean: float, sd: float, low: float, high: float) -> float:
    """A normal draw, held within ``low`` and ``high``."""
    return min(high, max(low, rng.gauss(mean, sd)))


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """A shuffled copy."""
    copy = list(items)
    rng.shuffle(copy)
    return copy
