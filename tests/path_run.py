"""A very small run of the demo's own configuration, shared by the tests that look at its output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

# refuses connections to other machines in every process of a run, and leaves a note of each attempt
GUARD = """
import os, socket
_connect = socket.socket.connect
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else "localhost"
    if str(host) not in ("localhost", "127.0.0.1", "::1"):
        with open(os.environ["NETWORK_NOTES"], "a") as notes:
            notes.write(repr(address) + "\\n")
        raise PermissionError("no network in tests")
    return _connect(self, address)
socket.socket.connect = connect
"""


def environment_for(folder: Path) -> dict[str, str]:
    """The environment of a run in ``folder``: one thread, full tracebacks, and the network guard, which notes attempts."""
    guard = folder / "guard"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(GUARD)
    environment = {
        **os.environ,
        "PYTHONPATH": str(guard),
        "NETWORK_NOTES": str(folder / "network.txt"),
        "OMP_NUM_THREADS": "1",
        "VLP_DEBUG": "1",
    }
    environment.pop("ANONYMIZE_SECRET", None)
    return environment


def command_for(folder: Path, config: str, overrides: list[str]) -> list[str]:
    """``vlp run configs/<config>`` into ``folder / "run"``."""
    path = str(ROOT / "configs" / config)
    return [sys.executable, "-m", "vlp.cli", "run", path, "--out", str(folder / "run"), *overrides]


def run_demo(folder: Path, config: str, overrides: list[str], timeout: int = 1200) -> subprocess.CompletedProcess[str]:
    """A run to its end, with its output kept."""
    command, environment = command_for(folder, config, overrides), environment_for(folder)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
    )
