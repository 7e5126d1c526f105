"""What the detectors reach on the project's own annotated reports does not get worse.

The figures are of sets whose misses were read: they say nothing about other reports (tests/data/deid/README.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.measure import measure, read_gold
from anonymize.policy import ReportsConfig

FOLDER = Path(__file__).parent / "data" / "deid"


# file: least share of identifying words hidden, most false alarms per 1,000 words
REACHED = {
    "fr_letters": (0.982, 6.5),
    "fr_radiology": (0.978, 7.0),
    "es": (0.962, 9.0),
    "it": (0.942, 15.0),
    "en": (0.940, 20.0),
    "de": (0.960, 12.5),
    "nl": (0.952, 17.5),
    "fr_letters_2": (0.944, 16.0),
    "fr_radiology_2": (0.971, 13.0),
    "es_2": (0.930, 17.5),
    "it_2": (0.910, 26.0),
    "en_2": (0.891, 29.0),
    "de_2": (0.928, 18.5),
    "nl_2": (0.914, 18.5),
}


@pytest.mark.parametrize("name", REACHED)
def test_own_gold(name: str) -> None:
    documents = list(read_gold(FOLDER / f"{name}.jsonl"))
    for document in documents:
        assert all(document.text[start:end].strip() == document.text[start:end] for start, end, _ in document.spans)
    result, _ = measure(Anonymizer(ReportsConfig(language=name[:2]), Keys(bytes(32))), documents)
    recall, alarms = REACHED[name]
    assert result["redact_recall"] >= recall
    assert result["false_positives_per_1000"] <= alarms


@pytest.mark.parametrize("name", ["fr_radiology", "fr_radiology_2", "fr_letters_2"])
def test_a_known_patient_is_hidden_in_every_report(name: str) -> None:
    """Of the patient of the record's own columns nothing is left, however it is written there."""
    documents = list(read_gold(FOLDER / f"{name}.jsonl"))
    engine = Anonymizer(ReportsConfig(), Keys(bytes(32)))
    left = []
    for number, document in enumerate(documents):
        hidden = {
            place for span in engine.find(document.text, document.identity) for place in range(span.start, span.end)
        }
        for start, end, label in document.spans:
            value = document.text[start:end]
            own = value.casefold() in (document.identity.surname.casefold(), document.identity.given_name.casefold())
            if label in ("NOM", "PRENOM") and own and not all(place in hidden for place in range(start, end)):
                left.append((number, value))
    assert left == []
