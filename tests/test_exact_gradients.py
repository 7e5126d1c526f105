"""N processes give the gradients of one, for every contrastive loss; recomputed slices with dropout too; open_clip agrees.

One helper process (tests/exact_worker.py) forks 1, 2 and 4 gloo processes; here their gradients are compared.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORLDS = (1, 2, 4)
TOLERANCE = 1e-5  # relative, by norm of each parameter's gradient
LOSSES = (
    *("infonce/plain", "infonce/multi", "infonce/soft", "infonce/multi/16", "infonce/soft/8"),
    *("siglip/plain", "siglip/multi", "siglip/multi/16", "hard", "decorrelation", "local"),
    *("gloria/plain", "gloria/multi", "gloria/multi/200"),
    *("descriptions", "synonyms", "synonyms/block/16", "descriptions of findings"),
    *("infonce and its terms", "siglip", "masked language", "accumulation"),
)
Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, dict[str, Gradients]]]:
    folder = tmp_path_factory.mktemp("exact")
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, str(here / "exact_worker.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {world: torch.load(folder / f"{world}.pt", weights_only=True) for world in WORLDS}


def compare(case: dict[str, Gradients], bias: bool = False) -> None:
    found, wanted = case["found"], case["wanted"]
    assert set(found) == set(wanted)
    scales = [name for name in wanted if name.endswith(("scale", "bias")) and wanted[name].shape == (1,)]
    assert any("scale" in name for name in scales) or "text.weight" in wanted
    largest = max(float(value.norm()) for value in wanted.values())
    assert largest > 1e-3
    for name, value in wanted.items():
        # a gradient that is nothing but rounding (a key's bias under softmax) is compared with the largest one's rounding
        allowed = TOLERANCE * max(float(value.norm()), 1e-3 * largest)
        assert float((found[name] - value).norm()) <= allowed, name
    if bias:
        assert any("bias" in name for name in scales)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_those_of_one_process(results: dict, world: int, name: str) -> None:
    compare(results[world][name], bias=name.startswith("siglip"))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["infonce", "siglip"])
def test_gradients_equal_those_of_open_clip(results: dict, world: int, name: str) -> None:
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("open_clip is not installed: pip install open-clip-torch==3.3.0")
    compare(results[world][f"open_clip {name}"], bias=name == "siglip")


def test_sharded_parameters_get_the_gradients_of_replicated_ones(results: dict) -> None:
    compare(results[2]["FSDP2"])


def test_the_check_can_fail(results: dict) -> None:
    case = results[2]["infonce/multi"]
    wrong = {name: value / 2 if name == "scale" else value for name, value in case["found"].items()}
    with pytest.raises(AssertionError, match="scale"):
        compare({"found": wrong, "wanted": case["wanted"]})
