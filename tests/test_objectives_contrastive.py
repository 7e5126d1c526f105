"""Contrastive losses and their targets against slow references; recomputation in slices is exact, with dropout too."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils import checkpoint

from vlp.objectives import gradcache
from vlp.objectives.gradcache import chunked
from vlp.objectives.infonce import info_nce
from vlp.objectives.siglip import siglip, siglip_bias
from vlp.objectives.targets import Keys, Targets, _matches, matches

CPU = torch.device("cpu")


def _unit(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(rows, 4, generator=generator, dtype=torch.float64), dim=-1)


def _slow_nce(
    images: Tensor, texts: Tensor, scale: float, by_image: list[list[float]], by_text: list[list[float]]
) -> float:
    rows, total = len(images), 0.0
    for i in range(rows):
        for a, others, share in ((images[i], texts, by_image[i]), (texts[i], images, by_text[i])):
            logits = [scale * sum(float(p * q) for p, q in zip(a, b, strict=True)) for b in others]
            log_sum = math.log(sum(math.exp(v) for v in logits))
            total -= sum(s * (v - log_sum) for v, s in zip(logits, share, strict=True))
    return total / (2 * rows)


def _shares(wanted: list[list[bool]], texts: Tensor, soft: float, sharpness: float) -> list[list[float]]:
    out = []
    for i, row in enumerate(wanted):
        likeness = [math.exp(sharpness * float(texts[i] @ other)) for other in texts]
        out.append(
            [
                (1 - soft) * good / sum(row) + soft * like / sum(likeness)
                for good, like in zip(row, likeness, strict=True)
            ]
        )
    return out


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 6),
    scale=st.floats(0.5, 20),
    soft=st.sampled_from([0.0, 0.3]),
    elements=st.sampled_from([2**22, 8]),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_losses_equal_slow_references(
    rows: int, scale: float, soft: float, elements: int, seed: int, data: st.DataObject
) -> None:
    images, texts = _unit(rows, seed), _unit(rows, seed + 1000)
    statement = st.integers(1, 4)
    said = [data.draw(st.lists(statement, min_size=1, max_size=2)) for _ in range(rows)]
    studies = [own + data.draw(st.lists(statement, max_size=2)) for own in said]
    labels = [data.draw(st.integers(0, 2)) for _ in range(rows)]
    same = [[bool(a) and a == b for b in labels] for a in labels]
    wanted = [[i == j or set(said[j]) <= set(studies[i]) or same[i][j] for j in range(rows)] for i in range(rows)]
    turned = [[wanted[j][i] for j in range(rows)] for i in range(rows)]
    keys = Keys(_padded(studies, 5), _padded(said, 3), torch.tensor(labels))
    goal = Targets.of(rows, CPU, keys, texts, soft)
    value = info_nce(images, texts, torch.tensor([scale]), goal, elements)
    shares = [_shares(side, texts, soft, 10.0) for side in (wanted, turned)]
    assert value.item() == pytest.approx(_slow_nce(images, texts, scale, *shares), rel=1e-6)

    plain = [[float(i == j) for j in range(rows)] for i in range(rows)]
    alone = info_nce(images, texts, torch.tensor([scale]))
    assert alone.item() == pytest.approx(_slow_nce(images, texts, scale, plain, plain), rel=1e-6)

    logits = scale * images @ texts.t() - 2.0
    sign = torch.tensor(wanted).double() * 2 - 1
    slow = (
        sum(math.log1p(math.exp(-float(s * v))) for s, v in zip(sign.flatten(), logits.flatten(), strict=True)) / rows
    )
    fast = siglip(images, texts, torch.tensor([scale]), torch.tensor([-2.0]), goal, elements)
    assert fast.item() == pytest.approx(slow, rel=1e-6)


def _padded(rows: list[list[int]], width: int) -> Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_matches_equal_sets(data: st.DataObject) -> None:
    row = st.lists(st.integers(0, 5), min_size=4, max_size=4)
    studies = data.draw(st.lists(row, min_size=1, max_size=5))
    texts = data.draw(st.lists(row, min_size=1, max_size=5))
    wanted = [[bool(set(t) - {0}) and set(t) - {0} <= set(s) for t in texts] for s in studies]
    assert matches(torch.tensor(studies), torch.tensor(texts)).tolist() == wanted
    assert _matches(torch.tensor(studies), torch.tensor(texts), waits=False).tolist() == wanted, "as on a GPU"


def test_siglip_starts_at_the_rate_of_positives() -> None:
    assert torch.sigmoid(torch.tensor(siglip_bias(64))).item() == pytest.approx(1 / 64)


def test_slices_give_the_gradient_of_the_whole_with_dropout() -> None:
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 4)).train()
    inputs, other = torch.randn(8, 6), _unit(8, 1).float()

    def gradients(recompute: bool) -> list[Tensor]:
        tower.zero_grad()
        torch.manual_seed(7)
        if recompute:
            (rows,) = chunked(lambda part: (tower(part),), [inputs], 2)
        else:
            rows = torch.cat([tower(part) for part in inputs.split(2)])
        info_nce(nn.functional.normalize(rows, dim=-1), other, torch.tensor([10.0])).backward()
        return [parameter.grad.clone() for parameter in tower.parameters() if parameter.grad is not None]

    for found, wanted in zip(gradients(True), gradients(False), strict=True):
        assert wanted.abs().max() > 1e-4
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_every_slice_carries_a_tensor_so_that_device_randomness_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch saves the random state of the devices of a checkpoint's tensor arguments only: with strings, dropout on a GPU
    # would be drawn anew in the recomputation and the gradient be that of another network
    seen: list[tuple] = []

    def spy(function, *args, **options):  # type: ignore[no-untyped-def]
        seen.append(args)
        assert options["preserve_rng_state"]
        return checkpoint.checkpoint(function, *args, **options)

    monkeypatch.setattr(gradcache, "checkpoint", spy)
    chunked(lambda part: (part * 2,), [torch.zeros(5, 2, requires_grad=True)], 2)
    assert len(seen) == 3
    assert all(args and all(isinstance(value, Tensor) for value in args) for args in seen)
