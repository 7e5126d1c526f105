"""``vlp plan``: small and large corpora get different, valid plans whose values have reasons; estimates hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from corpus_factory import make_corpus
from typer.testing import CliRunner

from anonymize.config import load_config, validate
from anonymize.console import UserError
from vlp.cli import app
from vlp.corpus.dataset import Corpus
from vlp.planning.choices import Costs, plan_align, plan_pretrain
from vlp.planning.costs import StepCost, align_cost, pretrain_cost
from vlp.planning.facts import CorpusFacts, TextFacts, look_at_corpus
from vlp.planning.hardware import GB, GPUS, Hardware, described, look_at_hardware, parse_size
from vlp.planning.plan import as_yaml, make_stages, warnings
from vlp.planning.stage import Stage
from vlp.training.align import AlignConfig
from vlp.training.pretrain import PretrainConfig

LAPTOP = Hardware(cpus=2, memory=16 * GB, disk=100 * GB, gpu=None, gpus=0)
ONE = Hardware(cpus=16, memory=128 * GB, disk=1000 * GB, gpu=GPUS["rtx4090"], gpus=1)
NODE = Hardware(cpus=64, memory=512 * GB, disk=10_000 * GB, gpu=GPUS["h100"], gpus=8)


def facts(images: int, reported: float = 0.9, size: int = 512) -> CorpusFacts:
    """A corpus of ``images`` training films, two a study, three a patient."""
    studies, patients = images // 2, images // 3
    reports = int(studies * reported)
    text = TextFacts(reports, max(1, int(patients * reported)), 0.2, 0.6, 4000, 60, 110, 300) if reports else None
    return CorpusFacts(
        fingerprint="0" * 16,
        studies={"train": studies, "validation": studies // 10, "test": studies // 10},
        patients={"train": patients, "validation": patients // 10, "test": patients // 10},
        images={"train": images, "validation": images // 10, "test": images // 10},
        reported={"train": reports, "validation": reports // 10, "test": reports // 10},
        languages={"fr": reports} if reports else {},
        anatomies={"hand": studies},
        labels={},
        working_size=size,
        median_long_side=size,
        text=text,
    )


def known_cost(config: PretrainConfig | AlignConfig) -> StepCost:
    """What towers of these kinds cost at 224 pixels, roughly as measured, by the square of the side."""
    weights, sample, flops = {
        "conv_pico": (0.5e6, 1e6, 0.3e9),
        "conv_nano": (1e6, 8e6, 2e9),
        "vit_small_patch16_224": (75e6, 176e6, 107e9),
        "vit_base_patch16_224": (240e6, 350e6, 420e9),
    }[config.image.name]
    scale = (config.image.image_size / 224) ** 2
    return StepCost(int(weights), int(weights / 2), int(weights * 2), int(sample * scale), flops * scale, 0.02)


KNOWN = Costs(lambda config, bf16: known_cost(config), lambda config, images, tokens, bf16: known_cost(config))


def stages(images: int, hardware: Hardware, hours: float = 48, **more: float) -> dict[str, Stage]:
    made = make_stages(facts(images, **more), hardware, hours, costs=KNOWN)  # type: ignore[arg-type]
    return {stage.command: stage for stage in made}


def test_the_plan_grows_with_the_corpus() -> None:
    plans = [stages(images, NODE)["pretrain"] for images in (300, 3_000, 30_000, 300_000, 3_000_000)]
    towers = [plan.values()["image"]["name"] for plan in plans]
    assert towers == ["conv_nano", "conv_nano", "vit_small_patch16_224", "vit_base_patch16_224", "vit_base_patch16_224"]
    assert [plan.values()["objective"] for plan in plans] == ["mae", "mae", "both", "both", "both"]
    batches = [plan.batch * plan.values().get("accumulate", 1) for plan in plans]
    assert batches == sorted(batches)
    assert batches[0] < batches[2] < batches[3]
    assert plans[0].epochs > 100
    assert plans[-1].epochs < 20
    aligned = [stages(images, NODE)["align"] for images in (300, 3_000, 300_000, 3_000_000)]
    assert [plan.batch for plan in aligned] == sorted(plan.batch for plan in aligned)
    widths = [plan.values()["text"]["width"] for plan in aligned]
    assert widths == [256, 256, 512, 768]


@pytest.mark.parametrize("hardware", [LAPTOP, ONE, NODE])
@pytest.mark.parametrize("images", [300, 3_000, 300_000, 3_000_000])
def test_every_plan_is_a_valid_configuration_that_fits(images: int, hardware: Hardware, tmp_path: Path) -> None:
    for name, stage in stages(images, hardware).items():
        (tmp_path / "c.yaml").write_text(as_yaml(stage))
        config = load_config(PretrainConfig if name == "pretrain" else AlignConfig, tmp_path / "c.yaml")
        assert config.data.batch_size == stage.batch
        assert config.data.batch_size % hardware.processes == 0
        assert config.data.batch_size <= images
        assert config.image.image_size <= 512
        assert stage.memory <= stage.memory_limit
        assert stage.seconds is not None
        assert stage.seconds <= 48 * 3600 * 1.01
        assert config.checkpoint_every <= config.steps
        assert config.processes == (hardware.processes if hardware.processes > 1 else None)
        assert all(choice.reason for choice in stage.choices)


def test_a_cpu_gets_small_convolutions_and_its_hours() -> None:
    short, long = (stages(30_000, LAPTOP, hours)["pretrain"] for hours in (1, 10))
    assert short.values()["image"]["name"] == "conv_nano"
    assert short.steps < long.steps
    assert any("hours hold" in line for line in short.warnings)


def test_memory_decides_the_chunk_and_accumulation() -> None:
    small = dataclasses.replace(ONE, gpu=GPUS["t4"])
    pretrain, align = (stages(300_000, small)[name] for name in ("pretrain", "align"))
    assert pretrain.values()["accumulate"] > 1
    assert pretrain.values()["accumulate"] * pretrain.batch == 1024
    assert align.values()["contrastive"]["chunk"] < align.batch
    assert "chunk" not in stages(3_000, NODE)["align"].values()["contrastive"]
    assert pretrain.values()["precision"] == "fp32"
    with pytest.raises(UserError, match="more memory"):
        stages(300_000, dataclasses.replace(ONE, gpu=dataclasses.replace(GPUS["t4"], memory=3 * GB)))


def test_images_are_held_in_memory_only_where_they_fit() -> None:
    assert stages(3_000, NODE)["pretrain"].values()["workers"] == 0
    large = stages(3_000_000, NODE)["pretrain"].values()
    assert large["data"]["cache_mb"] == 0
    assert large["workers"] > 0


def test_the_image_size_is_never_more_than_what_is_stored() -> None:
    found = plan_pretrain(facts(300_000, size=128), NODE, 48, KNOWN)
    assert found.values()["image"]["image_size"] == 128
    assert any("larger `size`" in line for line in found.warnings)


def test_what_cannot_work_is_said() -> None:
    silent = facts(3_000, reported=0.0)
    made = make_stages(silent, ONE, 48, costs=KNOWN)
    assert [stage.command for stage in made] == ["pretrain"]
    assert any("pretrain` only" in line for line in warnings(silent, made))
    assert not any("nearly equal" in line for line in warnings(silent, made))
    doubled = dataclasses.replace(silent, near_duplicates={"pairs": 9, "of_two_patients": 5, "across_splits": 3})
    assert any(line.startswith("3 pairs of nearly equal images") for line in warnings(doubled, made))
    unchecked = dataclasses.replace(
        facts(3_000),
        images={"train": 3_000, "validation": 0, "test": 0},
        reported={"train": 900, "validation": 0, "test": 0},
    )
    align = plan_align(unchecked, ONE, 48, costs=KNOWN)
    assert align is not None
    assert align.values()["validation"] == 0
    assert any("split.validation" in line for line in align.warnings)
    full = stages(300_000, dataclasses.replace(NODE, disk=GB))["pretrain"]
    assert any("another disk" in line for line in full.warnings)


def test_hardware_that_is_not_here() -> None:
    planned = described(LAPTOP, gpus=4, gpu="h100", gpu_memory="94GB", ram="1TB", nodes=2)
    assert (planned.processes, planned.memory) == (8, 10**12)
    assert planned.gpu is not None
    assert (planned.gpu.memory, planned.gpu.bf16) == (94 * GB, True)
    assert described(LAPTOP, gpu="a100-80").gpus == 1
    assert described(planned, gpus=0).gpu is None
    assert parse_size("1.5GiB", "--ram") == int(1.5 * 2**30)
    for wrong in ({"gpu": "voodoo2"}, {"gpus": 2}, {"ram": "much"}, {"nodes": 2}):
        with pytest.raises(UserError, match="--"):
            described(LAPTOP, **wrong)  # type: ignore[arg-type]


def test_this_machine(tmp_path: Path) -> None:
    found = look_at_hardware(tmp_path / "not" / "there")
    assert found.cpus >= 1
    assert found.memory > GB
    assert found.disk > 0
    assert found.gpus == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


def test_costs_are_linear_in_the_batch_and_see_the_whole_objective() -> None:
    tiny = {"image": {"name": "vit_atto", "image_size": 64}, "dino": {"local_size": 32}}
    mae, dino = (pretrain_cost(validate(PretrainConfig, {**tiny, "objective": o}), False) for o in ("mae", "dino"))
    assert dino.flops > 2 * mae.flops
    assert dino.sample > 2 * mae.sample
    assert dino.weights > 2 * dino.trained * 0.9, "a teacher is held beside the student"
    assert mae.memory(64) > mae.memory(32) > 4 * 4 * mae.trained
    assert mae.memory(32, ema=True) == mae.memory(32) + 4 * mae.weights
    words = validate(AlignConfig, {"image": tiny["image"], "text": {"width": 64, "vocabulary": 500}})
    short, long = (align_cost(words, 1.0, tokens, False) for tokens in (8, 64))
    assert long.flops > short.flops
    assert align_cost(words, 2.0, 8, False).flops > 1.3 * short.flops


def test_every_term_of_an_alignment_has_its_cost() -> None:
    tiny = {"image": {"name": "vit_atto", "image_size": 32}, "text": {"width": 32, "layers": 1, "vocabulary": 500}}
    plain = align_cost(validate(AlignConfig, tiny), 1.0, 24, False)
    for term in (
        *("hard_negatives", "hard_negatives_centred", "cross_lingual", "descriptions"),
        *("local", "captioning", "masked_language"),
    ):
        cost = align_cost(validate(AlignConfig, {**tiny, "contrastive": {term: 0.5}}), 1.0, 24, False)
        assert cost.flops > plain.flops, term
        if term not in ("local", "masked_language"):
            assert cost.memory(64) > plain.memory(64), term


def test_terms_of_the_plan_are_in_its_cost() -> None:
    seen: list[AlignConfig] = []

    def cost(config: AlignConfig, images: float, tokens: int, bf16: bool) -> StepCost:
        seen.append(config)
        return known_cost(config)

    several = dataclasses.replace(facts(3_000), languages={"fr": 900, "de": 300})
    made = plan_align(several, ONE, 48, costs=Costs(KNOWN.pretrain, cost))
    assert made is not None
    assert made.values()["contrastive"]["cross_lingual"] == seen[0].contrastive.cross_lingual > 0


def test_estimated_memory_is_what_the_allocator_saw() -> None:
    """PyTorch's own count of every allocation, kernels' scratch included, at a batch the planner did not run."""
    from torch.profiler import ProfilerActivity, profile

    from vlp.encoders.image import ImageEncoder
    from vlp.objectives.mae import MaeObjective
    from vlp.training.optim import adamw, parameter_groups

    config = validate(PretrainConfig, {"image": {"name": "vit_femto", "image_size": 96}})
    said = pretrain_cost(config, False).memory(64)
    images = {"images": torch.zeros(64, 1, 109, 109, dtype=torch.uint8)}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        model = MaeObjective(ImageEncoder(config.image), config.mae).train()
        optimizer = adamw(parameter_groups(model, config), config)
        for step in range(2):
            model(images, step)[0].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    assert said == pytest.approx(peak, rel=0.15)


def test_facts_of_a_corpus_on_disk(tmp_path: Path) -> None:
    corpus = Corpus.open(make_corpus(tmp_path, studies=60, size=48))
    found = look_at_corpus(corpus)
    train = corpus.select(split="train")
    assert found.studies["train"] == len(train)
    assert found.images["train"] == sum(len(study.images) for study in train)
    assert found.patients["train"] == len({study.patient_id for study in train})
    assert found.reported["train"] == sum(1 for study in train if study.report)
    assert found.languages == {"fr": found.reported["train"]}
    assert found.median_long_side == found.working_size == 48
    assert found.text is not None
    assert found.text.repeated == 0
    assert found.text.repeated_statements > 0.3
    assert found.text.median_tokens <= found.text.p99_tokens <= found.text.longest_tokens
    assert found.labels["fracture"] > 0


def test_the_commands_of_a_plan_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = make_corpus(tmp_path / "corpus", studies=40, size=32)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    done = run(app, ["plan", str(corpus), "--hours", "0.01", "--gpus", "0", "--json"])
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)
    plan = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert plan["facts"]["images"]["train"] > 0
    assert plan["commands"] == [summary["run_1"], summary["run_2"]]
    for line in plan["commands"]:
        program, *words = line.split()
        assert program == "vlp"
        made = run(app, [*words, "steps=2", "tensorboard=false", "device=cpu", "--quiet"])
        assert made.exit_code == 0, made.stderr
    assert (tmp_path / "align" / "model.safetensors").is_file()
    assert "# " in (tmp_path / "plan" / "align.yaml").read_text()


def test_slurm_and_torchrun_lines(tmp_path: Path) -> None:
    from vlp.planning.plan import commands

    made = list(stages(300_000, NODE).values())
    plain = commands(Path("C"), Path("P"), NODE, made, slurm=False)
    assert (
        plain[0]
        == "torchrun --standalone --nproc_per_node 8 -m vlp.cli pretrain C --config P/pretrain.yaml --out pretrain"
    )
    assert plain[1].endswith("--out align --encoder pretrain")
    queued = commands(Path("C"), Path("P"), dataclasses.replace(NODE, nodes=2), made, slurm=True)
    assert (
        "--nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=8 scripts/slurm-train.sh pretrain" in queued[0]
    )
