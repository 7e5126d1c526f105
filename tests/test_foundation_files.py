"""Files are whole or absent; fingerprints follow content."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

from anonymize.files import fingerprint, open_atomic, read_rows, write_table
from vlp.evaluation.results import Result, Stage, read_metrics, write_metrics
from vlp.study import ImageRef, Study


@dataclass(frozen=True)
class Row:
    name: str
    count: int | None


def test_an_interrupted_write_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("former")

    def fail_half_way() -> None:
        with open_atomic(path, "w") as stream:
            stream.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_tables_read_back_in_order(tmp_path: Path) -> None:
    write_table(tmp_path / "t" / "part-1.parquet", [Row("b", None)])
    write_table(tmp_path / "t" / "part-0.parquet", [Row("a", 1)])
    assert read_rows(tmp_path / "t") == [{"name": "a", "count": 1}, {"name": "b", "count": None}]


def test_fingerprint_follows_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = fingerprint(tmp_path)
    (tmp_path / "b").write_text("y")
    assert len({first, second, fingerprint(tmp_path)}) == 3
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_study_survives_parquet(tmp_path: Path) -> None:
    from vlp.study import MANIFEST_SCHEMA

    image = ImageRef("I1", 0, 3, 128, 96, "PA", "R", None)
    study = Study(
        "S1", "P1", "train", "hand", "2020-01-02", 133, "F", "fr", (image,), "", "", "", "RAS", "", "texte",
        "h", "report", "phantom", {"fracture": 0.0, "bone_age_months": 120.5},
    )  # fmt: skip
    write_table(tmp_path / "m.parquet", [study.row()], MANIFEST_SCHEMA)
    assert Study.from_row(read_rows(tmp_path / "m.parquet")[0]) == study


def test_metrics_file_reads_back_and_has_no_nan(tmp_path: Path) -> None:
    result = Result("fracture", "zero-shot", "auroc", 0.8, float("nan"), 0.9, 10, 0, 0.0, "m", "phantom/sex=F", "test")
    write_metrics(tmp_path / "metrics.json", [result], [Stage("a", 1.0, 2.0)], {"vlp": "0"})
    assert "NaN" not in (tmp_path / "metrics.json").read_text()
    results, stages, versions = read_metrics(tmp_path / "metrics.json")
    assert repr(results) == repr([result])
    assert (stages, versions) == ([Stage("a", 1.0, 2.0)], {"vlp": "0"})


@pytest.mark.parametrize("change", [{"protocol": "zeroshot"}, {"data": "synthetic"}, {"labels": 10.0}])
def test_results_outside_the_schema_are_refused(change: dict[str, object]) -> None:
    values = {"protocol": "linear", "data": "real", "labels": 0.1} | change
    with pytest.raises(ValueError, match=r"must|not one"):
        Result("fracture", metric="auroc", value=0.5, low=0.4, high=0.6, n=1, seed=0, model="m", split="test", **values)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


FORBIDDEN = {
    "anonymize": ["vlp", "torch", "torchvision", "timm", "transformers", "lightly"],
    "vlp/corpus": ["vlp.encoders", "vlp.objectives", "vlp.training", "vlp.tasks"],
    "vlp/encoders": ["vlp.objectives", "vlp.training", "vlp.tasks"],
    "vlp/objectives": ["vlp.training.loop", "vlp.tasks"],
    "vlp/training": ["vlp.tasks"],
    "vlp/phantom": ["torch", "vlp.training", "vlp.tasks"],
}


# Training a tagger and running an outside one: libraries that the user chose to install, imported inside functions.
OPTIONAL = {
    "anonymize/ner/train.py": ("torch",),
    "anonymize/detectors/outside_model.py": ("transformers",),
}


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_dependencies_point_one_way(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        for name in _imports(path):
            if name.split(".")[0] in OPTIONAL.get(path.relative_to(ROOT).as_posix(), ()):
                continue
            for forbidden in FORBIDDEN[folder]:
                assert name != forbidden, f"{path} imports {name}"
                assert not name.startswith(forbidden + "."), f"{path} imports {name}"


def test_anonymize_starts_where_torch_is_not_installed() -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'vlp'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import importlib, pathlib, anonymize\n"
        "for p in sorted(pathlib.Path(anonymize.__file__).parent.rglob('*.py')):\n"
        "    parts = p.relative_to(pathlib.Path(anonymize.__file__).parent.parent).with_suffix('').parts\n"
        "    importlib.import_module('.'.join(parts[:-1] if parts[-1] == '__init__' else parts))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
