"""``vlp run``: skip what is done, do again what changed, go on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anonymize.config import ConfigError
from anonymize.console import Console
from vlp.pipeline import config as pipeline_config
from vlp.pipeline import runner
from vlp.pipeline.config import RunConfig, load_run_config
from vlp.pipeline.process import supervise

YAML = """
title: small
data: phantom
stages:
  first:
    command: vlp stage --out {run}/first
    set: {letter: a}
  second:
    command: vlp stage {run}/first/out.txt --out {run}/second
    set: {letter: b}
  other:
    command: vlp stage --out {run}/other
"""

# a stage that copies its input, appends its letter, and counts how often it ran
STAGE = """
import sys, pathlib, time
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out") + 1]); out.mkdir(parents=True, exist_ok=True)
values = dict(w.split("=", 1) for w in words if "=" in w)
source = [w for w in words[1:words.index("--out")]]
text = pathlib.Path(source[0]).read_text() if source else ""
time.sleep(float(values.get("sleep", 0)))
(out / "out.txt").write_text(text + values.get("letter", ""))
with (out.parent / (out.name + ".runs")).open("a") as stream: stream.write("x")
sys.exit(int(values.get("code", 0)))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake_stage_module.py").write_text(STAGE)
    monkeypatch.setitem(pipeline_config.PROGRAMS, "vlp", "fake_stage_module")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "run.yaml"
    path.write_text(YAML)
    return path


def _runs(run: Path, stage: str) -> int:
    path = run / f"{stage}.runs"
    return len(path.read_text()) if path.exists() else 0


def _go(path: Path, run: Path, *overrides: str) -> None:
    runner.run_stages(load_run_config(path, overrides), run, Console("quiet"))


def test_done_stages_are_skipped_and_changes_flow_down(program: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _go(program, run)
    assert (run / "second/out.txt").read_text() == "ab"
    _go(program, run)
    assert [_runs(run, name) for name in ("first", "second", "other")] == [1, 1, 1]
    _go(program, run, "first.letter=c")
    assert (run / "second/out.txt").read_text() == "cb"
    assert [_runs(run, name) for name in ("first", "second", "other")] == [2, 2, 1]


def test_a_lost_output_is_made_again(program: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _go(program, run)
    (run / "other/out.txt").unlink()
    (run / "other").rmdir()
    _go(program, run)
    assert [_runs(run, name) for name in ("first", "second", "other")] == [1, 1, 2]


def test_from_repeats_a_stage_and_all_after_it(program: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _go(program, run)
    runner.run_stages(load_run_config(program), run, Console("quiet"), start_at="second")
    assert [_runs(run, name) for name in ("first", "second", "other")] == [1, 2, 2]


def test_a_failed_stage_stops_the_run_and_is_tried_again(program: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(runner.StageFailed, match="'second' ended with exit code 4"):
        _go(program, run, "second.code=4")
    assert _runs(run, "other") == 0
    _go(program, run)
    assert [_runs(run, name) for name in ("first", "second", "other")] == [1, 2, 1]


def test_a_killed_run_goes_on_and_its_seconds_add_up(program: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = (
        "from pathlib import Path\n"
        "from anonymize.console import Console\n"
        "from vlp.pipeline import config, runner\n"
        "config.PROGRAMS['vlp'] = 'fake_stage_module'\n"
        f"settings = config.load_run_config(Path({str(program)!r}), ['second.sleep=60'])\n"
        f"runner.run_stages(settings, Path({str(run)!r}), Console('quiet'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        beat = run / runner.HEARTBEAT
        if (
            beat.exists()
            and json.loads(beat.read_text())["stage"] == "second"
            and json.loads(beat.read_text())["seconds"] > 1
        ):
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    config = load_run_config(program, ["second.sleep=0.0"])
    ledger = runner.Ledger(run)
    assert [(p.name, p.action) for p in runner.plan(config, run, ledger)] == [
        ("first", "skip"), ("second", "run"), ("other", "run")
    ]  # fmt: skip
    same = load_run_config(program, ["second.sleep=60"])
    (run / "second").mkdir(exist_ok=True)
    assert runner.plan(same, run, ledger)[1].action == "continue"
    ledger.close_interrupted()
    mark = runner.plan(same, run, ledger)[1].fingerprint
    assert ledger.cost("second", mark).seconds >= 1
    runner.run_stages(config, run, Console("quiet"))
    assert (run / "second/out.txt").read_text() == "ab"
    assert _runs(run, "first") == 1


def test_a_stage_is_measured(tmp_path: Path) -> None:
    code = "import time; block = bytearray(200_000_000); time.sleep(2.5)"
    beats: list[float] = []
    outcome = supervise([sys.executable, "-c", code], tmp_path, lambda s, m: beats.append(m), {})
    assert outcome.code == 0
    assert outcome.seconds >= 2.5
    assert 190 < outcome.peak_memory_mb < 400
    assert len(beats) >= 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["secnd.letter=x"], ["unknown stage or key 'secnd'", "'second'"]),
        (["data=synthetic"], ["data", "phantom or real"]),
    ],
)
def test_configuration_errors_name_the_nearest(program: Path, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run_config(program, overrides)
    assert all(word in str(caught.value) for word in words)


def test_a_stage_must_be_a_command_of_the_project() -> None:
    with pytest.raises(ValueError, match="starts with one of"):
        RunConfig.model_validate({"stages": {"x": {"command": "rm -rf {run} --out y"}}})
    with pytest.raises(ValueError, match="--out"):
        RunConfig.model_validate({"stages": {"x": {"command": "vlp align {run}/corpus"}}})


def test_variables_fill_the_commands(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("variables: {data: here}\nstages: {a: {command: 'vlp prepare {data} --out {run}/a'}}")
    assert load_run_config(path).stages["a"].command == "vlp prepare here --out {run}/a"
    moved = load_run_config(path, ["variables.data=/my films"])
    assert moved.stages["a"].arguments(tmp_path)[:2] == ["prepare", "/my films"]
