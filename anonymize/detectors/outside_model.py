"""Other people's taggers: a Hugging Face token classifier or an EDS-Pseudo (edsnlp) pipeline, offline by default.

Weights are read from safetensors only and no code of a model folder is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from anonymize.config import ConfigError
from anonymize.detectors import Detector
from anonymize.languages import FOLDER, Pack
from anonymize.report import KINDS, Span
from anonymize.text import View, fold

Entity = tuple[int, int, str, float]  # start, end (code points), label, score
_CHUNK = 1_200  # characters given to a classifier at a time; most read 512 word pieces
_OVERLAP = 150


class OutsideModel(Detector):
    """Spans of any tagger, its labels mapped to the kinds of this package.

    Args:
        pack: the language.
        find: text → entities.
        labels: label of the model → kind; labels that are not in it are left out.
    """

    kinds = KINDS

    def __init__(self, pack: Pack, find: Callable[[str], Iterable[Entity]], labels: dict[str, str]) -> None:
        super().__init__(pack)
        self._find, self._labels = find, labels

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the model's entities whose label is known."""
        for start, end, label, score in self._find(view.text):
            kind = self._labels.get(plain_label(label))
            if kind and start < end:
                yield Span(start, end, kind, float(score), "ner.outside")


def open_outside_model(pack: Pack, name: str) -> OutsideModel:
    """The model in a folder or under a hub name (found in the local cache only, unless HF_HUB_OFFLINE=0).

    Raises:
        ConfigError: it is not there, its library is missing, or it wants to run code of its own.
    """
    labels = known_labels()
    folder = Path(name)
    if folder.is_dir() and (folder / "config.cfg").is_file():
        return OutsideModel(pack, _edsnlp(folder), labels)
    return OutsideModel(pack, _transformers(name), labels)


def known_labels() -> dict[str, str]:
    """Label, plain, → kind, for the label sets in use (``languages/ner_labels.yaml``)."""
    from anonymize.config import read_yaml_mapping

    table = read_yaml_mapping(FOLDER / "ner_labels.yaml")
    return {plain_label(str(label)): kind for kind, names in table.items() for label in names}


def plain_label(label: str) -> str:
    """Letters only, lower case, without a tagging prefix."""
    return re.sub(r"[^a-z]", "", re.sub(r"^[bilsue]-", "", fold(label)))


def _transformers(name: str) -> Callable[[str], Iterable[Entity]]:
    try:
        from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline
    except ImportError:
        raise ConfigError(f"ner={name}: needs transformers and torch; pip install transformers torch") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModelForTokenClassification.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ConfigError(
            f"ner={name}: cannot be loaded as a token classifier with safetensors weights: {reason}"
        ) from None
    tagger = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="max", device=-1)

    def find(text: str) -> Iterable[Entity]:
        for offset, piece in _pieces(text):
            entities: list[dict[str, Any]] = tagger(piece)  # type: ignore[assignment]
            for entity in entities:
                yield offset + entity["start"], offset + entity["end"], entity["entity_group"], float(entity["score"])

    return find


def _edsnlp(folder: Path) -> Callable[[str], Iterable[Entity]]:
    import edsnlp

    try:
        nlp = edsnlp.load(folder)
    except Exception as error:
        raise ConfigError(f"ner={folder}: edsnlp cannot load this pipeline: {type(error).__name__}") from None

    def find(text: str) -> Iterable[Entity]:
        document = nlp(text)
        groups = [document.ents, *(document.spans[key] for key in document.spans)]
        for span in {(s.start_char, s.end_char, s.label_) for group in groups for s in group}:
            yield (*span, 0.9)

    return find


def _pieces(text: str) -> Iterable[tuple[int, str]]:
    """Overlapping pieces cut at blanks, with where they begin."""
    start = 0
    while start < len(text):
        end = min(len(text), start + _CHUNK)
        if end < len(text):
            blank = text.rfind(" ", start + _CHUNK // 2, end)
            end = blank if blank > 0 else end
        yield start, text[start:end]
        if end == len(text):
            return
        start = max(end - _OVERLAP, start + 1)
        while start < end and not text[start - 1].isspace():
            start += 1
