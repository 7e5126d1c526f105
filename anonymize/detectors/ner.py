"""What the trained tagger of the language finds: names, towns, institutions and addresses without a cue."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.ner.lexicon import Lexicon
from anonymize.ner.network import Network, load_network
from anonymize.ner.tokens import Features
from anonymize.report import Span
from anonymize.text import View

# What rules with check digits and labels find better is left to them.
_KIND_OF = {"name": "name", "town": "town", "institution": "institution", "address": "address"}


def model_folder(pack: Pack, chosen: str = "") -> Path | None:
    """The folder of the tagger: ``chosen``, else the pack's own; None where there is none."""
    folder = Path(chosen) if chosen else pack.folder / "ner"
    return folder if (folder / "model.safetensors").is_file() else None


class Ner(Detector):
    """Spans of the tagger. Their score is the lowest probability of their words."""

    kinds = tuple(_KIND_OF.values())

    def __init__(self, pack: Pack, folder: Path) -> None:
        super().__init__(pack)
        self.network: Network = load_network(folder, Features(Lexicon(pack)))

    def find(self, view: View) -> Iterable[Span]:
        """Spans of names, towns, institutions and addresses."""
        for span in self.network.tag(view.text):
            kind = _KIND_OF.get(span.kind)
            if kind:
                yield Span(span.start, span.end, kind, span.score, "ner.trained")
