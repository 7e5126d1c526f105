"""What identifies a person: one Presidio recognizer per file, each fed by the language pack.

Every recognizer can be used alone in a Presidio ``AnalyzerEngine``. The engine of this package runs them directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anonymize.forms import IdentifierForm
from anonymize.languages import Pack
from anonymize.presidio import EntityRecognizer, NlpArtifacts, RecognizerResult
from anonymize.report import Gazetteer, Span
from anonymize.text import View, view_of


class Detector(EntityRecognizer):
    """Base of the recognizers: subclasses name their kinds and write :meth:`find`."""

    kinds: tuple[str, ...] = ()

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        super().__init__(supported_entities=list(self.kinds), supported_language=pack.language)

    def load(self) -> None:
        """Nothing to load: everything comes from the pack at construction."""

    def find(self, view: View) -> Iterable[Span]:
        """Spans in ``view``; they may overlap."""
        raise NotImplementedError

    def analyze(
        self, text: str, entities: list[str] | None = None, nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Presidio's interface to :meth:`find`."""
        return [
            RecognizerResult(s.kind, s.start, s.end, s.score, recognition_metadata={"recognizer_name": s.rule})
            for s in self.find(view_of(text))
            if not entities or s.kind in entities
        ]


def build(pack: Pack, gazetteer: Gazetteer | None = None, forms: Sequence[IdentifierForm] = ()) -> list[Detector]:
    """All detectors of a language, without those that need the record (``known_identity``).

    ``forms`` are the hospital's own identifiers.
    """
    from anonymize.detectors.addresses import Addresses
    from anonymize.detectors.ages import Ages
    from anonymize.detectors.contacts import Contacts
    from anonymize.detectors.dates import Dates
    from anonymize.detectors.devices import Devices
    from anonymize.detectors.hl7 import Hl7
    from anonymize.detectors.identifiers import Identifiers
    from anonymize.detectors.initials import Initials
    from anonymize.detectors.institutions import Institutions
    from anonymize.detectors.markup import Markup
    from anonymize.detectors.names import Names
    from anonymize.detectors.national import NationalNumbers
    from anonymize.detectors.numbered_lists import NumberedLists
    from anonymize.detectors.online import Online
    from anonymize.detectors.pasted_table import PastedTable
    from anonymize.detectors.places import Places
    from anonymize.detectors.running_names import RunningNames
    from anonymize.detectors.spelled_digits import SpelledDigits

    known = gazetteer or Gazetteer()
    return [
        Names(pack, known),
        *([RunningNames(pack)] if pack["detectors"]["names"].get("company") else []),
        *([Initials(pack)] if pack["detectors"]["names"].get("references") else []),
        NumberedLists(pack),
        Dates(pack),
        Places(pack, known),
        *([Addresses(pack)] if "addresses" in pack["detectors"] else []),
        Institutions(pack),
        Contacts(pack),
        Online(pack),
        NationalNumbers(pack),
        Identifiers(pack, forms),
        Devices(pack),
        Hl7(pack),
        PastedTable(pack),
        Markup(pack),
        SpelledDigits(pack),
        Ages(pack),
    ]
