"""``vlp plan``: an editable plan on disk, with the reason of every value."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
from pathlib import Path
from typing import Any

import yaml

from anonymize.config import load_config
from anonymize.console import Console
from anonymize.files import write_json, write_text_atomic
from vlp.corpus.dataset import Corpus
from vlp.encoders.tokenizer import Tokenizer
from vlp.hub.licence import check_licences
from vlp.planning.choices import Costs, plan_align, plan_pretrain
from vlp.planning.facts import CorpusFacts, look_at_corpus
from vlp.planning.hardware import GB, Hardware
from vlp.planning.stage import FILL, STEP_FLOOR, UTILISATION, Choice, Stage
from vlp.training.align import AlignConfig
from vlp.training.pretrain import PretrainConfig

_MODELS = {"pretrain": PretrainConfig, "align": AlignConfig}


def run_plan(
    corpus: Path,
    out: Path,
    hardware: Hardware,
    console: Console,
    *,
    hours: float | None = None,
    text: Path | None = None,
    slurm: bool = False,
    allow_non_commercial: bool = False,
    costs: Costs | None = None,
) -> dict[str, Any]:
    """Plan the training of ``corpus`` on ``hardware``; write ``pretrain.yaml``, ``align.yaml`` and ``plan.json`` to ``out``.

    Args:
        hours: each stage may take so long; None: 1 on a CPU, 48 on GPUs.
        text: folder of a local transformers text tower.
        slurm: print lines for sbatch.
        allow_non_commercial: plan with a ``text`` whose licence forbids commercial use.
        costs: how the cost of a step is found; None measures it.

    Returns:
        A short table: what the corpus and the hardware are, the stages, warnings and the commands to type.

    Raises:
        UserError: no corpus or no training images; the model does not fit into the memory; a licence that the user
            has not accepted.
    """
    check_licences({"--text": text} if text else {}, allow_non_commercial, console)
    tokenizer = Tokenizer.from_folder(text, 2**15) if text else None
    facts = look_at_corpus(Corpus.open(corpus), tokenizer)
    budget = hours or (48.0 if hardware.gpus else 1.0)
    console.note("measuring the cost of a step; large towers take a minute or two")
    stages = make_stages(facts, hardware, budget, str(text) if text else "", costs)
    notes = warnings(facts, stages)
    for stage in stages:
        write_text_atomic(out / f"{stage.command}.yaml", as_yaml(stage))
        load_config(_MODELS[stage.command], out / f"{stage.command}.yaml")
    if len(stages) == 1:
        (out / "align.yaml").unlink(missing_ok=True)  # of an earlier plan
    lines = commands(corpus, out, hardware, stages, slurm, allow_non_commercial)
    write_json(out / "plan.json", as_json(facts, hardware, budget, stages, notes, lines))
    for note in notes:
        console.warn(note)
    return {
        "corpus": _corpus_line(facts),
        "hardware": _hardware_line(hardware),
        **{stage.command: _stage_line(stage) for stage in stages},
        "plan": str(out),
        "warnings": len(notes),
        **{f"run_{i}": line for i, line in enumerate(lines, 1)},
    }


def make_stages(
    facts: CorpusFacts, hardware: Hardware, hours: float, text: str = "", costs: Costs | None = None
) -> list[Stage]:
    """The stages that this corpus allows."""
    stages = [plan_pretrain(facts, hardware, hours, costs), plan_align(facts, hardware, hours, text, costs)]
    return [stage for stage in stages if stage is not None]


def warnings(facts: CorpusFacts, stages: list[Stage]) -> list[str]:
    """What cannot work or will work badly."""
    found = list(dict.fromkeys(line for stage in stages for line in stage.warnings))
    if len(stages) == 1:
        count = facts.text.reports if facts.text else 0
        found.insert(0, f"{count} training studies have a report: `vlp align` needs reports of at least 4 patients, so the "
                     "plan is `vlp pretrain` only; labels can be put into words by `vlp prepare --describe-labels`")  # fmt: skip
    if facts.images["train"] < 1000:
        found.append(f"{facts.images['train']} training images show that the path works; they make no general model")
    if pairs := facts.near_duplicates.get("across_splits", 0):
        found.append(
            f"{pairs} pairs of nearly equal images of different patients lie in different splits: the test is easier than "
            "it looks; `vlp prepare drop_near_duplicates=true` refuses one of each pair"
        )
    return found


def as_yaml(stage: Stage) -> str:
    """A configuration for ``vlp <stage> --config``, each value below its reason."""
    lines = [f"# Written by `vlp plan`; edit freely. vlp {stage.command} CORPUS --config THIS --out MODEL"]
    lines += [f"# {_stage_line(stage)}", ""]
    groups: dict[str, list[Choice]] = {}
    for choice in stage.choices:
        groups.setdefault(choice.key.rpartition(".")[0], []).append(choice)
    for group in sorted(groups, key=lambda name: name != ""):
        lines += [f"{group}:"] if group else []
        indent = "  " if group else ""
        before = ""
        for choice in groups[group]:
            why = choice.reason + (f". Or: {'; '.join(choice.alternatives)}" if choice.alternatives else "")
            if why != before:
                lines += textwrap.wrap(why, 112, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            before = why
            value = yaml.safe_dump(choice.value, default_flow_style=True, allow_unicode=True, width=10**6)
            value = value.removesuffix("...\n").strip()
            lines.append(f"{indent}{choice.key.rpartition('.')[2]}: {value}")
        lines.append("")
    return "\n".join(lines)


def as_json(
    facts: CorpusFacts, hardware: Hardware, hours: float, stages: list[Stage], notes: list[str], lines: list[str]
) -> dict[str, Any]:
    """Everything the plan rests on."""
    return {
        "facts": dataclasses.asdict(facts),
        "hardware": dataclasses.asdict(hardware),
        "assumptions": {
            "hours_per_stage": hours,
            "gpu_utilisation": UTILISATION,
            "gpu_step_floor_s": STEP_FLOOR,
            "memory_fill": FILL,
        },
        "stages": [dataclasses.asdict(stage) for stage in stages],
        "warnings": notes,
        "commands": lines,
    }


def commands(
    corpus: Path, out: Path, hardware: Hardware, stages: list[Stage], slurm: bool, allow_non_commercial: bool = False
) -> list[str]:
    """What to type, in order."""
    lines = []
    for stage in stages:
        words = [stage.command, str(corpus), "--config", str(out / f"{stage.command}.yaml"), "--out", stage.command]
        words += ["--encoder", "pretrain"] if stage.command == "align" else []
        words += ["--allow-non-commercial"] if stage.command == "align" and allow_non_commercial else []
        lines.append(f"{_launcher(hardware, slurm)} {shlex.join(words)}")
    return lines


def _launcher(hardware: Hardware, slurm: bool) -> str:
    gpus, nodes = max(1, hardware.gpus), hardware.nodes
    if slurm:
        cards = f" --gpus-per-node={gpus}" if hardware.gpus else ""
        cores = max(1, hardware.cpus // gpus)
        return f"sbatch --wait --nodes={nodes} --ntasks-per-node={gpus}{cards} --cpus-per-task={cores} scripts/slurm-train.sh"
    if nodes > 1:
        return (
            f"torchrun --nnodes {nodes} --nproc_per_node {gpus} --rdzv_backend c10d --rdzv_endpoint $FIRST_NODE:29500 "
            "-m vlp.cli"
        )
    return f"torchrun --standalone --nproc_per_node {gpus} -m vlp.cli" if gpus > 1 else "vlp"


def _corpus_line(facts: CorpusFacts) -> str:
    train, reports = facts.images["train"], facts.reported["train"]
    return f"{train} training images of {facts.patients['train']} patients, {reports} studies with a report"


def _hardware_line(hardware: Hardware) -> str:
    memory = f"{hardware.cpus} cores, {hardware.memory / GB:.0f} GB"
    if hardware.gpu is None:
        return f"CPU, {memory}"
    nodes = f"{hardware.nodes} nodes of " if hardware.nodes > 1 else ""
    return f"{nodes}{hardware.gpus} x {hardware.gpu.name} ({hardware.gpu.memory / GB:.0f} GB), {memory}"


def _stage_line(stage: Stage) -> str:
    values = stage.values()
    time = "time not known" if stage.seconds is None else f"about {_duration(stage.seconds)}"
    what = values.get("objective", "image and text")
    return (
        f"{values['image']['name']} at {values['image']['image_size']} px, {what}, batch {stage.batch}, {stage.steps} steps "
        f"({stage.epochs:g} epochs), {stage.memory / GB:.1f} of {stage.memory_limit / GB:.1f} GB a process, {time}, "
        f"{stage.disk / GB:.1f} GB of disk"
    )


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
