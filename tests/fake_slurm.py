"""A Slurm of one machine for tests: ``srun`` starts tasks and hands signals on, ``scontrol`` writes down what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def install(folder: Path) -> None:
    """Write the commands ``srun`` and ``scontrol`` into ``folder``."""
    folder.mkdir()
    for name in ("srun", "scontrol"):
        script = folder / name
        script.write_text(f'#!/bin/bash\nexec "{sys.executable}" "{Path(__file__).resolve()}" {name} "$@"\n')
        script.chmod(0o755)


def srun(words: list[str]) -> int:
    """Start SLURM_NTASKS tasks; as the real one: signals go to all, with --kill-on-bad-exit a bad one ends the others."""
    fatal = "--kill-on-bad-exit=1" in words
    command = [word for word in words if not word.startswith("--kill-on-bad-exit")]
    tasks: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: object) -> None:
        for task in tasks:
            task.send_signal(number)

    signal.signal(signal.SIGUSR1, forward)
    for number in range(int(os.environ["SLURM_NTASKS"])):
        place = {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)}
        tasks.append(subprocess.Popen(command, env={**os.environ, **place}))
    while any(task.poll() is None for task in tasks):
        if fatal and any(task.returncode for task in tasks):
            deadline = time.monotonic() + 10  # KillWait
            while any(task.poll() is None for task in tasks) and time.monotonic() < deadline:
                time.sleep(0.05)
            for task in tasks:
                task.kill()
        time.sleep(0.05)
    return max(task.returncode if task.returncode >= 0 else 128 - task.returncode for task in tasks)


def scontrol(words: list[str]) -> int:
    """``show hostnames`` answers this machine; everything is written to FAKE_SLURM_LOG."""
    with Path(os.environ["FAKE_SLURM_LOG"]).open("a") as log:
        log.write(" ".join(words) + "\n")
    if words[:2] == ["show", "hostnames"]:
        print("127.0.0.1")
    return 0


if __name__ == "__main__":
    sys.exit({"srun": srun, "scontrol": scontrol}[sys.argv[1]](sys.argv[2:]))
