"""Starting training with torchrun, accelerate and Slurm: the real commands on CPU processes; nothing hangs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import fake_slurm
import pytest
import torch
from corpus_factory import make_corpus
from safetensors.torch import load_file

from vlp.hub import load_dual, load_image_encoder

ROOT = Path(__file__).parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
VLP = ["-m", "vlp.cli"]
TINY = ["image.name=vit_atto", "image.image_size=32", "data.batch_size=8", "tensorboard=false", "device=cpu"]
PRETRAIN = [*TINY, "mae.width=32", "monitor=0", "log_every=1"]
ALIGN = [*TINY, "text.width=32", "text.layers=1", "text.vocabulary=300", "text.max_length=32", "dual.width=32"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("launch") / "corpus", studies=40, size=32)


def environment(**more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR")}
    return {**clean, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "10000", **more}


def run(command: list[str], timeout: float = 240, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``command``; a hang is a failure."""
    return subprocess.run(
        command, cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=timeout, check=False
    )


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_two_processes_write_one_model_and_one_of_them_prints(corpus: Path, tmp_path: Path) -> None:
    launch = [*TORCHRUN, "--standalone", *VLP]
    made = run([*launch, "pretrain", str(corpus), "--out", str(tmp_path / "p"), "--json", *PRETRAIN, "steps=2"])
    assert made.returncode == 0, made.stderr[-3000:]
    (line,) = made.stdout.splitlines()
    assert json.loads(line)["processes"] == 2
    assert json.loads((tmp_path / "p" / "summary.json").read_text())["images"] == 2 * 8
    load_image_encoder(tmp_path / "p")
    encoder = ["--encoder", str(tmp_path / "p")]
    made = run(
        [*launch, "align", str(corpus), "--out", str(tmp_path / "a"), *encoder, *ALIGN, "steps=2", "processes=2"]
    )
    assert made.returncode == 0, made.stderr[-3000:]
    assert made.stdout.count("next: vlp evaluate") == 1
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["processes"] == 2
    load_dual(tmp_path / "a")


def test_synonyms_on_two_processes_are_those_of_one(tmp_path: Path) -> None:
    """Without dropout, which each process draws for itself; the sums of the two are in another order, so float32."""
    words = ["synonyms", "--terms", "nl", "--json", "steps=6", "batch_size=16", "text.width=16", "text.layers=1"]
    words += ["text.dropout=0", "resamples=100", "tensorboard=false", "device=cpu", "precision=fp32", "log_every=1"]
    one = run([sys.executable, *VLP, *words, "--out", str(tmp_path / "1")])
    assert one.returncode == 0, one.stderr[-3000:]
    two = run([*TORCHRUN, "--standalone", *VLP, *words, "--out", str(tmp_path / "2"), "processes=2"])
    assert two.returncode == 0, two.stderr[-3000:]
    (line,) = two.stdout.splitlines()
    assert json.loads(line)["processes"] == 2
    losses = [
        [row["loss"] for row in map(json.loads, (tmp_path / n / "log.jsonl").read_text().splitlines()) if "loss" in row]
        for n in "12"
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] != pytest.approx(losses[0][-1], rel=1e-3)
    first, second = (load_file(tmp_path / n / "model.safetensors") for n in "12")
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-3, atol=1e-4)


def test_accelerate_on_a_cpu_starts_one_process_and_is_refused(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", *VLP]
    done = run([*command, "pretrain", str(corpus), "--out", str(tmp_path / "m"), *PRETRAIN, "steps=1", "processes=2"])
    assert done.returncode != 0
    (told,) = errors(done)
    assert "processes=2" in told
    assert "torchrun --nproc_per_node 2" in told
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_a_batch_that_does_not_divide_by_the_processes(corpus: Path, tmp_path: Path) -> None:
    command = [*TORCHRUN, "--standalone", *VLP, "pretrain", str(corpus), "--out", str(tmp_path / "m")]
    done = run([*command, *PRETRAIN, "steps=1", "data.batch_size=9"])
    assert done.returncode != 0
    assert errors(done)
    assert all("data.batch_size=9 does not divide by 2 processes" in line for line in errors(done))
    assert "set it to 8 or 10" in errors(done)[0]


_DIES = """
import os, signal, sys
from vlp.objectives.mae import MaeObjective
plain = MaeObjective.forward
def forward(self, batch, step):
    if step == 2 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, step)
MaeObjective.forward = forward
from vlp.cli import app
app()
"""


def test_a_process_that_dies_ends_the_others(corpus: Path, tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text(_DIES)
    words = ["pretrain", str(corpus), "--out", str(tmp_path / "m"), *PRETRAIN, "steps=100000"]
    begun = time.monotonic()
    done = run([*TORCHRUN, "--standalone", str(script), *words], timeout=180)
    assert done.returncode != 0
    assert not (tmp_path / "m" / "model.safetensors").exists()
    assert time.monotonic() - begun < 150


def test_without_a_launcher_the_survivor_says_that_another_ended(corpus: Path, tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text(_DIES)
    command = [sys.executable, str(script), "pretrain", str(corpus), "--out", str(tmp_path / "m"), *PRETRAIN]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    tasks = [
        subprocess.Popen(
            [*command, "steps=100000"],
            cwd=ROOT,
            env=environment(**place, RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        _, told = tasks[0].communicate(timeout=180)
    finally:
        for task in tasks:
            task.kill()
            task.wait()
    assert tasks[0].returncode == 2, told[-2000:]
    assert "another process of this run ended" in told
    assert "Traceback" not in told


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_port_in_use_is_named(corpus: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
        done = run([sys.executable, *VLP, "pretrain", str(corpus), "--out", str(tmp_path / "m"), *PRETRAIN], **place)
    assert done.returncode == 2, done.stderr[-2000:]
    (told,) = errors(done)
    assert port in told
    assert "MASTER_PORT" in told


class Cluster:
    """``scripts/slurm-train.sh`` on a pretended Slurm."""

    def __init__(self, folder: Path, vlp: str, tasks: int = 2) -> None:
        fake_slurm.install(folder / "bin")
        self.log = folder / "scontrol.log"
        self.environment = environment(
            PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
            FAKE_SLURM_LOG=str(self.log),
            SLURM_JOB_ID="4711",
            SLURM_JOB_NODELIST="node[1-1]",
            SLURM_NTASKS=str(tasks),
            MASTER_PORT=str(free_port()),
            VLP=vlp,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(ROOT / "scripts" / "slurm-train.sh"), *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def requeued(self) -> bool:
        return "requeue 4711" in self.log.read_text()


def wait_for(path: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.1)


def task(folder: Path, body: str) -> str:
    """A command in place of ``vlp`` for the script's own logic."""
    script = folder / "task.sh"
    script.write_text(f"#!/bin/bash\ncd {folder}\n{body}\n")
    script.chmod(0o755)
    return str(script)


def test_slurm_tells_every_task_who_it_is(tmp_path: Path) -> None:
    body = 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $OMP_NUM_THREADS $*" > seen-$RANK'
    job = Cluster(tmp_path, task(tmp_path, body)).start("pretrain", "CORPUS", "--out", "a folder")
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 0, out
    for rank in range(2):
        told = (tmp_path / f"seen-{rank}").read_text().strip()
        assert told == f"{rank} {rank} 2 127.0.0.1 1 pretrain CORPUS --out a folder processes=2"


def test_slurm_signal_reaches_the_tasks_and_the_job_is_requeued(tmp_path: Path) -> None:
    body = "trap 'exit 130' USR1; touch up-$RANK; while :; do sleep 0.1; done"
    cluster = Cluster(tmp_path, task(tmp_path, body))
    job = cluster.start("pretrain", "CORPUS")
    for rank in range(2):
        wait_for(tmp_path / f"up-{rank}")
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 0, out
    assert cluster.requeued()


@pytest.mark.parametrize(
    ("body", "code"), [("exit 2", 2), ("exit 130", 130), ("[[ $RANK == 0 ]] && exit 1; exec sleep 600", 1)]
)
def test_slurm_does_not_requeue_what_failed(tmp_path: Path, body: str, code: int) -> None:
    cluster = Cluster(tmp_path, task(tmp_path, body))
    job = cluster.start("pretrain", "CORPUS")
    job.communicate(timeout=90)
    assert job.returncode in ((code,) if code != 1 else (1, 137))
    assert not cluster.requeued()


def test_slurm_says_when_a_task_died_of_the_signal(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, task(tmp_path, "touch up-$RANK; exec sleep 600"))
    job = cluster.start("pretrain", "CORPUS")
    for rank in range(2):
        wait_for(tmp_path / f"up-{rank}")
    time.sleep(0.3)
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=90)
    assert job.returncode != 0
    assert "raise the seconds of --signal" in out
    assert not cluster.requeued()


def test_slurm_script_says_how_it_is_used_outside_of_a_job() -> None:
    done = run(["bash", str(ROOT / "scripts" / "slurm-train.sh")])
    assert done.returncode == 2
    assert "sbatch" in done.stderr


def test_training_under_slurm_goes_on_after_a_requeue(corpus: Path, tmp_path: Path) -> None:
    words = ["pretrain", str(corpus), "--out", str(tmp_path / "m"), *PRETRAIN, "steps=60", "checkpoint_every=1000"]
    cluster = Cluster(tmp_path, f"{sys.executable} -m vlp.cli")
    job = cluster.start(*words)
    try:
        wait_for(tmp_path / "m" / "log.jsonl")
    finally:
        job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=200)
    assert job.returncode == 0, out
    assert cluster.requeued(), out
    assert not (tmp_path / "m" / "model.safetensors").exists()
    assert list((tmp_path / "m" / "checkpoints").glob("step-*"))
    job = cluster.start(*words)  # what Slurm does
    out, _ = job.communicate(timeout=300)
    assert job.returncode == 0, out
    summary = json.loads((tmp_path / "m" / "summary.json").read_text())
    assert summary["processes"] == 2
    assert 0 < summary["resumed_from"] < 60
    assert load_file(tmp_path / "m" / "model.safetensors")
