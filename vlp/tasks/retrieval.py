"""Image-to-text and text-to-image retrieval by study, among all reported studies of a split.

Reports that say the same (equal ``report_hash``) are one answer: any of them is correct, in both directions. A rank is
1 + the candidates scored above the best correct one + half of the wrong ones tied with it, so that a model which
gives every candidate the same score lands in the middle of the pool, not at its top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vlp.study import Study
from vlp.training.texts import whole

_BLOCK = 512


def retrieval_ranks(
    queries: npt.NDArray[np.floating],
    candidates: npt.NDArray[np.floating],
    answers: Sequence[str],
    offered: Sequence[str] | None = None,
) -> npt.NDArray[np.float64]:
    """Rank [n] of the first correct candidate for each query, from 1.

    ``queries`` [n, E] and ``candidates`` [m, E] are normalised embeddings, of the same studies in the same order where
    ``offered`` is not given; ``answers`` [n] and ``offered`` [m]: equal strings are correct for one another.
    """
    pool = answers if offered is None else offered
    _, codes = np.unique(np.asarray([*answers, *pool], dtype=str), return_inverse=True)
    wanted, held = codes[: len(answers)], codes[len(answers) :]
    ranks = np.empty(len(wanted))
    for start in range(0, len(wanted), _BLOCK):
        scores = np.asarray(queries[start : start + _BLOCK] @ candidates.T, np.float64)
        correct = wanted[start : start + _BLOCK, None] == held[None, :]
        best = np.where(correct, scores, -np.inf).max(axis=1, keepdims=True)
        above = (~correct & (scores > best + 1e-9)).sum(axis=1)
        tied = (~correct & (np.abs(scores - best) <= 1e-9)).sum(axis=1)
        ranks[start : start + _BLOCK] = 1 + above + tied / 2
    return ranks


def nearest(
    queries: npt.NDArray[np.floating], candidates: npt.NDArray[np.floating], k: int = 1
) -> npt.NDArray[np.intp]:
    """Indices [n, k] of the candidates with the highest similarity, best first."""
    k = min(k, len(candidates))
    rows = []
    for start in range(0, len(queries), _BLOCK):
        scores = queries[start : start + _BLOCK] @ candidates.T
        rows.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    return np.concatenate(rows) if rows else np.zeros((0, k), np.intp)


def retrieval_examples(
    images: npt.NDArray[np.floating],
    texts: npt.NDArray[np.floating],
    studies: Sequence[Study],
    count: int,
    seed: int,
    top: int = 5,
) -> list[dict[str, Any]]:
    """For the results page: ``count`` query studies drawn at random, each with its rank and its ``top`` reports."""
    ranks = retrieval_ranks(images, texts, [s.report_hash for s in studies])
    chosen = np.random.default_rng([seed, 11]).permutation(len(studies))[:count]
    found = nearest(images[chosen], texts, top)
    return [
        {
            "study_id": studies[query].study_id,
            "anatomy": studies[query].anatomy.replace("_", " "),
            "report": studies[query].report,
            "rank": int(ranks[query]),
            "pool": len(studies),
            "answers": [
                {
                    "study_id": studies[i].study_id,
                    "text": whole(studies[i]),
                    "similarity": round(float(images[query] @ texts[i]), 4),
                    "correct": studies[i].report_hash == studies[query].report_hash,
                }
                for i in row
            ],
        }
        for query, row in zip(chosen, found, strict=True)
    ]
