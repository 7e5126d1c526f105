"""Folding, dates, sections, the score, the audit chain."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from anonymize.audit import append_audit, broken_line
from anonymize.dates import age_months, forms_of, shift
from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import available, load_pack
from anonymize.measure import Gold, measure, read_gold, score
from anonymize.overlaps import resolve
from anonymize.policy import ReportsConfig
from anonymize.report import Identity, Span
from anonymize.sections import parser_of
from anonymize.text import View, fold

FRENCH = load_pack("fr")
DAYS = st.dates(date(1940, 1, 1), date(2030, 12, 31))


@given(st.text(alphabet=st.sampled_from("aZéÉœŒßA0 .\nΩω’ñ\u0130\U0001f600"), max_size=80))
def test_the_case_of_a_text_counts_its_capitals(text: str) -> None:
    upper, lower = sum(map(str.isupper, text)), sum(map(str.islower, text))
    expected = "lower" if upper <= 0.004 * lower else "upper" if lower <= 0.1 * upper else "mixed"
    assert View(text).case == expected


@given(st.text(alphabet="aAbé -'1", max_size=40), st.sampled_from(["a", "ab", "e", "ba"]))
def test_a_word_in_lower_case_is_seen_wherever_it_stands(text: str, word: str) -> None:
    written = {match.group() for match in re.finditer(r"[^\W\d_]+", text)}
    assert View(text).in_lower_case(word) == any(one.islower() and fold(one) == word for one in written)


@given(st.text())
def test_folding_keeps_offsets(text: str) -> None:
    assert len(fold(text)) == len(text)
    for token in View(text).tokens:
        assert token.folded == fold(text[token.start : token.end])


@given(DAYS, st.integers(-1000, 1000), st.sampled_from(["%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%Y%m%d", "%d %m %Y"]))
def test_numeric_dates_move_and_keep_their_form(day: date, offset: int, form: str) -> None:
    written = forms_of(FRENCH).parse(day.strftime(form))
    assert written is not None
    assert shift(written, offset, None) == (day + timedelta(offset)).strftime(form)


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        ("3 janvier 2012", 30, "2 février 2012"),
        ("1er MARS 2019", 1, "2 MARS 2019"),
        ("mars 2019", 31, "avril 2019"),
        ("3/4/2019", 1, "4/4/2019"),
        ("03/04/19", 1, "04/04/19"),
        ("1 6 0 3 2 0 0 9", 1, "1 7 0 3 2 0 0 9"),
        ("2019", 365, "2020"),
        ("12 févr. 2020", 30, "13 mars 2020"),
        ("31/02/2020", 1, None),
        ("99/99/9999", 1, None),
    ],
)
def test_written_dates(text: str, days: int, expected: str | None) -> None:
    written = forms_of(FRENCH).parse(text)
    assert (shift(written, days, 2024) if written else None) == expected


def test_age_in_completed_months() -> None:
    assert age_months("2010-05-15", "2020-05-14") == 119
    assert age_months("2010-05-15", "2020-05-15") == 120
    assert age_months("2021-01-01", "2020-01-01") is None


REPORT = """CHU de Brestval
Service de radiologie

RADIOGRAPHIE DU GENOU
Renseignements cliniques : chute hier.
Technique
Face et profil.
RESULTATS:
Pas de fracture. Conclusion de l'examen précédent inchangée.
AU TOTAL : examen normal.

Bien confraternellement,
Dr Yvon KERBRAT
"""


@pytest.mark.parametrize(
    "change", [str, str.upper, str.lower, lambda text: fold(text).title().replace("De L'", "de l'")]
)
def test_sections_in_any_case(change) -> None:
    sections = parser_of(FRENCH).parse(change(REPORT))
    assert fold(sections["indication"]) == "chute hier."
    assert fold(sections["technique"]) == "face et profil."
    assert fold(sections["results"]).startswith("pas de fracture.")
    assert fold(sections["conclusion"]) == "examen normal."


def test_text_without_titles_is_results() -> None:
    sections = parser_of(FRENCH).parse("Pas de fracture visible.")
    assert sections["results"] == "Pas de fracture visible."
    assert not sections["indication"] + sections["conclusion"]


@pytest.mark.parametrize("language", ["fr", "en", "de", "es"])
def test_every_pack_builds_and_hides_a_structured_record(language: str) -> None:
    assert language in available()
    engine = Anonymizer(ReportsConfig(language=language), Keys(b"0123456789abcdef"))
    identity = Identity(patient_id="445566778", surname="Kerbrat", given_name="Yvonne", birth_date="1980-04-03")
    text = "KERBRAT Yvonne 03/04/1980 445566778 a.kerbrat@x.org +33 6 12 34 56 78 L4-L5 2,4 mm"
    found = engine.detect(text, engine.known(identity))
    left = "".join(char for i, char in enumerate(text) if not any(s.start <= i < s.end for s in found))
    assert left.split() == ["L4-L5", "2,4", "mm"]


def test_score_counts_what_it_says() -> None:
    gold = [Gold("Jean Dupont vu hier à Brest", ((0, 4, "PRENOM"), (5, 11, "NOM"), (22, 27, "VILLE")), Identity())]
    result = score(gold, [[Span(0, 11, "name", 1.0, "x"), Span(12, 14, "name", 1.0, "x")]])
    assert result["redact_recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["redact_full"] == 0
    assert result["leak_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["false_positives_per_1000"] == pytest.approx(1000 / 6, abs=1e-3)
    assert {label: part["recall"] for label, part in result["by_label"].items()} == {
        "NOM": 1.0,
        "PRENOM": 1.0,
        "VILLE": 0.0,
    }
    assert result["by_label"]["VILLE"]["high"] < 1
    assert result["intervals"]["redact_recall"][0] <= result["redact_recall"] <= result["intervals"]["redact_recall"][1]


def test_audit_chain_shows_a_change(tmp_path: Path) -> None:
    class Empty(BaseModel):
        pass

    for number in range(3):
        append_audit(tmp_path, "reports", "abcd", Empty(), {"rows": number})
    path = tmp_path / "audit.jsonl"
    assert broken_line(path) is None
    path.write_text(path.read_text().replace('"rows": 1', '"rows": 7'))
    assert broken_line(path) == 3


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "recall", "false"),
    [("fr_radio_wrapped_parrot", 0.98, 1.0), ("fr_anonde_synth_clinical", 0.98, 1.0), ("fr_parrot_v0_plain", 1.0, 1.0)],
)
def test_bars_on_shared_gold(shared: Path, name: str, recall: float, false: float) -> None:
    gold = list(read_gold(shared / "data" / "deid" / f"{name}.jsonl"))[:60]
    result, _ = measure(Anonymizer(ReportsConfig(), Keys(b"0123456789abcdef")), gold)
    assert result["redact_recall"] >= recall
    assert result["false_positives_per_1000"] <= false


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), max_size=14))
def test_the_tagger_fills_what_rules_leave_open(drawn: list[tuple[int, int, bool]]) -> None:
    """Whatever overlaps: the union stays covered, nothing overlaps, and what a rule found keeps its extent."""
    view = View("Abcde1 Fghij2 " * 6)
    spans = [Span(a, a + n, "name", 0.9, "ner.trained" if tagged else "names.title") for a, n, tagged in drawn]
    resolved = resolve(view, spans)
    assert all(a.end <= b.start for a, b in pairwise(resolved))
    covered = {i for span in resolved for i in range(span.start, span.end)}
    for span in spans:
        if span.rule != "ner.trained":
            assert all(i in covered for i in range(span.start, span.end) if view.text[i] != " ")
    ruled = [span for span in spans if span.rule != "ner.trained"]
    assert [span for span in resolved if span.rule != "ner.trained"] == resolve(view, ruled)
