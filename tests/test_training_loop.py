"""The loop: exact resume, checkpoints, averages, stops."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anonymize.config import validate
from anonymize.console import Console, UserError
from vlp.training.checkpoint import latest_checkpoint
from vlp.training.config import LoopConfig
from vlp.training.loop import FitSummary, Hook, fit
from vlp.training.optim import learning_rate, parameter_groups

QUIET = Console("quiet")


class Noisy(nn.Module):
    """A regression with dropout, so that a wrong generator state shows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(0.5), nn.Linear(16, 1))
        self.steps: list[int] = []

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        noise = torch.rand(len(batch["x"]), 1)
        loss = (self.layers(batch["x"]) + 0.1 * noise - batch["x"].sum(dim=1, keepdim=True)).square().mean()
        return loss, {"noise": noise.mean()}

    def after_step(self, step: int) -> None:
        self.steps.append(step)


class Data:
    """Batches by index; ``poison`` is the index of a batch that is not finite."""

    def __init__(self, poison: int = -1) -> None:
        self.poison = poison
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.asked.append(index)
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(index))
        return {
            "x": x * (float("nan") if index == self.poison else 1.0),
            "ids": [f"image-{index}-{i}" for i in range(8)],
        }


def config(**values: Any) -> LoopConfig:
    base = {"steps": 12, "lr": 0.01, "log_every": 2, "checkpoint_every": 4, "tensorboard": False, "device": "cpu"}
    return validate(LoopConfig, {**base, **values})


def weights(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


@pytest.mark.parametrize("extra", [{"log_every": 3}, {"accumulate": 2, "ema": 0.9}, {"workers": 1}])
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, extra: dict[str, Any]) -> None:
    whole, parts = Noisy(), Noisy()
    straight = fit(whole, Data(), config(**extra), tmp_path / "straight", QUIET)

    def kill(model: nn.Module, step: int) -> dict[str, float]:
        if step == 7:  # between two checkpoints, before a log line
            raise RuntimeError("killed")
        return {}

    with pytest.raises(RuntimeError, match="killed"):
        fit(parts, Data(), config(**extra), tmp_path / "parts", QUIET, [Hook(7, kill)])
    fresh, data = Noisy(), Data()
    resumed = fit(fresh, data, config(**extra), tmp_path / "parts", QUIET)
    assert resumed.resumed_from == 4
    if not extra.get("workers"):
        assert data.asked[0] == 4 * extra.get("accumulate", 1)
        assert fresh.steps == list(range(4, 12))
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(fresh), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(whole), weights(Noisy()), strict=True))
    losses = [[row["loss"] for row in _log(tmp_path / name) if "loss" in row] for name in ("parts", "straight")]
    assert losses[0] == losses[1]
    assert resumed.last_loss == straight.last_loss


def _log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = fit(Noisy(), Data(), config(), tmp_path, QUIET)
    data, model = Data(), Noisy()
    again = fit(model, data, config(), tmp_path, QUIET)
    assert data.asked == []
    assert isinstance(again, FitSummary)
    assert (again.last_loss, again.images) == (first.last_loss, first.images) == (first.last_loss, 96)


def test_sigterm_writes_a_checkpoint_and_interrupts(tmp_path: Path) -> None:
    def ask(model: nn.Module, step: int) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(KeyboardInterrupt):
        fit(Noisy(), Data(), config(checkpoint_every=100), tmp_path, QUIET, [Hook(5, ask)])
    last = latest_checkpoint(tmp_path / "checkpoints")
    assert last is not None
    assert last.name == "step-00000005"


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(tmp_path: Path) -> None:
    model = Noisy()
    with pytest.raises(UserError, match="step 6"):
        fit(model, Data(poison=6), config(), tmp_path, QUIET)
    assert all(value.isfinite().all() for value in weights(model))
    note = json.loads((tmp_path / "nonfinite-0.json").read_text())
    assert note["ids"] == [f"image-6-{i}" for i in range(8)]
    assert (note["step"], note["batches"][0]["loss"]) == (6, "nan")
    assert load_file(tmp_path / "nonfinite-0.safetensors")["0.x"].isnan().all()


def test_other_settings_are_refused_and_logging_ones_are_not(tmp_path: Path) -> None:
    fit(Noisy(), Data(), config(), tmp_path, QUIET, identity="corpus a")
    fit(Noisy(), Data(), config(log_every=5), tmp_path, QUIET, identity="corpus a")
    for other in ({"lr": 0.02}, {"seed": 1}):
        with pytest.raises(UserError, match="other settings"):
            fit(Noisy(), Data(), config(**other), tmp_path, QUIET, identity="corpus a")
    with pytest.raises(UserError, match="other settings"):
        fit(Noisy(), Data(), config(), tmp_path, QUIET, identity="corpus b")


def test_checkpoints_are_kept_by_number_and_a_torn_one_is_ignored(tmp_path: Path) -> None:
    fit(Noisy(), Data(), config(keep_last=2), tmp_path, QUIET)
    folder = tmp_path / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["step-00000008", "step-00000012"]
    (folder / "step-00000099").mkdir()  # a name without a state is no checkpoint
    last = latest_checkpoint(folder)
    assert last is not None
    assert last.name == "step-00000012"


def test_average_is_the_result_with_ema(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def look(model: nn.Module, step: int) -> dict[str, float]:
        assert not model.training
        seen.append(weights(model)[0])
        return {"check": 1.5}

    averaged, plain = Noisy(), Noisy()
    summary = fit(averaged, Data(), config(ema=0.9), tmp_path / "a", QUIET, [Hook(12, look)])
    fit(plain, Data(), config(), tmp_path / "b", QUIET)
    assert torch.equal(weights(averaged)[0], seen[-1])
    assert not torch.equal(weights(averaged)[0], weights(plain)[0])
    assert summary.logs["check"] == 1.5


def test_rate_warms_up_and_falls_along_a_cosine() -> None:
    c = config(steps=100, lr=1.0, warmup=0.1, final_lr=0.1)
    rates = [learning_rate(step, c) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1, abs=1e-3)


def test_layer_decay_and_weight_decay_by_parameter() -> None:
    from vlp.encoders.image import ImageConfig, ImageEncoder

    encoder = ImageEncoder(ImageConfig(name="vit_atto", image_size=32))
    groups = parameter_groups(encoder, config(layer_decay=0.5, weight_decay=0.1))
    found = {id(p): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
    named = dict(encoder.named_parameters())
    assert len(found) == len(named)
    assert found[id(named["backbone.blocks.2.attn.qkv.weight"])] == (0.5, 0.1)
    assert found[id(named["backbone.blocks.0.attn.qkv.weight"])] == (0.125, 0.1)
    assert found[id(named["backbone.pos_embed"])] == (0.0625, 0.0)
    assert found[id(named["backbone.patch_embed.proj.weight"])] == (0.0625, 0.1)
    assert found[id(named["backbone.norm.weight"])] == (1.0, 0.0)
