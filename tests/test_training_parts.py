"""Parts of the loop: switches that change speed and memory only, best weights, verdicts, counts, errors, trackers."""

from __future__ import annotations

import copy
import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from test_training_loop import QUIET, Data, Noisy, config, weights
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.objectives.dino import DinoConfig, DinoObjective
from vlp.objectives.fused import Fused
from vlp.objectives.mae import MaeConfig, MaeObjective
from vlp.training import flops, speed
from vlp.training.align import AlignConfig
from vlp.training.errors import Doing, explained
from vlp.training.failures import explained_failures
from vlp.training.loop import Hook, fit
from vlp.training.meter import Meter
from vlp.training.optim import adamw
from vlp.training.speed import repeated_blocks, switched
from vlp.training.watch import Step, Watch


def mae(name: str = "vit_atto") -> MaeObjective:
    torch.manual_seed(0)
    encoder = ImageEncoder(ImageConfig(name=name, image_size=32))
    return MaeObjective(encoder, MaeConfig(width=32))


class Pictures:
    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        return {"images": torch.randint(0, 256, (8, 1, 36, 36), dtype=torch.uint8, generator=generator)}


def rows(out: Path, key: str) -> list[float]:
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row[key] for row in found if key in row]


def trained(out: Path, name: str = "vit_atto", augment: AugmentConfig | None = None, **values: Any) -> MaeObjective:
    model = mae(name)
    if augment is not None:
        model.config = model.config.model_copy(update={"augment": augment})
    fit(model, Pictures(), config(**{"steps": 6, "log_every": 1, "precision": "fp32", **values}), out, QUIET)
    return model


# -- speed and memory --------------------------------------------------------------------------------------------------


def test_recomputed_activations_change_no_bit(tmp_path: Path) -> None:
    plain, less = trained(tmp_path / "a"), trained(tmp_path / "b", activation_checkpointing=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(less), strict=True))
    assert not less.encoder._vit.grad_checkpointing
    assert rows(tmp_path / "a", "tflops")  # what is computed twice counts once
    counted = [_flops(mae(), on) for on in (False, True)]
    assert counted[0] == counted[1] > 0


def _flops(model: MaeObjective, recompute: bool) -> int:
    counter = flops.FlopCount()
    with switched(model, config(activation_checkpointing=recompute)), counter:
        torch.manual_seed(0)
        loss, _ = model(Pictures()[0], 0)
        with counter.backward():
            loss.backward()
    return counter.total


def test_both_towers_recompute_with_one_switch() -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    both = nn.ModuleList([mae(), BertModel(BertConfig(vocab_size=50, **sizes))])
    with switched(both, config(activation_checkpointing=True)):
        assert both[0].encoder.backbone.grad_checkpointing
        assert both[1].is_gradient_checkpointing
    assert not both[0].encoder.backbone.grad_checkpointing
    assert not both[1].is_gradient_checkpointing
    assert len(repeated_blocks(both)) == 3 + 1 + 2  # encoder, decoder, text


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_blocks_train_the_same_and_keep_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(speed, "BACKEND", backend)
    calls: list[str] = []
    plain_compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **k: (calls.append(k["backend"]), plain_compile(self, **k)))
    # compiled augmentation draws other random numbers, and leaves others for what comes after it: here nothing is drawn
    monkeypatch.setattr(
        "vlp.objectives.mae.choose", lambda body, mask: torch.arange(4).repeat(len(body), 1).split(2, dim=1)
    )
    still = AugmentConfig(scale=(1, 1), ratio=1, rotation=0, brightness=0, contrast=0, gamma=0, noise=0, blur=0)
    plain = trained(tmp_path / "a", augment=still)
    fast = trained(tmp_path / "b", augment=still, compile=True, checkpoint_every=3)
    assert calls == [backend] * 6  # three blocks of the encoder, one of the decoder, augmentation with and without maps
    assert list(plain.state_dict()) == list(fast.state_dict())
    assert rows(tmp_path / "b", "loss") == pytest.approx(rows(tmp_path / "a", "loss"), rel=1e-4)
    assert rows(tmp_path / "b", "tflops")  # counted without compiled code
    copy.deepcopy(fast)(Pictures()[0], 0)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_residual_stream_in_bfloat16_is_that_only_under_autocast_and_only_inside(recompute: bool) -> None:
    tower = ImageEncoder(ImageConfig(name="vit_atto", image_size=32)).train()
    seen: list[torch.dtype] = []
    for block in tower.backbone.blocks:
        block.norm1.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    images = torch.rand(2, 1, 32, 32)

    def run(precision: bool, **values: Any) -> tuple[torch.Tensor, set[torch.dtype]]:
        seen.clear()
        with switched(tower, config(activation_checkpointing=recompute, **values)):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision):
                pooled = tower(images).pooled
            pooled.square().mean().backward()
        return pooled.detach(), set(seen)

    usual, types = run(True)
    assert types == {torch.float32}
    narrow, types = run(True, residual="bf16")
    assert types == {torch.bfloat16}
    assert narrow.dtype == usual.dtype == torch.float32  # the last norm gives it back
    assert not torch.equal(narrow, usual)
    assert torch.allclose(narrow, usual, atol=0.05)
    exact, types = run(False, residual="bf16")
    assert types == {torch.float32}
    assert torch.equal(exact, run(False)[0]), "nothing without bf16, and no hook is left behind"


def test_augmentation_and_losses_over_prototypes_are_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "BACKEND", "aot_eager")
    tower = ImageEncoder(ImageConfig(name="vit_atto", image_size=32))
    objective = DinoObjective(tower, DinoConfig(outputs=16, local_crops=1, local_size=16), 10).train()
    fused = [part for part in objective.modules() if isinstance(part, Fused)]
    assert {part.function.__name__ for part in fused} == {"augment", "cross_entropy_rows", "powered"}
    batch = {"images": torch.randint(0, 255, (4, 1, 40, 40), dtype=torch.uint8)}
    torch.manual_seed(1)
    plain, _ = objective(batch, 5)
    with switched(objective, config(compile=True)):
        assert all(part._compiled_call_impl is not None for part in fused)
        torch.manual_seed(1)
        fast, _ = objective(batch, 5)
    assert all(part._compiled_call_impl is None for part in fused)
    assert fast.item() == pytest.approx(plain.item(), rel=1e-4)


def test_freed_memory_is_kept_where_the_c_library_can() -> None:
    """In a process of its own: the setting is for the whole process."""
    program = (
        "import resource, sys, torch\n"
        "from vlp.training.speed import keep_freed_memory\n"
        "if len(sys.argv) > 1 and not keep_freed_memory(): sys.exit(77)\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(5): torch.ones(16_000_000)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "torch.set_num_threads(1); print([faults() for _ in range(6)][-1])\n"
    )
    plain = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kept = subprocess.run([sys.executable, "-c", program, "keep"], capture_output=True, text=True, check=False)
    if kept.returncode == 77:
        pytest.skip("the C library is not glibc")
    assert int(kept.stdout) < int(plain.stdout) / 10, kept.stderr


def test_channels_last_trains_the_same(tmp_path: Path) -> None:
    plain, last = trained(tmp_path / "a", "conv_pico"), trained(tmp_path / "b", "conv_pico", channels_last=True)
    assert rows(tmp_path / "b", "loss") == pytest.approx(rows(tmp_path / "a", "loss"), rel=1e-4)
    assert all(p.is_contiguous() for p in last.parameters())
    again = trained(tmp_path / "b", "conv_pico", channels_last=True)  # from its last checkpoint
    assert all(torch.equal(a, b) for a, b in zip(weights(last), weights(again), strict=True))
    assert len(weights(plain)) == len(weights(last))


# -- best --------------------------------------------------------------------------------------------------------------


class Checks:
    """A check that is best at step 4; remembers the weights that it saw."""

    def __init__(self, values: dict[int, float], kill: int = -1) -> None:
        self.values, self.kill = values, kill
        self.seen: dict[int, list[Tensor]] = {}

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        if step == self.kill:
            raise RuntimeError("killed")
        self.seen[step] = weights(model)
        return {"recall": self.values[step]}


VALUES = {2: 0.1, 4: 0.9, 6: 0.3, 8: 0.9, 10: 0.5, 12: float("nan")}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_best_weights_are_kept_through_a_kill(tmp_path: Path, ema: float) -> None:
    chosen = {"best": "recall", "result": "best", "ema": ema}
    first, then = Checks(VALUES, kill=10), Checks(VALUES)
    with pytest.raises(RuntimeError, match="killed"):
        fit(Noisy(), Data(), config(**chosen), tmp_path, QUIET, [Hook(2, first)])
    model = Noisy()
    summary = fit(model, Data(), config(**chosen), tmp_path, QUIET, [Hook(2, then)])
    assert summary.resumed_from == 8
    assert summary.best == {"step": 4, "key": "recall", "value": 0.9, "checkpoint": "checkpoints/best"}
    assert summary.result == "best"
    assert all(torch.equal(a, b) for a, b in zip(weights(model), first.seen[4], strict=True))
    last = Noisy()
    fit(last, Data(), config(**{**chosen, "result": "last"}), tmp_path, QUIET, [Hook(2, then)])
    assert all(torch.equal(a, b) for a, b in zip(weights(last), then.seen[12], strict=True))
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["best", "step-00000012"]


def test_the_least_can_be_the_best_and_a_wrong_name_is_an_error(tmp_path: Path) -> None:
    least = fit(
        Noisy(), Data(), config(best="recall", best_goal="min"), tmp_path / "a", QUIET, [Hook(2, Checks(VALUES))]
    )
    assert least.best is not None
    assert least.best["step"] == 2
    with pytest.raises(UserError, match="best=recal is no value of a check; the values are: recall"):
        fit(Noisy(), Data(), config(best="recal"), tmp_path / "b", QUIET, [Hook(2, Checks(VALUES))])
    with pytest.raises(UserError, match="no checks"):
        fit(Noisy(), Data(), config(best="recall"), tmp_path / "c", QUIET)


# -- verdicts, sums, counts --------------------------------------------------------------------------------------------


def test_a_verdict_read_later_still_leaves_the_weights_alone(tmp_path: Path) -> None:
    """As on a GPU: the optimizer steps before anyone has looked, and does nothing."""
    model = nn.Linear(3, 1)
    optimizer = adamw([{"params": list(model.parameters())}], config(lr=0.1))
    watch = Watch(optimizer, torch.device("cpu"), tmp_path, deferred=True)

    def step(number: int, factor: float) -> None:
        loss = model(torch.ones(2, 3)).mean() * factor
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        watch.judge(Step(number, [loss.detach()], [{"x": torch.ones(2, 3), "ids": ["a", "b"]}]), norm, False)
        optimizer.step()
        optimizer.zero_grad()

    step(0, 1.0)
    before = weights(model)
    step(1, float("inf"))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
    with pytest.raises(UserError, match="loss is not finite at step 1"):
        step(2, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
    assert json.loads((tmp_path / "nonfinite-0.json").read_text())["ids"] == ["a", "b"]
    watch.settle()  # the sound step after it
    step(3, 1.0)
    assert not torch.equal(weights(model)[0], before[0])


def test_sums_go_on_where_a_checkpoint_left_them() -> None:
    device = torch.device("cpu")
    values = [torch.rand([], generator=torch.Generator().manual_seed(i)) for i in range(7)]
    whole, parts = Meter(device), Meter(device)
    for i, value in enumerate(values):
        for meter in (whole, parts):
            meter.add({"loss": value, "plain": float(i)}, 0.5)
            meter.add({"loss": value, "plain": float(i)}, 0.5)
            meter.count(8, 0.25)
        if i == 2:
            whole.fold()
            parts = Meter(device, json.loads(json.dumps(parts.fold())))
    read, again = whole.read(), parts.read()
    assert read["loss"] == again["loss"] == pytest.approx(float(torch.stack(values).mean()))
    assert (read["plain"], again["plain"]) == (3.0, 3.0)
    assert read["memory_mb"] > 50
    assert whole.read()["images_per_s"] == 0


def test_operations_are_counted_as_written_on_paper() -> None:
    layer, x = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 16)), torch.randn(8, 64)
    counter = flops.FlopCount()
    with counter:
        loss = checkpoint(layer, x, use_reentrant=False).sum()
        with counter.backward():
            loss.backward()
    first, second = 2 * 8 * 64 * 32, 2 * 8 * 32 * 16
    assert counter.total == 2 * first + 3 * second  # of the first layer's input no gradient is asked
    q = torch.randn(2, 3, 10, 16, requires_grad=True)
    counter = flops.FlopCount()
    with counter:
        nn.functional.scaled_dot_product_attention(q, q, q)
    assert counter.total == 2 * (2 * 2 * 3 * 10 * 10 * 16)


def test_peaks_by_name() -> None:
    assert flops.named_peak("NVIDIA H100 80GB HBM3", True) == 989e12
    assert flops.named_peak("NVIDIA H100 PCIe", True) == 756e12
    assert flops.named_peak("NVIDIA A100-SXM4-80GB", False) == 19.5e12
    assert flops.named_peak("NVIDIA L40S", True) == 362e12
    assert flops.named_peak("Tesla T4", True) == 65e12
    assert flops.named_peak("NVIDIA GeForce RTX 4090", True) == 165.2e12
    assert flops.named_peak("Tesla V100-SXM2-16GB", True) == 125e12
    assert flops.named_peak("Radeon", True) is None


def test_counting_changes_no_number(tmp_path: Path) -> None:
    with_count, without = trained(tmp_path / "a"), trained(tmp_path / "b", flops=False)
    assert all(torch.equal(a, b) for a, b in zip(weights(with_count), weights(without), strict=True))
    assert rows(tmp_path / "a", "loss") == rows(tmp_path / "b", "loss")
    assert all(0 < value < 2 for value in rows(tmp_path / "a", "mfu"))
    assert not rows(tmp_path / "b", "mfu")


def test_a_count_apart_puts_running_statistics_back() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = weights(model)
    with flops.unchanged(model):
        model(torch.randn(8, 4)).sum().backward()
        assert not torch.equal(weights(model)[4], before[4])
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
    assert all(p.grad is None for p in model.parameters())


# -- errors ------------------------------------------------------------------------------------------------------------


class Failing(Noisy):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        if step == 3:
            raise self.error
        return super().forward(batch, step)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), r"(?s)8 images.*GB.*activation_checkpointing=true.*batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory with 8 images"),
        (RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed."), "workers=0.*cache_mb"),
        (OSError(errno.ENOSPC, "No space left on device", "model.safetensors"), "disk of --out is full"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "disk of --out is full",
        ),
    ],
)
def test_failures_of_the_machine_say_what_to_do(tmp_path: Path, error: Exception, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fit(Failing(error), Data(), config(), tmp_path, QUIET)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["vlp.training.replica.adamw", "vlp.training.replica.ModelEmaV3", "torch.nn.Module.to"]
)
def test_a_memory_too_small_for_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(place, full)
    with pytest.raises(
        UserError, match=r"out of memory with the weights.*million numbers.*ema=0.*shard=fsdp2"
    ) as caught:
        fit(Noisy(), Data(), config(ema=0.9), tmp_path, QUIET)
    assert "\n" not in str(caught.value)


def test_a_memory_too_small_for_a_check(tmp_path: Path) -> None:
    def look(module: nn.Module, step: int) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(UserError, match=r"out of memory in a check between two steps: .*data\.batch_size"):
        fit(Noisy(), Data(), config(), tmp_path, QUIET, [Hook(2, look)])
    align = AlignConfig(validation=64)
    with (
        pytest.raises(UserError, match=r"a smaller validation=64 \(0 is without\)"),
        explained(align, torch.device("cpu"), Doing(10, "check")),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore."), MemoryError()]
)
def test_a_memory_full_outside_of_the_loop(error: BaseException) -> None:
    with (
        pytest.raises(UserError, match=r"out of memory outside of a training step.*data\.cache_mb") as caught,
        explained_failures(),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes") as caught:
        fit(Failing(RuntimeError("shapes do not fit")), Data(), config(), tmp_path, QUIET)
    assert not isinstance(caught.value, UserError)


# -- trackers ----------------------------------------------------------------------------------------------------------


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match=r"trackio is not installed; `pip install 'vlp-xray\[track\]'`"):
        fit(Noisy(), Data(), config(trackers=["trackio"]), tmp_path, QUIET)


def test_trackers_get_the_numbers_and_stay_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in ("mlflow", "wandb", "trackio") if _installed(name)]
    if not names:
        pytest.skip("needs mlflow-skinny, wandb or trackio (the extra `track`)")
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "TRACKIO_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    fit(Noisy(), Data(), config(trackers=names), tmp_path, QUIET)
    if "mlflow" in names:
        import mlflow

        runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
        assert runs[0].data.metrics["loss"] == pytest.approx(rows(tmp_path, "loss")[-1], rel=1e-5)
        assert runs[0].data.params["lr"] == "0.01"
    if "wandb" in names:
        assert list((tmp_path / "wandb").glob("offline-run-*"))
    if "trackio" in names:
        assert list((tmp_path / "trackio").glob("*.db"))


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
