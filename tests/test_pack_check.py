"""``anonymize pack check``: what it says of the installed packs and of a pack that was made wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anonymize.cli import app
from anonymize.languages import FOLDER, Pack, available
from anonymize.languages.check import Lack, check_pack


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A copy of the Dutch pack under another code."""
    return Path(shutil.copytree(FOLDER / "nl", tmp_path / "xx", ignore=shutil.ignore_patterns("ner", "*.gz")))


def lacks(folder: Path) -> list[Lack]:
    return list(check_pack(Pack(folder.name, folder)).lacks)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("code", available())
def test_every_installed_pack_can_pseudonymise_reports(code: str) -> None:
    checked = check_pack(Pack(code, FOLDER / code))
    assert checked.usable, [lack for lack in checked.lacks if lack.level == "error"]


@pytest.mark.parametrize("code", ["de", "nl", "it"])
def test_what_german_dutch_and_italian_can_do(code: str) -> None:
    states = check_pack(Pack(code, FOLDER / code)).capabilities()
    for capability in ("reports", "DICOM text", "labels", "prompts", "trained names"):
        assert states[capability].startswith("works"), capability


@pytest.mark.parametrize("code", ["nl", "it"])
def test_a_missing_phantom_is_told(code: str) -> None:
    if (FOLDER / code / "phantom.yaml").is_file():
        pytest.skip("the pack has a phantom")
    checked = check_pack(Pack(code, FOLDER / code))
    assert checked.capabilities()["phantom"] == "does not work"
    assert any("synthetic hospital" in lack.consequence for lack in checked.lacks)


def test_a_missing_file_is_an_error_of_its_capability(made_up: Path) -> None:
    (made_up / "labels.yaml").unlink()
    found = [lack for lack in lacks(made_up) if lack.file == "labels.yaml"]
    assert [(lack.capability, lack.level) for lack in found] == [("labels", "error")]


def test_a_misspelled_key_is_told_with_the_nearest_name(made_up: Path) -> None:
    edit(made_up / "detectors.yaml", "  town_cues:", "  town_cue:")
    found = lacks(made_up)
    assert any("did you mean 'places.town_cues'" in lack.what for lack in found)
    assert any("'places.town_cues' is required" in lack.what and lack.level == "error" for lack in found)


def test_eleven_months_make_a_pack_unusable(made_up: Path) -> None:
    edit(made_up / "pack.yaml", "  - [december, dec]\n", "")
    checked = check_pack(Pack("xx", made_up))
    assert not checked.usable
    assert any("months" in lack.what for lack in checked.lacks)


def test_a_word_list_without_licence_and_a_short_one(made_up: Path) -> None:
    (made_up / "common.txt").write_text("bakker\nvisser\n", encoding="utf-8")
    what = [lack.what for lack in lacks(made_up) if lack.file == "common.txt"]
    assert any("licence" in line for line in what)
    assert any("2 entries" in line for line in what)


def test_a_broken_expression_a_broken_template_and_no_prompt(made_up: Path) -> None:
    edit(made_up / "labels.yaml", '"klaplong\\\\w*"', '"klaplong(\\\\w*"')
    edit(made_up / "templates.yaml", "{institution=hospital}", "{institution=hopsital}")
    found = lacks(made_up)
    assert any("no regular expression" in lack.what for lack in found)
    assert any("hopsital" in lack.what and lack.capability == "trained names" for lack in found)


def test_labels_without_prompts_are_named(made_up: Path) -> None:
    assert any("labels without prompts" in lack.what and "osteophyte" in lack.what for lack in lacks(made_up))


def test_the_command_prints_json_and_its_exit_code_says_unusable(made_up: Path) -> None:
    runner = CliRunner()
    good = runner.invoke(app, ["pack", "check", str(made_up), "--json"])
    assert good.exit_code == 0, good.output
    result = json.loads(good.stdout)
    assert result["usable"]
    assert result["packs"][0]["capabilities"]["NER model"] == "none"
    (made_up / "sections.yaml").unlink()
    assert runner.invoke(app, ["pack", "check", str(made_up), "--quiet"]).exit_code == 1
    assert runner.invoke(app, ["pack", "check"]).exit_code == 2
    assert runner.invoke(app, ["pack", "check", "zz"]).exit_code == 2
