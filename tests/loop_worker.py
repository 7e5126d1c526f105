"""Runs of ``vlp pretrain`` and ``vlp align`` on two gloo processes, some of them killed.

``python loop_worker.py CORPUS FOLDER CASES``: imports once, forks two processes for each case of the JSON list CASES,
``{"name", "kind": "pretrain" | "align", "config", "kill": null | {"rank", "step"}}``. A killed case sends SIGKILL
to that rank in the forward pass of that step, then types the same command again. Under torchrun it
runs its one case in the processes that torchrun started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from anonymize.config import validate
from anonymize.console import Console
from vlp.training.align import AlignConfig, run_align
from vlp.training.distributed import rank
from vlp.training.pretrain import PretrainConfig, run_pretrain
from vlp.training.run import Run


def train(case: dict[str, Any], corpus: Path, out: Path, kill: dict[str, int] | None) -> None:
    """One process's part of a case."""
    plain = Run._pass

    def passes(self: Run, model: Any, batch: Any, step: int, counter: Any) -> Any:
        if kill is not None and (rank(), step) == (kill["rank"], kill["step"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, model, batch, step, counter)

    Run._pass = passes  # type: ignore[method-assign]
    torch.set_num_threads(1)
    if case["kind"] == "pretrain":
        run_pretrain(validate(PretrainConfig, case["config"]), corpus, out, Console("quiet"))
    else:
        run_align(validate(AlignConfig, case["config"]), corpus, out, None, Console("quiet"))
    torch.distributed.destroy_process_group()


def process(me: int, port: int, case: dict[str, Any], corpus: str, out: str, kill: dict[str, int] | None) -> None:
    values = {"RANK": me, "LOCAL_RANK": me, "WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({key: str(value) for key, value in values.items()})
    train(case, Path(corpus), Path(out), kill)


def pair(case: dict[str, Any], corpus: str, folder: str, kill: dict[str, int] | None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (port, case, corpus, f"{folder}/{case['name']}", kill)
    start_processes(process, arguments, nprocs=2, start_method="fork")


def main() -> None:
    corpus, folder, cases = sys.argv[1:]
    if "RANK" in os.environ:
        case = json.loads(cases)[0]
        train(case, Path(corpus), Path(folder) / case["name"], case["kill"])
        return
    for case in json.loads(cases):
        kill = case["kill"]
        if kill is not None:
            try:
                pair(case, corpus, folder, kill)
            except (ProcessExitedException, ProcessRaisedException):
                print("killed", case["name"], flush=True)
            else:
                raise SystemExit(f"{case['name']} was not killed")
        pair(case, corpus, folder, None)


if __name__ == "__main__":
    main()
