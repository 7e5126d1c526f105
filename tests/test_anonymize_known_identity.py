"""Every form in which a text can hold what the record's columns say."""

from __future__ import annotations

import unicodedata
from functools import cache

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig
from anonymize.report import Identity
from anonymize.text import fold, words_of

FRAMES = (
    "Radiographie du genou. Vu avec {} ce jour, pas de lésion.",
    "INDICATION :\nChute. {} se plaint de douleurs.",
    "Je revois {}, suivi régulier.\nConclusion : normal.",
    "Compte rendu ({}) transmis au service.",
)


@cache
def engine() -> Anonymizer:
    return Anonymizer(ReportsConfig(language="fr", ner="none"), Keys(bytes(32)))


def left(form: str, frame: str, identity: Identity, others: tuple[Identity, ...] = ()) -> str:
    """Letters and digits of ``form`` that no span covers in the frame."""
    text = frame.format(form)
    start = text.index(form)
    spans = engine().detect(text, engine().known(identity, others=others))
    covered = {index for span in spans for index in range(span.start, span.end)}
    inside = range(start, start + len(form))
    return "".join(text[index] for index in inside if text[index].isalnum() and index not in covered)


def uncommon(name: str) -> bool:
    words = engine().words
    parts = words_of(name)
    return all(part not in words.common and part not in words.particles and part not in words.titles for part in parts)


letters = st.sampled_from("abcdefghijklmnopqrstuvwxyzéèêëàâîïôûüçñö")
names = st.text(letters, min_size=5, max_size=11).map(str.capitalize).filter(uncommon)
doubles = st.tuples(names, names).map("-".join)
frames = st.sampled_from(FRAMES)
examples = settings(max_examples=150, deadline=None)


def plain(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


@examples
@given(names | doubles, names, names, frames)
def test_each_column_in_each_case_and_order(surname: str, birth_name: str, given_name: str, frame: str) -> None:
    identity = Identity(surname=surname, birth_name=birth_name, given_name=given_name)
    for form in (
        surname,
        birth_name,
        given_name,
        surname.upper(),
        plain(surname),
        plain(surname).upper(),
        f"{given_name} {surname}",
        f"{surname.upper()} {given_name}",
        f"{surname}, {given_name}",
        f"{given_name.upper()} {birth_name.upper()}",
        surname.replace("-", " "),
        surname.replace("-", ""),
        surname.replace("-", "-\n"),
        f"{surname}{given_name}",
        f"{surname}_{given_name}",
    ):
        assert left(form, frame, identity) == "", form


def test_two_eponyms_joined_are_a_patient_where_the_column_says_so() -> None:
    for surname in ("Montgomery-Montgomery", "Baker-Montgomery", "Schatzker Montgomery"):
        assert left(surname, FRAMES[0], Identity(surname=surname)) == "", surname
    identity = Identity(surname="Kellgren-Lawrence")
    assert left("Kellgren-Lawrence", "Gonarthrose, {} grade 2.", identity) == "KellgrenLawrence"


@examples
@given(names, names, frames)
def test_hyphen_parts_stand_alone(first: str, second: str, frame: str) -> None:
    identity = Identity(surname=f"{first}-{second}", given_name=f"{second}-{first}")
    assert left(first, frame, identity) == left(second.upper(), frame, identity) == ""


@examples
@given(names, names, frames)
def test_initials(surname: str, given_name: str, frame: str) -> None:
    identity = Identity(surname=surname, given_name=given_name)
    last, first = plain(surname)[0].upper(), plain(given_name)[0].upper()
    assume("M" not in (first, last))  # "M. Vidal" is "monsieur"
    for form in (
        f"{first}.{last}.",
        f"{first}. {last}.",
        f"{last}. {first}.",
        f"{first}. {surname}",
        f"{surname} {first}.",
    ):
        assert left(form, frame, identity) == "", form


@examples
@given(names, letters, st.integers(0, 10), st.sampled_from(["replace", "insert", "delete", "swap"]), frames)
def test_one_typing_error(surname: str, letter: str, place: int, kind: str, frame: str) -> None:
    place = min(place, len(surname) - 2)
    before, at, after = surname[:place], surname[place], surname[place + 1 :]
    form = {
        "replace": before + letter + after,
        "insert": before + letter + at + after,
        "delete": before + after,
        "swap": before + after[0] + at + after[1:],
    }[kind].capitalize()
    assume(len(form) >= 5 and uncommon(form))
    assert left(form, frame, Identity(surname=surname)) == ""
    assert left(form.upper(), frame, Identity(surname=surname)) == ""


@examples
@given(names, st.sampled_from([" ", ".", "-", ". ", " - ", "  "]), st.booleans(), frames)
def test_spelled_with_spaces(surname: str, gap: str, upper: bool, frame: str) -> None:
    form = gap.join(surname.upper() if upper else surname)
    assert left(form, frame, Identity(surname=surname)) == ""


@examples
@given(names, names, names, names, frames)
def test_every_identity_of_the_other_records(
    surname: str, given_name: str, other_surname: str, other_given: str, frame: str
) -> None:
    """A surname before and after a marriage, a phone and a number of an earlier record."""
    own = Identity(patient_id="8001234567", surname=surname, given_name=given_name)
    other = Identity(
        patient_id="8001234567",
        surname=other_surname,
        given_name=f"{given_name}, {other_given}",
        phone="0612345678",
        visit="770099881",
        town="Trifouillis",
        address="3 rue des Myosotis",
    )
    forms = (other_surname, other_given, f"{other_given} {surname}", "06 12 34 56 78", "770099881", "Trifouillis")
    for form in (*forms, "3 rue des Myosotis"):
        assert left(form, frame, own, (other,)) == "", form
    assert left(f"{plain(other_given)[0].upper()}. {plain(other_surname)[0].upper()}.", frame, own, (other,)) == ""


def test_a_common_word_that_is_the_name_is_told_by_its_capital() -> None:
    identity = Identity(surname="Petit", given_name="Rose")
    assert left("Rose Petit", FRAMES[0], identity) == ""
    assert left("M. PETIT", FRAMES[0], identity).lower() in ("", "m")
    text = "Petit épanchement, aspect rose de la muqueuse."
    assert not engine().detect(text, engine().known(identity))
    assert fold("Petit") in engine().words.common


def test_a_given_name_that_is_also_a_word_is_hidden_at_the_start_of_a_sentence() -> None:
    """Of the surname this cannot be said: "Petit épanchement" begins many a sentence."""
    identity = Identity(patient_id="1", surname="Petit", given_name="Marguerite")
    text = "INDICATION\n\nMarguerite, 14 ans. Petit fragment osseux. Une marguerite sur la table."
    hidden = {text[span.start : span.end] for span in engine().find(text, identity)}
    assert hidden == {"Marguerite"}
