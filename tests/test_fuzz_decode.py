"""The fuzzer finds what it is there to find, says it again from seed and index, and finds nothing in a short run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
PLANTED = """
import os, sys, time
sys.path.insert(0, {scripts!r})
import fuzz_decode
def run(self, data, kind, index):
    if index == 3: os.abort()
    if index == 5:
        while True: pass
    if index == 7: self.hoard = bytearray(os.urandom(1 << 20)) * 1200
    if index == 9: raise KeyError("x")
    if index == 11: raise SystemExit
    return "decoded"
fuzz_decode.Target.run = run
raise SystemExit(fuzz_decode.main())
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fuzzer reads /proc")


def fuzz(*command: str) -> tuple[int, dict[str, int]]:
    found = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert found.stdout, found.stderr
    return found.returncode, json.loads(found.stdout.splitlines()[-1])


def test_crashes_hangs_memory_and_exceptions_are_findings(tmp_path: Path) -> None:
    log = tmp_path / "found.jsonl"
    code, counts = fuzz(
        "-c", PLANTED.format(scripts=str(SCRIPTS)), "--inputs", "14", "--workers", "2", "--findings", str(log)
    )
    assert code == 1
    found = {row["index"]: row["what"] for row in map(json.loads, log.read_text().splitlines())}
    assert found == {3: "crash -6", 5: "hang", 7: "memory", 9: "exception", 11: "crash 9"}
    assert counts["findings"] == 5


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    log = tmp_path / "found.jsonl"
    code, counts = fuzz(str(SCRIPTS / "fuzz_decode.py"), "--inputs", "400", "--workers", "1", "--findings", str(log))
    assert code == 0, log.read_text()
    assert counts["inputs"] == 400
    assert counts["decoded"] > 20  # the mutations leave some files whole


def test_an_input_is_made_again_from_its_numbers() -> None:
    """In another process, as whoever looks at a finding does."""
    command = f"""
import hashlib, sys
sys.path.insert(0, {str(SCRIPTS)!r})
import fuzz_inputs, fuzz_sources
sources = fuzz_sources.sources()
assert {{s.kind for s in sources}} == {{"dicom", "png", "jpeg", "tiff", "npy"}}
print(hashlib.sha256(b"".join(fuzz_inputs.make(sources, 1, n)[1] for n in range(400))).hexdigest())
"""
    digests = {
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 65
