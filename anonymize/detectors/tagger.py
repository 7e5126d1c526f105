"""Which tagger stands beside the rules: the pack's own, one of the hospital, an outside model, or none."""

from __future__ import annotations

from pathlib import Path

from anonymize.config import ConfigError
from anonymize.detectors import Detector
from anonymize.languages import Pack


def open_tagger(pack: Pack, chosen: str = "") -> tuple[Detector | None, Path | None]:
    """The tagger that ``chosen`` names, and its folder where it is one of ours.

    Args:
        pack: the language.
        chosen: "" (the pack's own, if it has one), "none", a folder written by ``train-ner`` or ``adapt``, a folder or hub
            name of a Hugging Face token classifier or an EDS-Pseudo pipeline, or ``llm:URL#MODEL`` (a local server).

    Raises:
        ConfigError: there is no such model, or its library is not installed.
    """
    if chosen == "none":
        return None, None
    folder = Path(chosen) if chosen else pack.folder / "ner"
    if (folder / "model.safetensors").is_file() and (folder / "config.json").is_file() and _ours(folder):
        from anonymize.detectors.ner import Ner

        return Ner(pack, folder), folder
    if not chosen:
        return None, None
    if chosen.startswith("llm:"):
        from anonymize.detectors.llm import LocalLlm

        return LocalLlm(pack, chosen.removeprefix("llm:")), None
    from anonymize.detectors.outside_model import open_outside_model

    return open_outside_model(pack, chosen), None


def _ours(folder: Path) -> bool:
    from anonymize.files import read_json

    try:
        return "format" in read_json(folder / "config.json")
    except ValueError:
        raise ConfigError(f"{folder}/config.json is no JSON") from None
