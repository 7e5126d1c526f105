from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.config import ConfigError
from vlp.corpus.labels import labeler
from vlp.tasks.task import task_by_name
from vlp.tasks.zero_shot import prompts_of

PRESENT, ABSENT, UNSURE = 1.0, 0.0, 0.5
CASES = [
    ("fr", "Pas de fracture. Épanchement pleural droit.", {"fracture": ABSENT, "effusion": PRESENT}),
    (
        "fr",
        "Absence de pneumothorax, d'épanchement ou de condensation.",
        {"pneumothorax": 0, "effusion": 0, "consolidation": 0},
    ),
    ("fr", "Fracture non déplacée du radius distal, de 3.5 mm.", {"fracture": PRESENT}),
    ("fr", "Doute sur un trait de fracture. Cœur de taille normale.", {"fracture": UNSURE, "cardiomegaly": ABSENT}),
    ("fr", "CULS-DE-SAC LIBRES. PAS DE FOYER PULMONAIRE.", {"effusion": ABSENT, "consolidation": ABSENT}),
    ("fr", "Sans fracture visible mais épanchement pleural.", {"fracture": ABSENT, "effusion": PRESENT}),
    ("fr", "Fracture en voie de consolidation, plâtre en place.", {"fracture": PRESENT, "cast": PRESENT}),
    ("fr", "Épanchement intra-articulaire du coude.", {}),
    (
        "fr",
        "Gonarthrose stade III de Kellgren et Lawrence avec pincement.",
        {"osteoarthritis": 1, "joint_space_narrowing": 1, "kl_grade": 3},
    ),
    ("fr", "On ne peut exclure une fracture.", {"fracture": UNSURE}),
    ("fr", "Séquelle de fracture ancienne du radius. Pas de lésion récente.", {}),
    ("en", "No fracture. Small left pleural effusion cannot be excluded.", {"fracture": ABSENT, "effusion": UNSURE}),
    ("en", "Heart size normal; lungs are clear.", {"cardiomegaly": ABSENT, "consolidation": ABSENT}),
    ("de", "Kein Nachweis einer Fraktur. Pleuraerguss rechts.", {"fracture": ABSENT, "effusion": PRESENT}),
    ("de", "Herz nicht vergrößert. V.a. Pneumonie links.", {"cardiomegaly": ABSENT, "consolidation": UNSURE}),
    ("es", "Sin fracturas. Derrame pleural izquierdo.", {"fracture": ABSENT, "effusion": PRESENT}),
    ("es", "No se observa neumotórax ni condensación.", {"pneumothorax": ABSENT, "consolidation": ABSENT}),
]


@pytest.mark.parametrize(("language", "text", "wanted"), CASES)
def test_reports_in_four_languages(language: str, text: str, wanted: dict[str, float]) -> None:
    assert labeler(language).labels(text) == wanted


@given(st.sampled_from([c for c in CASES if c[0] == "fr"]), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_case_and_unicode_form_do_not_matter(case: tuple[str, str, dict[str, float]], upper: bool, split: bool) -> None:
    text = case[1].upper() if upper else case[1]
    text = unicodedata.normalize("NFD" if split else "NFC", text)
    assert labeler("fr").labels(text) == case[2]


@pytest.mark.parametrize("language", ["fr", "en", "es", "de"])
def test_the_labeler_and_the_zero_shot_prompts_agree(language: str) -> None:
    """Two engineers' word lists of the same findings: each prompt must read as the class that it stands for."""
    for task in [
        task_by_name(name) for name in ("fracture", "effusion", "consolidation", "cardiomegaly", "pneumothorax")
    ]:
        negative, positive = prompts_of(language, task)
        for wanted, prompts in ((ABSENT, negative), (PRESENT, positive)):
            for prompt in prompts:
                assert labeler(language).labels(prompt).get(task.label) == wanted, prompt
    grades = prompts_of(language, task_by_name("osteoarthritis"))
    for grade, prompts in enumerate(grades):
        for prompt in prompts:
            assert labeler(language).labels(prompt).get("kl_grade", grade) == grade, prompt


def test_all_languages_name_the_same_findings() -> None:
    names = {language: set(labeler(language).findings) for language in ("fr", "en", "es", "de")}
    assert all(found == names["fr"] for found in names.values())


def test_unknown_language_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="no language pack"):
        labeler("xx")
