"""Sums and gathers over processes, where one is enough to tell; more in test_exact_gradients.py."""

from __future__ import annotations

import pytest
import torch

from anonymize.console import UserError
from vlp.training import distributed


def test_another_number_of_processes_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="torchrun --nproc_per_node 2"):
        distributed.check_world_size(2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE is 2"):
        distributed.check_world_size(None)


def test_reseeding_is_a_pure_function() -> None:
    draws = []
    for seed, step, rank in ((0, 5, 0), (0, 5, 1), (0, 6, 0), (1, 5, 0), (0, 5, 0)):
        distributed.reseed(seed, step, rank)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[4]
    assert len({tuple(draw) for draw in draws}) == 4


def test_a_mean_counts_what_it_is_told_to() -> None:
    values = torch.tensor([1.0, 5.0, 9.0])
    assert distributed.mean_of_all(values, torch.tensor([True, False, True])).item() == 5
    assert distributed.mean_of_all(values, torch.zeros(3)).item() == 0
    assert distributed.mean_of_all(values, torch.tensor([3, 1, 0])).item() == 2
