"""What the trained tagger of the language finds: names, towns, institutions, addresses, dates and numbers without a cue."""

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

# Rules say more exactly what a number is; where they are silent it is an identifier.
_KIND_OF = {"number": "id", "contact": "email"}


class Ner(Detector):
    """Spans of the tagger. Their score is the lowest probability of their words."""

    kinds = ("name", "town", "institution", "address", "date", "id", "email")

    def __init__(self, pack: Pack, folder: Path) -> None:
        super().__init__(pack)
        self.network: Network = load_network(folder, Features(Lexicon(pack)))

    def find(self, view: View) -> Iterable[Span]:
        """Spans of all its kinds."""
        for span in self.network.tag(view.text):
            yield Span(span.start, span.end, _KIND_OF.get(span.kind, span.kind), span.score, "ner.trained")
