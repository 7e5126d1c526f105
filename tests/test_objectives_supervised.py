"""Losses of the supervised tasks: unknown labels count for nothing, and known ones as the textbook says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vlp.objectives.captioning import captioning_loss
from vlp.objectives.classification import binary_loss, class_loss, positive_weight
from vlp.objectives.ordinal import OrdinalHead, expected_grade, grade, ordinal_loss
from vlp.objectives.regression import Standardizer, regression_loss

NAN = math.nan


def test_unknown_labels_have_no_gradient() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [0.0, NAN], [NAN, 1.0]])
    loss = binary_loss(logits, labels)
    loss.backward()
    known = ~labels.isnan()
    wanted = nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known])
    assert loss.item() == pytest.approx(wanted.item())
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).all()
    nothing = binary_loss(logits, torch.full((3, 2), NAN))
    assert nothing.item() == 0


def test_class_loss_ignores_unknown_classes() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, -100, 1])
    wanted = nn.functional.cross_entropy(logits[[0, 1, 3]], labels[[0, 1, 3]])
    assert class_loss(logits, labels).item() == pytest.approx(wanted.item())
    assert class_loss(logits, torch.full((4,), -100)).item() == 0


def test_positive_weight_balances() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, NAN], [0.0, 1.0]])
    assert positive_weight(labels).tolist() == [3.0, 2.0]


def test_regression_is_huber_over_known_targets() -> None:
    unit = Standardizer(100.0, 20.0)
    months = torch.tensor([100.0, 140.0, NAN])
    assert unit.inverse(unit(months))[:2].tolist() == months[:2].tolist()
    predicted = torch.zeros(3, requires_grad=True)
    loss = regression_loss(predicted, unit(months), beta=0.2)
    assert loss.item() == pytest.approx((0 + (2 - 0.1)) / 2)
    loss.backward()
    assert predicted.grad[2] == 0


def test_ordinal_head_learns_an_order() -> None:
    torch.manual_seed(0)
    grades = torch.arange(5).repeat(8)
    features = grades.float().unsqueeze(1) + 0.1 * torch.randn(40, 1)
    head = OrdinalHead(1, 5)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    before = ordinal_loss(head(features), grades).item()
    for _ in range(300):
        optimizer.zero_grad()
        ordinal_loss(head(features), grades).backward()
        optimizer.step()
    logits = head(features)
    assert ordinal_loss(logits, grades).item() < before / 2
    assert (grade(logits) == grades).float().mean() > 0.95
    assert (expected_grade(logits) - grades).abs().mean() < 0.5
    assert (logits.diff(dim=1) <= 0).all()  # passing a threshold implies passing those below
    assert ordinal_loss(logits, torch.full((40,), NAN)).item() == 0


def test_captioning_predicts_the_next_token_and_skips_padding() -> None:
    ids = torch.tensor([[1, 2, 3, 0], [1, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    logits = torch.randn(2, 4, 5)
    terms = [-logits.log_softmax(-1)[row, at, ids[row, at + 1]] for row, at in ((0, 0), (0, 1), (1, 0))]
    assert captioning_loss(logits, ids, mask).item() == pytest.approx(float(sum(terms)) / 3, rel=1e-5)
