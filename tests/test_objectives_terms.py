"""The terms beside the contrastive loss against slow references: words and patches, rewritten texts, languages."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from vlp.objectives.captioning import CaptionHead, captioning_loss, captioning_rows
from vlp.objectives.crosslingual import decorrelation
from vlp.objectives.gloria import gloria
from vlp.objectives.hardnegative import hard_negative, others_of_group
from vlp.objectives.local import LocalFeatures, by_study, sparc
from vlp.objectives.targets import Keys, Targets


def _slow_sparc(patches: Tensor, tokens: Tensor, scale: float) -> float:
    """One study: its patches [P, E] and the words [T, E] of its text, all real."""
    views = []
    for word in tokens:
        likeness = [float(word @ patch) for patch in patches]
        low, high = min(likeness), max(likeness)
        spread = [(v - low) / max(high - low, 1e-6) for v in likeness]
        kept = [v if v >= 1 / len(patches) else 0.0 for v in spread]
        total = max(sum(kept), 1e-6)
        views.append(sum(v / total * patch for v, patch in zip(kept, patches, strict=True)))
    a, b = normalize(torch.stack(views), dim=-1), normalize(tokens, dim=-1)
    loss = 0.0
    for t in range(len(tokens)):
        for x, others in ((a[t], b), (b[t], a)):
            logits = [scale * float(x @ y) for y in others]
            loss -= logits[t] - math.log(sum(math.exp(v) for v in logits))
    return loss / (2 * len(tokens))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999))
def test_words_and_patches_equal_a_slow_reference_whatever_is_padding(data: st.DataObject, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    studies = data.draw(st.integers(1, 4))
    images = [data.draw(st.integers(0, 3)) for _ in range(studies)]
    words = [data.draw(st.integers(0, 4)) for _ in range(studies)]
    owner = torch.tensor([i for i, count in enumerate(images) for _ in range(count)], dtype=torch.int64)
    owner = owner[torch.randperm(len(owner), generator=generator)]
    patches = torch.randn(len(owner), 5, 3, generator=generator).double()
    tokens = torch.randn(studies, 4, 3, generator=generator).double()
    mask = torch.arange(4) < torch.tensor(words).unsqueeze(1)
    held, seen = by_study(patches, owner, studies)
    assert seen.sum(dim=1).tolist() == [5 * count for count in images]
    found = sparc(LocalFeatures(held, seen, tokens, mask), torch.tensor([7.0]).double())
    each = [
        _slow_sparc(patches[owner == i].flatten(0, 1), tokens[i, : words[i]], 7.0)
        for i in range(studies)
        if words[i] and images[i]
    ]
    assert found.item() == pytest.approx(sum(each) / len(each) if each else 0.0, abs=1e-9)


def _slow_gloria(patches: list[Tensor], texts: list[Tensor], scale: float, wanted: Tensor) -> float:
    """Studies' patches [P, E] and texts' words [T, E], all real and of length 1; ``wanted`` [b, b]: text j fits study i."""
    like = torch.zeros(len(patches), len(texts), dtype=torch.float64)
    for i, own in enumerate(patches):
        for j, words in enumerate(texts):
            told = []
            for word in words if len(own) else []:
                weights = [math.exp(scale * float(word @ patch)) for patch in own]
                seen = sum(w * patch for w, patch in zip(weights, own, strict=True)) / sum(weights)
                told.append(math.exp(5 * (float(word @ seen) / float(seen.norm()) - 1)))
            like[i, j] = 1 + math.log(sum(told) / len(told)) / 5 if told else 0.0
    loss = 0.0
    for logits, target in ((scale * like, wanted), (scale * like.t(), wanted.t())):
        for row, goal in zip(logits, target, strict=True):
            own = -row.log_softmax(0)[goal]
            loss += float(own.mean())
    return loss / (2 * len(patches))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999))
def test_words_and_patches_of_a_batch_equal_a_slow_reference(data: st.DataObject, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    studies = data.draw(st.integers(1, 4))
    images = [data.draw(st.integers(0, 2)) for _ in range(studies)]
    words = [data.draw(st.integers(0, 4)) for _ in range(studies)]
    owner = torch.tensor([i for i, count in enumerate(images) for _ in range(count)], dtype=torch.int64)
    patches = normalize(torch.randn(len(owner), 5, 3, generator=generator).double(), dim=-1)
    tokens = normalize(torch.randn(studies, 4, 3, generator=generator).double(), dim=-1)
    statement = torch.randint(1, 3, (studies, 1), generator=generator)
    features = LocalFeatures(*by_study(patches, owner, studies), tokens, torch.arange(4) < torch.tensor(words)[:, None])
    goal = Targets.of(studies, tokens.device, Keys(statement, statement))
    slow = _slow_gloria(
        [patches[owner == i].flatten(0, 1) for i in range(studies)],
        [tokens[i, :count] for i, count in enumerate(words)],
        7.0,
        statement == statement.t(),
    )
    for elements in (2**20, 10):
        found = gloria(features, torch.tensor([7.0]).double(), goal, elements)
        assert found.item() == pytest.approx(slow, abs=1e-6)  # targets are float32


@pytest.mark.parametrize("loss", ["sparc", "gloria"])
def test_padding_gets_no_gradient_and_makes_none_infinite(loss: str) -> None:
    patches = torch.randn(3, 4, 6, requires_grad=True)
    tokens = torch.randn(3, 5, 6, requires_grad=True)
    held, seen = by_study(patches, torch.tensor([0, 0, 2]), 3)  # study 1 has no image
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()  # study 2 has no word
    local = LocalFeatures(held, seen, tokens, mask)
    (sparc(local, torch.tensor([10.0])) if loss == "sparc" else gloria(local, torch.tensor([10.0]))).backward()
    assert patches.grad is not None
    assert tokens.grad is not None
    assert torch.isfinite(patches.grad).all()
    assert torch.isfinite(tokens.grad).all()
    assert patches.grad[:2].abs().sum() > 0
    if loss == "sparc":  # over a batch, a film without words of its own is set against those of others
        assert patches.grad[2].abs().sum() == tokens.grad[1:].abs().sum() == 0
    assert tokens.grad[0, 2:].abs().sum() == tokens.grad[2].abs().sum() == 0


def test_a_rewritten_text_that_is_nearer_costs_more_than_log_2() -> None:
    images, true = torch.tensor([[1.0, 0.0]] * 3), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    false, scale = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([2.0])
    only = [hard_negative(images, true, false, torch.arange(3) == i, scale).item() for i in range(2)]
    assert only == pytest.approx([math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))])
    assert hard_negative(images, true, true, torch.ones(3).bool(), scale).item() == pytest.approx(math.log(2))
    both = hard_negative(images, true, false, torch.tensor([True, True, False]), scale)
    assert both.item() == pytest.approx(sum(only) / 2)
    assert hard_negative(images, true, false, torch.zeros(3).bool(), scale).item() == 0


def test_what_is_taken_off_is_the_mean_of_the_others_of_the_anatomy() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])
    mean, known = others_of_group(images, torch.tensor([7, 7, 7, 9]))
    assert known.tolist() == [True, True, True, False]
    expected = torch.tensor([[0.3, 0.9], [0.8, 0.4], [0.5, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(mean, expected)


def test_a_text_that_every_image_prefers_gains_nothing_once_the_mean_is_taken_off() -> None:
    images = torch.tensor([[0.6, 0.8], [0.6, 0.8]])
    true, false = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[0.0, -1.0]] * 2)
    mean, known = others_of_group(images, torch.tensor([1, 1]))
    assert hard_negative(images, true, false, known, torch.tensor([5.0])).item() < 0.01
    assert hard_negative(images - mean, true, false, known, torch.tensor([5.0])).item() == pytest.approx(math.log(2))


def test_decorrelation_equals_a_slow_reference_and_falls_with_agreement() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(20, 5).double(), torch.randn(20, 5).double()

    def correlation(i: int, j: int) -> float:
        a, b = first[:, i] - first[:, i].mean(), second[:, j] - second[:, j].mean()
        return float((a * b).mean() / ((a.pow(2).mean() + 1e-5).sqrt() * (b.pow(2).mean() + 1e-5).sqrt()))

    slow = sum(
        (correlation(i, j) - 1) ** 2 if i == j else 0.0051 * correlation(i, j) ** 2 for i in range(5) for j in range(5)
    )
    assert decorrelation(first, second).item() == pytest.approx(slow / 5, rel=1e-9)
    repeated = first[:, :1].expand(-1, 5)  # one direction in every feature, as a language would be
    assert decorrelation(first, first) < 0.1 * decorrelation(first, second)
    assert decorrelation(repeated, repeated) > 4 * decorrelation(first, first)


def test_a_caption_looks_at_its_own_study_and_at_no_later_word() -> None:
    torch.manual_seed(0)
    head = CaptionHead(16, 20, 6, dropout=0.0).eval()
    ids = torch.randint(1, 20, (2, 6))
    patches, seen = torch.randn(2, 4, 16), torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    before = head(ids, patches, seen)
    assert torch.isfinite(before).all()
    later, hidden = ids.clone(), patches.clone()
    later[:, 4:] = 1
    hidden[:, 2:] += 1
    torch.testing.assert_close(head(later, patches, seen)[:, :4], before[:, :4])
    torch.testing.assert_close(head(ids, hidden, seen)[0], before[0])
    hidden[:, 0] += 1
    assert (head(ids, hidden, seen)[0] - before[0]).abs().max() > 1e-3
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    total, count = captioning_rows(before, ids, mask)
    assert count.tolist() == [3, 1]
    assert captioning_loss(before, ids, mask).item() == pytest.approx(total.sum().item() / 4)
