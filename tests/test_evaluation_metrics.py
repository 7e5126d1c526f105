from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sklearn import metrics as sk

from vlp.evaluation.metrics import METRICS, columns_of
from vlp.evaluation.text import bleu_counts, bleu_of_counts, corpus_bleu, rouge_l, tokens

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-5, 5), st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)),
    min_size=4,
    max_size=60,
).filter(lambda rows: len({r[0] for r in rows if r[4]}) == 2)


@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_weighted_forms_equal_scikit_learn_with_ties_and_weights(rows: list[tuple[int, ...]]) -> None:
    target, score, grade, guess, weight = np.asarray(rows, float).T
    w = weight[None]
    assert METRICS["auroc"].weighted(w, target, score)[0] == pytest.approx(
        sk.roc_auc_score(target, score, sample_weight=weight)
    )
    assert METRICS["auprc"].weighted(w, target, score)[0] == pytest.approx(
        sk.average_precision_score(target, score, sample_weight=weight)
    )
    assert METRICS["accuracy"].weighted(w, grade, guess)[0] == pytest.approx(
        sk.accuracy_score(grade, guess, sample_weight=weight)
    )
    assert METRICS["mad_months"].weighted(w, grade, guess)[0] == pytest.approx(
        sk.mean_absolute_error(grade, guess, sample_weight=weight)
    )
    kappa = METRICS["quadratic_kappa"].weighted(w, grade, guess)[0]
    if np.isfinite(kappa):
        wanted = sk.cohen_kappa_score(
            grade.astype(int), guess.astype(int), weights="quadratic", labels=range(5), sample_weight=weight
        )
        assert kappa == pytest.approx(wanted)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=40).filter(
        lambda r: any(w for _, w in r)
    )
)
@settings(max_examples=100, deadline=None)
def test_weighted_median_is_the_median_of_the_repeated_values(rows: list[tuple[int, int]]) -> None:
    ranks, weights = (np.asarray(column) for column in zip(*rows, strict=True))
    drawn = METRICS["median_rank"].weighted(weights[None].astype(float), ranks.astype(float))[0]
    assert drawn == np.median(np.repeat(ranks, weights))


def test_known_answers() -> None:
    target, score = np.array([0, 0, 1, 1.0]), np.array([0.1, 0.4, 0.35, 0.8])
    assert METRICS["auroc"].value(target, score) == pytest.approx(0.75)
    assert METRICS["auroc"].value(np.ones(3), np.arange(3.0)) != METRICS["auroc"].value(np.ones(3), np.arange(3.0))
    ranks, pool = np.array([1, 3, 7, 40.0]), np.full(4, 100.0)
    assert [METRICS[f"recall_at_{k}"].value(ranks, pool) for k in (1, 5, 10)] == [0.25, 0.5, 0.75]
    assert METRICS["median_rank"].value(ranks, pool) == 5
    assert METRICS["median_rank_percent"].value(ranks, pool) == 5
    grades = np.array([0, 1, 2, 3, 4.0])
    assert METRICS["quadratic_kappa"].value(grades, grades) == 1
    assert METRICS["quadratic_kappa"].value(grades, grades[::-1]) == pytest.approx(-1)


def test_label_f1_leaves_out_labels_without_a_reference_and_the_draws_agree() -> None:
    present = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], float)
    said = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]], float)
    macro, micro = METRICS["label_f1_macro"], METRICS["label_f1_micro"]
    assert macro.value(present, said) == pytest.approx((2 / 3 + 1) / 2)
    assert micro.value(present, said) == pytest.approx(2 * 2 / (3 + 3))
    ones = np.ones((1, 4))
    assert macro.weighted(ones, present, said)[0] == pytest.approx(macro.value(present, said))
    assert micro.weighted(ones, present, said)[0] == pytest.approx(micro.value(present, said))
    doubled = np.array([[2.0, 0, 1, 1]])
    rows = [0, 0, 2, 3]
    assert macro.weighted(doubled, present, said)[0] == pytest.approx(macro.value(present[rows], said[rows]))


def test_grades_are_rounded_and_held_to_the_scale() -> None:
    target, guess = columns_of("osteoarthritis", [0, 4, 2], [-0.7, 4.9, 1.6])
    assert guess.tolist() == [0, 4, 2]
    assert target.tolist() == [0, 4, 2]


REFERENCES = [
    "Fracture déplacée du radius distal de 3,5 mm.",
    "Pas d'épanchement pleural ni de pneumothorax.",
    "Normal.",
]
HYPOTHESES = ["Fracture du radius.", "Pas de pneumothorax ni d'épanchement pleural.", "Examen normal."]


def test_accents_and_decimals_survive_the_tokenizer() -> None:
    assert tokens("Élargi, de 3,5 mm: l’œil") == ["élargi", ",", "de", "3,5", "mm", ":", "l", "’", "œil"]
    assert rouge_l(["épanchement"], ["pnchement"])[0] == 0  # an a-z tokenizer sees one shared piece
    assert rouge_l(["épanchement"], ["e\u0301panchement"])[0] == 1


def test_bleu_is_sacrebleus_and_its_counts_add_up() -> None:
    counts = bleu_counts(REFERENCES, HYPOTHESES)
    whole = BLEU(tokenize="none").corpus_score(
        [" ".join(tokens(h)) for h in HYPOTHESES], [[" ".join(tokens(r)) for r in REFERENCES]]
    )
    assert corpus_bleu(counts) == pytest.approx(whole.score / 100)
    for rows in ([0], [1], [2], [0, 1, 2], [1, 1, 2]):
        assert bleu_of_counts(counts[rows].sum(axis=0)[None])[0] == pytest.approx(corpus_bleu(counts[rows]))
    same = bleu_counts(REFERENCES[:2], REFERENCES[:2])
    assert corpus_bleu(same) == pytest.approx(1)
    assert corpus_bleu(bleu_counts(["un deux trois quatre"], [""])) == 0
