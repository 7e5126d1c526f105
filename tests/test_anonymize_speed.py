"""No text makes the rules slow, and what the released DEDUCE fork got wrong is right.

Times are CPU time, best of three, and are scaled by a calibration loop, so that a slow or busy machine does not fail.
"""

from __future__ import annotations

import re
import time
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.report import Identity, Report, Span
from anonymize.sections import parser_of
from anonymize.text import Anchored, View, alternatives, fold, view_of

LENGTH = 10_000
LIMIT = 0.050  # seconds for a text of 10 kB, on the machine where the calibration takes CALIBRATED
CALIBRATED = 0.005
SLACK = 2.0
RECORD = Identity(
    patient_id="PAT-1234567",
    surname="Dupont-Lejeune",
    birth_name="Le Goff",
    given_name="Anne-Marie, Rose",
    sex="F",
    birth_date="1957-03-14",
    address="12 rue de la Paix",
    postcode="75002",
    town="Saint-Étienne-du-Rouvray",
    phone="0612345678",
    visit="987654321",
    accession="ACC12345",
    staff=("Dr Jean Petit", "Pr Van der Berg"),
)
LANGUAGES = ("fr", "es", "de", "en")


@cache
def engine(language: str = "fr") -> Anonymizer:
    return Anonymizer(ReportsConfig(language=language), Keys(bytes(32)))


@cache
def cues(language: str) -> tuple[str, ...]:
    pack = load_pack(language)

    def walk(value: object) -> list[str]:
        if isinstance(value, dict):
            return [word for below in value.values() for word in walk(below)]
        if isinstance(value, list):
            return [word for below in value for word in walk(below)]
        return [value] if isinstance(value, str) and value else []

    return tuple(sorted({*walk(pack["detectors"]), *pack.words("protected")}))


def calibration() -> float:
    """CPU seconds of a fixed amount of the work that rules do: matching, slicing, dictionaries."""
    pattern, text = re.compile(r"(?<!\w)[a-z]{2,8}(?: [a-z]{1,5}){0,2} \d"), "abc de fgh 12, klm " * 500
    began = time.process_time()
    for _ in range(4):
        counts: dict[str, int] = {}
        for match in re.finditer(r"[^\W\d_]+|\d+", text):
            counts[match.group()] = counts.get(match.group(), 0) + len(text[match.start() : match.end()])
        list(pattern.finditer(text))
    return time.process_time() - began


def seconds(text: str, language: str = "fr") -> float:
    """CPU seconds, best of three, of all rules, the record and the second look."""
    best = 9.0
    for _ in range(3):
        view_of.cache_clear()
        began = time.process_time()
        engine(language).find(text, RECORD)
        best = min(best, time.process_time() - began)
        if best < LIMIT / 2:
            break
    return best


def allowed() -> float:
    return LIMIT * SLACK * max(1.0, min(calibration() for _ in range(3)) / CALIBRATED)


def filled(unit: str) -> str:
    return (unit * (1 + LENGTH // len(unit)))[:LENGTH]


HOSTILE = [
    *(
        "A ",
        "A.",
        "Aa ",
        "AA ",
        "A, ",
        "M. ",
        "M. A ",
        "Dr A et ",
        "Dr Dr ",
        "interne ",
        "Sœur ",
        "Né le ",
        "née née, ",
    ),
    *(
        "1 ",
        "1.",
        "1/",
        "12 ",
        "12,5 ",
        "(0",
        "+1 ",
        "1 1 ",
        "01/01/",
        "2020-",
        "1_",
        "A1 ",
        "H1A 1A1 ",
        "75000 A ",
        "0 0",
    ),
    *(
        "a@",
        "a@a.",
        "www.",
        "a.fr ",
        "|",
        "\nPID|^",
        "PID|",
        "d'",
        "D'A-",
        "A-",
        "-",
        "é",
        "e\u0301",
        "\u0301",
        "œ ",
        "’",
    ),
    *(
        "\n",
        " ",
        "\t",
        "\r",
        "_",
        " - ",
        "- ",
        "...",
        "« ",
        "“A” ",
        "Dupont-",
        "D u p o n t ",
        "Dupomt ",
        "Le Goff",
        "legof",
    ),
    *("de la ", "12 rue ", "rue de la ", "rue r ", "Saint-", "CH ", "hôpital de ", "centre hospitalier universitaire "),
    *(
        "janvier ",
        "1 janvier ",
        "deux mille ",
        "Baker-",
        "kyste de ",
        "Indication ",
        "Indication : ",
        "Conclusion\n",
        ". - ",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_a_repeated_sign_or_cue_takes_no_time(unit: str) -> None:
    assert seconds(filled(unit)) < allowed()


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mixtures_of_the_packs_own_cues_take_no_time(language: str, data: st.DataObject) -> None:
    signs = [
        "A ",
        "1 ",
        "12/",
        "@",
        "|",
        "d'",
        "-",
        ", ",
        "\n",
        "é",
        "e\u0301",
        "Dupont ",
        ". ",
        "« ",
        "M. ",
        "de ",
        "(",
        "\t",
    ]
    word = st.sampled_from(cues(language)).flatmap(lambda cue: st.sampled_from([cue, cue.upper(), cue.capitalize()]))
    units = data.draw(st.lists(st.one_of(word, st.sampled_from(signs)), min_size=1, max_size=12))
    joint = data.draw(st.sampled_from(["", " ", "\n", ", ", " : ", "-", " 1 ", "."]))
    assert seconds(filled(joint.join(units) + joint), language) < allowed()


@pytest.mark.parametrize(
    "unit",
    [
        "Compte rendu du Dr Anne Petit, le 12/03/2021 : pas de lésion. ",
        "Dr A. Martin, ",
        "Né le 1 ",
        "CH ",
        "12 rue de la Paix, 75002 Paris ",
        "m. ",
    ],
)
def test_time_grows_with_the_length_and_no_faster(unit: str) -> None:
    """On one line, where every look for the line's edges could cost its length."""
    short, long = filled(unit), filled(unit) * 4
    ratio = min(seconds(long) / max(seconds(short), 1e-4) for _ in range(3))
    assert ratio < 4 * 1.8


# -- what the released DEDUCE fork got wrong ----------------------------------------------------------------------------


def hidden(text: str, part: str, identity: Identity | None = None) -> bool:
    """Whether every letter and digit of ``part`` lies in a span."""
    start = text.index(part)
    covered = {index for span in engine().find(text, identity) for index in range(span.start, span.end)}
    return all(index in covered for index in range(start, start + len(part)) if text[index].isalnum())


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in engine().find(text)]


def safe(text: str) -> str:
    report = Report(1, Identity(patient_id="1"), "2021-03-12", "", text)
    return engine().anonymize(report).report.text


def test_deduce_1_centre_hospitalier_universitaire_does_not_hang() -> None:
    for text in (
        "Centre Hospitalier Universitaire",
        "Centre Hospitalier Universitaire Centre Hospitalier Universitaire de",
        "CENTRE HOSPITALIER UNIVERSITAIRE " * 40,
    ):
        assert seconds(text) < allowed()
    assert hidden("Centre Hospitalier Universitaire de Namur\nService de radiologie", "Namur")


def test_deduce_2_cite_before_a_word_is_no_address() -> None:
    assert found("Le patient est cité pour une radiographie. Simplicité du trait, électricité statique.") == []


def test_deduce_3_and_4_kellgren_and_lawrence_stay() -> None:
    text = "Gonarthrose stade 3 de Kellgren et Lawrence, bilatérale. Stade II de Kellgren-Lawrence à gauche."
    assert found(text) == []
    assert safe(text) == text


@pytest.mark.parametrize(
    "text", ["Mme Dupont-Lejeune consulte.", "Patient : DUPONT-LEJEUNE Marie", "Dr Dupont-Lejeune"]
)
def test_deduce_5_both_halves_of_a_double_name_go(text: str) -> None:
    part = next(word for word in text.split() if "-" in word)
    assert hidden(text, part)


@pytest.mark.parametrize(
    "text", ["Registre national : 57.03.14-123.45", "NISS 57.03.14-123.45", "N° national 57.03.14-123.45, vu ce jour."]
)
def test_deduce_6_a_national_number_goes_whole_and_is_no_date(text: str) -> None:
    assert hidden(text, "57.03.14-123.45")
    assert "date" not in {kind for kind, _ in found(text)}


def test_deduce_7_months_are_an_age_and_stay() -> None:
    text = "Nourrisson de 8 mois, âgée de 18 mois, enfant de 3 ans et 4 mois."
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["1200 Bruxelles", "75013 Paris", "1011 Lausanne", "domiciliée 4 rue Haute, 1000 Bruxelles"]
)
def test_deduce_8_postcodes_go(text: str) -> None:
    code = re.findall(r"\d{4,5}", text)[-1]
    assert hidden(f"Adresse : {text}\nExamen", code)


def test_deduce_9_birth_dates_are_told_from_examination_dates() -> None:
    kinds = found("Mme Martin née le 14/03/1957. Examen du 12/03/2021, comparé au 02.01.2020.")
    assert ("birth_date", "14/03/1957") in kinds
    assert {("date", "12/03/2021"), ("date", "02.01.2020")} <= set(kinds)


def test_deduce_10_signs_of_comparison_stay_and_offsets_hold() -> None:
    text = "Nodule < 5 mm, <b>EVA > 3</b>, vu par le Dr Anne Martin <le 12/03/2021>."
    out = safe(text)
    for part in ("Nodule < 5 mm, <b>EVA > 3</b>, vu par le Dr ", " <le ", ">."):
        assert part in out
    assert [text[span.start : span.end] for span in engine().find(text)] == ["Anne Martin", "12/03/2021"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("NIR : 2 57 03 75 056 123 91", "2 57 03 75 056 123 91"),
        ("IPP : 8001234567", "8001234567"),
        ("NDA 2103456789", "2103456789"),
        ("AVS 756.9217.0769.85", "756.9217.0769.85"),
        ("RAMQ TREM 5703 1412", "TREM 5703 1412"),
    ],
)
def test_deduce_11_numbers_of_france_switzerland_and_quebec_go(text: str, part: str) -> None:
    assert hidden(text, part)


# -- the tools of text.py -----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abAB éœ1 _-.'\n\t’ʼ", max_size=60))
def test_a_view_knows_its_words_and_lines(text: str) -> None:
    view = View(text)
    assert [view.folded[s:e] for s, e in zip(view.starts, view.ends, strict=True)] == view.words
    assert [m.group() for m in re.finditer(r"[^\W\d_]+|\d+", view.folded)] == view.words
    assert view.lines == [(m.start(), m.end()) for m in re.finditer(r"[^\n]+", text)]
    for position in range(len(text) + 1):
        start, end = view.line_of(position)
        assert start == text.rfind("\n", 0, position) + 1
        assert end == (text.find("\n", position) if "\n" in text[position:] else len(text))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "a b", "ab", "a-b", "b", "é", "n°", "° c", "l'a", "ab c d", "a."]), max_size=6),
    st.text(alphabet="abcdeé°'. -1\n", max_size=40),
)
def test_anchored_finds_what_finditer_finds(entries: list[str], text: str) -> None:
    pattern = rf"(?<!\w){alternatives(entries)}(?!\w)"
    view = View(text)
    wanted = [match.span() for match in re.finditer(pattern, view.folded)] if entries else []
    assert [match.span() for match in Anchored(entries, pattern).finditer(view)] == wanted


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="abc' -.", min_size=1, max_size=6), min_size=1, max_size=8), st.data())
def test_alternatives_match_every_entry_whole(entries: list[str], data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(entries))
    assert re.fullmatch(alternatives(entries), fold(entry))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "Indication",
                "INDICATION : ",
                "Technique.",
                "1. Résultat",
                "\n",
                ". ",
                " - ",
                "* ",
                "Conclusion :",
                "texte ",
            ]
        ),
        max_size=12,
    )
)
def test_titles_are_those_of_a_full_scan(pieces: list[str]) -> None:
    """The look-up by first word finds the titles that the pattern finds at every offset."""
    view, parser = View("".join(pieces)), parser_of(load_pack("fr"))
    scanned = [match.span() for match in parser._title.regex.finditer(view.folded)]
    assert {span[:2] for span in parser.titles(view)} <= set(scanned)
    assert [match.span() for match in parser._candidates(view)] == scanned


def test_spans_hold_no_text() -> None:
    assert all(isinstance(span, Span) for span in engine().find("Dr Anne Martin", RECORD))
