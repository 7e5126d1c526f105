"""Overlap of generated with reference reports, on words with their accents kept.

BLEU-4 (Papineni 2002) by sacrebleu with ``tokenize="none"``, ROUGE-L (Lin 2004, F measure) by rouge-score, both on the
tokens of :func:`tokens`. References are never cut. rouge-score's own tokenizer keeps a-z only and would split French
words at each accent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Words (accents kept, lower case, NFC), numbers with their decimals, and marks, each its own token."""
    return _TOKEN.findall(unicodedata.normalize("NFC", text).lower())


class _Tokenizer:
    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


def bleu_counts(references: Sequence[str], hypotheses: Sequence[str]) -> npt.NDArray[np.float64]:
    """Counts [n, 10] that add up to corpus BLEU-4: hypothesis length, reference length, 4 matches, 4 totals."""
    metric = BLEU(tokenize="none", effective_order=False)
    rows = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        score = metric.corpus_score([" ".join(tokens(hypothesis))], [[" ".join(tokens(reference))]])
        rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
    return np.asarray(rows, float).reshape(len(rows), 10)


def corpus_bleu(counts: npt.NDArray[np.float64]) -> float:
    """Corpus BLEU-4, 0-1, of the counts of :func:`bleu_counts`, by sacrebleu (exponential smoothing)."""
    total = counts.sum(axis=0).astype(int).tolist()
    if not total[0]:
        return 0.0
    score = BLEU.compute_bleu(
        correct=total[2:6], total=total[6:], sys_len=total[0], ref_len=total[1], smooth_method="exp"
    )
    return float(score.score) / 100


def bleu_of_counts(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """:func:`corpus_bleu` for B sums of counts at once, [B, 10] → [B]."""
    system, reference, matches, totals = counts[:, 0], counts[:, 1], counts[:, 2:6], counts[:, 6:]
    # sacrebleu's "exp" smoothing: the k-th order without a match counts as 1 / 2^k matches
    empty = (matches == 0) & (totals > 0)
    halvings = np.cumsum(empty, axis=1)
    precision = np.where(empty, 0.5**halvings, matches) / np.maximum(totals, 1e-12)
    defined: npt.NDArray[np.bool_] = np.logical_and((totals > 0).all(axis=1), matches.any(axis=1))
    with np.errstate(divide="ignore"):
        mean = np.exp(np.log(np.where(defined[:, None], precision, 1.0)).mean(axis=1))
        penalty = np.where(system < reference, np.exp(1 - reference / np.maximum(system, 1e-12)), 1.0)
    return np.where(defined, penalty * mean, 0.0)


def rouge_l(references: Sequence[str], hypotheses: Sequence[str]) -> npt.NDArray[np.float64]:
    """ROUGE-L F measure of each pair, 0-1, [n]."""
    scorer = RougeScorer(["rougeL"], tokenizer=_Tokenizer())
    pairs = zip(references, hypotheses, strict=True)
    return np.asarray(
        [scorer.score(reference, hypothesis)["rougeL"].fmeasure for reference, hypothesis in pairs], float
    )
