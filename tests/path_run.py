"""A very small run of the demo's own configuration, shared by the tests that look at its output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

SMALL = ["hospital.patients=40", "hospital.size=160", "hospital.chunk_patients=10"]

# refuses connections to other machines in every process of a run, and leaves a note of each attempt
GUARD = '''
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
'''


def run_demo(folder: Path, config: str, overrides: list[str], timeout: int = 900) -> subprocess.CompletedProcess[str]:
    """``vlp run configs/<config>`` into ``folder / "run"`` with the network refused; its output is kept."""
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
    command = [sys.executable, "-m", "vlp.cli", "run", str(ROOT / "configs" / config), "--out", str(folder / "run")]
    return subprocess.run(
        [*command, *overrides], env=environment, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
    )
