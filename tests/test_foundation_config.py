"""Configuration errors name the key, its source and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from anonymize.config import Config, ConfigError, dump_config, load_config


class Optimiser(Config):
    learning_rate: float = 1e-3
    steps: int = 10


class Settings(Config):
    name: str = "x"
    optimiser: Optimiser = Optimiser()


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: fromfile\noptimiser: {steps: 3}\n")
    settings = load_config(Settings, path, ["optimiser.steps=7", "name=cli"])
    assert (settings.name, settings.optimiser.steps, settings.optimiser.learning_rate) == ("cli", 7, 1e-3)


@pytest.mark.parametrize(
    ("yaml_text", "overrides", "words"),
    [
        ("optimiser: {step: 3}", [], ["a.yaml", "unknown key 'optimiser.step'", "'optimiser.steps'"]),
        ("", ["optimizer.steps=1"], ["command line", "unknown key 'optimizer'", "'optimiser'"]),
        ("optimiser: {steps: many}", [], ["a.yaml", "'optimiser.steps'", "integer"]),
        ("", ["optimiser.steps=many"], ["command line", "'optimiser.steps'"]),
        ("- 1", [], ["a.yaml", "mapping"]),
        ("a: [", [], ["a.yaml", "not valid YAML"]),
        ("", ["steps"], ["'steps' is not an override", "key=value"]),
        ("", ["name.x=1"], ["name"]),
    ],
)
def test_errors_name_key_source_and_remedy(
    tmp_path: Path, yaml_text: str, overrides: list[str], words: list[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml_text)
    with pytest.raises(ConfigError) as caught:
        load_config(Settings, path, overrides)
    for word in words:
        assert word in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(Settings, tmp_path / "absent.yaml")


def test_resolved_configuration_reads_back(tmp_path: Path) -> None:
    settings = Settings(name="é", optimiser=Optimiser(steps=4))
    dump_config(settings, tmp_path / "out.yaml")
    assert load_config(Settings, tmp_path / "out.yaml") == settings


def test_off_and_no_are_words_not_booleans(tmp_path: Path) -> None:
    assert load_config(Settings, None, ["name=off"]).name == "off"
    (tmp_path / "a.yaml").write_text("name: no\n")
    assert load_config(Settings, tmp_path / "a.yaml").name == "no"
