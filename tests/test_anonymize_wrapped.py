"""Words that the end of a line cuts: seen whole, hidden whole, at their own places."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig
from anonymize.report import Span
from anonymize.wrapped import joined, spread

PIECES = st.lists(
    st.sampled_from(["mar", "tin", " ", "-\n", "-\n   ", "\n", "Anne", "-", "é", "12", "-\r\n"]), max_size=30
)


@given(PIECES)
@settings(max_examples=200, deadline=None)
def test_each_letter_of_the_joined_text_stands_where_it_says(pieces: list[str]) -> None:
    text = "".join(pieces)
    whole, cuts = joined(text)
    if cuts is None:
        assert whole == text
        return
    for place, char in enumerate(whole):
        (span,) = spread([Span(place, place + 1, "name", 1.0, "x")], cuts)
        assert text[span.start] == char
    (everything,) = spread([Span(0, len(whole), "name", 1.0, "x")], cuts)
    assert everything.start == 0
    assert everything.end == len(text)


def test_a_cut_name_is_hidden_whole_and_found_again_uncut() -> None:
    engine = Anonymizer(ReportsConfig(), Keys(bytes(32)))
    text = "Adressée par le Dr Quéné-\nrdel pour gonalgie.\nPas de lésion.\nQuénérdel a été prévenu."
    spans = [text[span.start : span.end] for span in engine.find(text)]
    assert spans == ["Quéné-\nrdel", "Quénérdel"]


def test_halves_that_a_hyphen_joins_stay_apart() -> None:
    engine = Anonymizer(ReportsConfig(), Keys(bytes(32)))
    text = "Vue avec sa grand-\nmère Yolaine ce jour, radio-\ngraphie sans fracture."
    assert [text[span.start : span.end] for span in engine.find(text)] == ["Yolaine"]
