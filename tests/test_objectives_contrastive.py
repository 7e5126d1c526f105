"""Contrastive losses against slow references; recomputation in slices is exact, with dropout too."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vlp.objectives.contrastive import chunked, info_nce, matches, siglip, siglip_bias


def _unit(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(rows, 4, generator=generator, dtype=torch.float64), dim=-1)


def _slow_nce(images: torch.Tensor, texts: torch.Tensor, scale: float, wanted: list[list[bool]]) -> float:
    rows, total = len(images), 0.0
    for i in range(rows):
        for side in ("image", "text"):
            logits, good = [], []
            for j in range(rows):
                a, b = (images[i], texts[j]) if side == "image" else (images[j], texts[i])
                logits.append(scale * sum(float(p * q) for p, q in zip(a, b, strict=True)))
                good.append(wanted[i][j] if side == "image" else wanted[j][i])
            log_sum = math.log(sum(math.exp(v) for v in logits))
            total -= sum(v - log_sum for v, g in zip(logits, good, strict=True) if g) / sum(good)
    return total / (2 * rows)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 6), scale=st.floats(0.5, 20), seed=st.integers(0, 999), data=st.data())
def test_losses_equal_slow_references(rows: int, scale: float, seed: int, data: st.DataObject) -> None:
    images, texts = _unit(rows, seed), _unit(rows, seed + 1000)
    statement = st.integers(1, 4)
    said = [data.draw(st.lists(statement, min_size=1, max_size=2)) for _ in range(rows)]
    studies = [own + data.draw(st.lists(statement, max_size=2)) for own in said]
    wanted = [[i == j or set(said[j]) <= set(studies[i]) for j in range(rows)] for i in range(rows)]
    keys = (_padded(studies, 5), _padded(said, 3))
    value = info_nce(images, texts, torch.tensor([scale]), keys)
    assert value.item() == pytest.approx(_slow_nce(images, texts, scale, wanted), rel=1e-6)

    plain = [[i == j for j in range(rows)] for i in range(rows)]
    alone = info_nce(images, texts, torch.tensor([scale]))
    assert alone.item() == pytest.approx(_slow_nce(images, texts, scale, plain), rel=1e-6)

    logits = scale * images @ texts.t() - 2.0
    sign = torch.tensor(wanted).double() * 2 - 1
    slow = (
        sum(math.log1p(math.exp(-float(s * v))) for s, v in zip(sign.flatten(), logits.flatten(), strict=True)) / rows
    )
    fast = siglip(images, texts, torch.tensor([scale]), torch.tensor([-2.0]), keys)
    assert fast.item() == pytest.approx(slow, rel=1e-6)


def _padded(rows: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def test_a_text_matches_only_studies_that_say_all_of_it() -> None:
    studies = torch.tensor([[1, 2, 0], [1, 0, 0]])
    texts = torch.tensor([[1, 0], [1, 2], [3, 0], [0, 0]])
    assert matches(studies, texts).tolist() == [[True, True, False, False], [True, False, False, False]]


def test_siglip_starts_at_the_rate_of_positives() -> None:
    assert torch.sigmoid(torch.tensor(siglip_bias(64))).item() == pytest.approx(1 / 64)


def test_slices_give_the_gradient_of_the_whole_with_dropout() -> None:
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 4)).train()
    inputs, other = torch.randn(8, 6), _unit(8, 1).float()

    def gradients(recompute: bool) -> list[torch.Tensor]:
        tower.zero_grad()
        torch.manual_seed(7)
        if recompute:
            rows = chunked(tower, [inputs], 2, 8)
        else:
            rows = torch.cat([tower(part) for part in inputs.split(2)])
        info_nce(nn.functional.normalize(rows, dim=-1), other, torch.tensor([10.0])).backward()
        return [parameter.grad.clone() for parameter in tower.parameters() if parameter.grad is not None]

    for found, wanted in zip(gradients(True), gradients(False), strict=True):
        assert wanted.abs().max() > 1e-4
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
