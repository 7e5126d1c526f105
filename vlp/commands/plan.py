"""``vlp plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, console_for, reporting
from vlp.commands import AllowNonCommercial


def plan(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder that `vlp prepare` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the plan.")] = Path("plan"),
    hours: Annotated[
        float | None,
        typer.Option("--hours", min=0.01, help="Most hours of each stage; default 1 on a CPU, 48 on GPUs."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option("--text", help="Folder of a transformers text tower that lies on this machine.")
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs of a node; 0 plans for the CPU.")] = None,
    gpu: Annotated[str, typer.Option("--gpu", help="Their kind, such as h100, a100-80, l40s, rtx4090, v100.")] = "",
    gpu_memory: Annotated[str, typer.Option("--gpu-memory", help="Memory of each, such as 80GB.")] = "",
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    cpus: Annotated[int | None, typer.Option("--cpus", min=1, help="Cores of a node.")] = None,
    ram: Annotated[str, typer.Option("--ram", help="Memory of a node, such as 512GB.")] = "",
    disk: Annotated[str, typer.Option("--disk", help="Free space for the models, such as 1TB.")] = "",
    slurm: Annotated[bool, typer.Option("--slurm", help="Print commands for sbatch.")] = False,
    allow_non_commercial: AllowNonCommercial = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Look at a corpus and this machine and write an editable plan for training, with the reason of every value.

    The plan is for this machine unless options describe another.

    Examples:

    \b
        vlp plan CORPUS --out plan
        vlp plan CORPUS --out plan --gpus 4 --gpu h100 --ram 512GB --cpus 64 --hours 24
        vlp plan CORPUS --out plan --nodes 2 --gpus 8 --gpu a100-80 --slurm
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.planning.hardware import described, look_at_hardware
        from vlp.planning.plan import run_plan

        machine = described(
            look_at_hardware(out),
            gpus=gpus,
            gpu=gpu,
            gpu_memory=gpu_memory,
            nodes=nodes,
            cpus=cpus,
            ram=ram,
            disk=disk,
        )
        summary = run_plan(
            corpus,
            out,
            machine,
            console,
            hours=hours,
            text=text,
            slurm=slurm,
            allow_non_commercial=allow_non_commercial,
        )
        console.result(summary)


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command()(plan)
