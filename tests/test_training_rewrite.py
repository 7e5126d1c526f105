"""Texts made false and texts of the mirror image, in every language pack: grammar, accents, and that they are false."""

from __future__ import annotations

import dataclasses
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus_factory import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.console import Console
from anonymize.labels.miner import miner
from anonymize.labels.row import Value
from anonymize.languages import available, load_pack
from vlp.corpus.augment import AugmentConfig, crop
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.tokenizer import Tokenizer
from vlp.study import Study
from vlp.training.data import DataConfig, StudyBatches
from vlp.training.rewrite import rewritable, rewriter
from vlp.training.texts import TextSampling, key, keys, sample, split_statements, statements, whole

EMPTY = {f.name: "" for f in dataclasses.fields(Study) if f.name not in ("age_months", "images", "labels")}
STUDY = Study(**EMPTY, age_months=None, images=())


def _sentences(language: str) -> list[str]:
    """Every prompt of a pack: sentences as reports have them."""
    prompts = load_pack(language)["prompts"]
    found = [s for sides in prompts["findings"].values() for group in sides.values() for s in group]
    return found + [s for group in prompts["anatomy"].values() for s in group]


LANGUAGES = [code for code in available() if rewriter(code) is not None]
texts_of = {
    code: st.lists(st.sampled_from(_sentences(code)), min_size=1, max_size=4).map("\n".join) for code in LANGUAGES
}
in_any_language = st.sampled_from(LANGUAGES).flatmap(lambda code: st.tuples(st.just(code), texts_of[code]))


def test_every_pack_can_be_rewritten() -> None:
    assert set(available()) == set(LANGUAGES) == {"fr", "en", "es", "de", "it", "nl"}
    assert rewritable(["fr", "", "xx"]) == (["fr"], ["", "xx"])


@pytest.mark.parametrize(
    ("language", "true", "false"),
    [
        ("fr", "Fracture du radius.", "Pas de fracture du radius."),
        ("fr", "Épanchement pleural de moyenne abondance.", "Pas d'épanchement pleural de moyenne abondance."),
        ("fr", "Pas d'épanchement pleural ni de pneumothorax.", "Épanchement pleural et pneumothorax."),
        ("fr", "On ne met pas en évidence de trait de fracture.", "On met en évidence un trait de fracture."),
        ("fr", "On note une fracture de l'ulna.", "On ne note pas de fracture de l'ulna."),
        ("fr", "Absence d'épanchement pleural.", "Présence d'épanchement pleural."),
        ("fr", "Pas d'hydarthrose.", "Hydarthrose."),
        ("fr", "ÉPANCHEMENT PLEURAL", "PAS D'ÉPANCHEMENT PLEURAL"),
        ("fr", "- Pas d'épanchement pleural.", "- Épanchement pleural."),
        ("fr", "Absence de pneumothorax décelable.", "Présence de pneumothorax."),
        (
            "fr",
            "Pas de pneumothorax ni d'épanchement pleural individualisables.",
            "Pneumothorax et épanchement pleural.",
        ),
        ("fr", "2) Épanchement pleural.", "2) Pas d'épanchement pleural."),
        ("fr", "Cœur de taille normale.", "Cœur augmenté de taille."),
        ("fr", "Interligne conservé.", "Interligne pincé."),
        ("en", "There is no pleural effusion or pneumothorax.", "There is a pleural effusion and pneumothorax."),
        ("en", "Fracture of the distal radius.", "No fracture of the distal radius."),
        ("es", "No hay derrame pleural ni infiltrado.", "Hay derrame pleural e infiltrado."),
        ("de", "Keine Fraktur.", "Fraktur."),
        ("de", "Es zeigt sich ein Pleuraerguss.", "Es zeigt sich kein Pleuraerguss."),
        ("it", "Assenza di versamento pleurico.", "Presenza di versamento pleurico."),
        ("nl", "Fractuur van de radius.", "Geen fractuur van de radius."),
    ],
)
def test_negation(language: str, true: str, false: str) -> None:
    rewrite = rewriter(language)
    assert rewrite is not None
    rng = np.random.default_rng(0)
    assert rewrite.false(true, rewrite.facts(true), rng) == false


@pytest.mark.parametrize(
    ("language", "text", "mirrored"),
    [
        ("fr", "Fracture du radius gauche.", "Fracture du radius droit."),
        ("fr", "Radiographie de la main gauche de face.", "Radiographie de la main droite de face."),
        (
            "fr",
            "Fracture de la côte gauche, douleur du côté gauche.",
            "Fracture de la côte droite, douleur du côté droit.",
        ),
        ("fr", "Mains droite et gauche.", "Mains gauche et droite."),
        ("fr", "Épanchement pleural droit de moyenne abondance.", "Épanchement pleural gauche de moyenne abondance."),
        ("fr", "OPACITÉ DE LA BASE GAUCHE", "OPACITÉ DE LA BASE DROITE"),
        ("fr", "À gauche, pas d'épanchement.", "À droite, pas d'épanchement."),
        ("fr", "Poignets gauches.", "Poignets droits."),
        ("fr", "Vue de l'angle droit.", "Vue de l'angle droit."),
        ("fr", "Foyer du lobe moyen.", None),
        ("fr", "Ventricule gauche.", None),
        ("fr", "Genou G de face", None),
        ("fr", "Gauche.", None),
        ("en", "Left-sided effusion, right lung clear.", "Right-sided effusion, left lung clear."),
        ("en", "The hardware was left in place.", "The hardware was left in place."),
        ("es", "Fractura de la muñeca izquierda.", "Fractura de la muñeca derecha."),
        (
            "de",
            "Fraktur des linken Handgelenks, rechts unauffällig.",
            "Fraktur des rechten Handgelenks, links unauffällig.",
        ),
        ("it", "Ginocchio sinistro, base dx.", "Ginocchio destro, base sx."),
        ("nl", "Linker pols, rechts geen fractuur.", "Rechter pols, links geen fractuur."),
    ],
)
def test_sides(language: str, text: str, mirrored: str | None) -> None:
    rewrite = rewriter(language)
    assert rewrite is not None
    assert rewrite.mirror(text) == mirrored


def test_what_may_be_true_is_no_hard_negative() -> None:
    rewrite = rewriter("fr")
    assert rewrite is not None
    rng = np.random.default_rng(0)

    def falses(text: str, report: str) -> set[str]:
        return {rewrite.false(text, rewrite.facts(report), rng) for _ in range(20)}

    # a side that the report also names elsewhere, of which something normal or nothing is said
    assert falses("Opacité à droite.", "Opacité à droite. Opacité à gauche.") == {""}
    assert falses("Poumon droit clair.", "Poumon droit clair.") == {""}
    assert falses("Rien à droite, pas de lésion.", "Rien à droite, pas de lésion.") == {""}
    # a finding that the report has elsewhere, is not sure of, or that is old
    assert falses("Pas de fracture de l'ulna.", "Fracture du radius. Pas de fracture de l'ulna.") == {""}
    assert falses("Fracture possible.", "Fracture possible.") == {""}
    assert falses("Fracture ancienne du radius.", "Fracture ancienne du radius.") == {""}
    both = falses("Fracture du radius gauche.", "Fracture du radius gauche.")
    assert both == {"Pas de fracture du radius gauche.", "Fracture du radius droit."}
    one = falses("Main de face.\nFracture du radius.", "Main de face. Fracture du radius.")
    assert one == {"Main de face.\nPas de fracture du radius."}, "the other statements stay"


def test_a_false_report_does_not_contradict_itself() -> None:
    rewrite = rewriter("fr")
    assert rewrite is not None
    report = "Fracture du radius gauche.\nPas d'hydarthrose.\nConclusion : fracture du radius gauche."
    found = {(c.kind, c.rewriting.label): c for c in rewrite.contraries(report, rewrite.facts(report))}
    assert {key: c.text for key, c in found.items()} == {
        ("negation", "fracture"): "Pas de fracture du radius gauche.\nPas d'hydarthrose.\n"
        "Conclusion : pas de fracture du radius gauche.",
        ("negation", "joint_effusion"): "Fracture du radius gauche.\nHydarthrose.\n"
        "Conclusion : fracture du radius gauche.",
        ("side", ""): "Fracture du radius droit.\nPas d'hydarthrose.\nConclusion : fracture du radius droit.",
    }
    first = found["negation", "fracture"]
    assert (first.statement, first.rewriting.text) == (
        "Fracture du radius gauche.",
        "Pas de fracture du radius gauche.",
    )


@settings(max_examples=150, deadline=None)
@given(in_any_language, st.integers(0, 99))
def test_a_false_text_says_the_contrary_and_loses_no_accent(drawn: tuple[str, str], seed: int) -> None:
    language, report = drawn
    rewrite = rewriter(language)
    assert rewrite is not None
    facts = rewrite.facts(report)
    false = rewrite.false(report, facts, np.random.default_rng(seed))
    if not false:
        return
    assert false != report
    changed = [(a, b) for a, b in zip(statements(report), statements(false), strict=True) if a != b]
    assert changed
    side = {"left": "right", "right": "left"}.get(facts.side)
    in_each: list[set[str]] = []
    for pair in changed:
        before, after = ({m.label: m.value for m in miner(language).mentions(text)} for text in pair)
        turned = {name for name, value in before.items() if {value, after.get(name)} == {Value.PRESENT, Value.ABSENT}}
        in_each.append(turned | {"side"} if rewrite.sides.only(pair[1]) == side else turned)
    assert set.intersection(*in_each), "all that is changed is changed in one thing"
    # nothing is decomposed, and letters with accents come from the text or from the pack
    assert false == unicodedata.normalize("NFC", false)
    assert "�" not in false


@settings(max_examples=150, deadline=None)
@given(in_any_language)
def test_mirrored_twice_is_the_text_again(drawn: tuple[str, str]) -> None:
    language, text = drawn
    rewrite = rewriter(language)
    assert rewrite is not None
    once = rewrite.mirror(text)
    if once is not None:
        assert rewrite.mirror(once) == text
        assert len(split_statements(once)) == len(split_statements(text))


@settings(max_examples=150, deadline=None)
@given(in_any_language, st.sampled_from(["NFC", "NFD"]), st.integers(0, 99))
def test_a_report_survives_sampling_statements_and_keys(drawn: tuple[str, str], form: str, seed: int) -> None:
    language, text = drawn
    report = unicodedata.normalize(form, text)
    parts = statements(report)
    letters = [c for c in report if not c.isspace()]
    assert [c for part in parts for c in part if not c.isspace()] == letters, "no letter, sign or accent is lost"
    study = dataclasses.replace(STUDY, results=report, report=report, language=language)
    drawn_text = sample(study, TextSampling(), np.random.default_rng(seed))
    assert set(statements(drawn_text)) <= set(parts)
    assert [key(part) for part in parts] == [key(part) for part in statements(text)], "either Unicode form is one text"
    said, own = set(keys([drawn_text])[0].tolist()), set(keys([whole(study)])[0].tolist())
    assert said <= own | {0}
    bare = {"".join(c for c in unicodedata.normalize("NFD", p) if not unicodedata.combining(c)) for p in parts}
    if bare != set(unicodedata.normalize("NFD", p) for p in parts):
        assert keys(["\n".join(sorted(bare))])[0].tolist() != keys(["\n".join(sorted(parts))])[0].tolist()


def test_tokens_keep_accents() -> None:
    tokenizer = Tokenizer.train(_sentences("fr"), 1200, 128)
    for text in (*_sentences("fr"), "Cœur à l'étroit, nævus, ŒDÈME; côté ou côte?"):
        ids, mask = tokenizer([text])
        written = tokenizer.decode(ids[0][mask[0].bool()].tolist())
        assert written.replace(" ", "") == text.lower().replace(" ", "")


def test_a_mirrored_study_has_mirrored_images_text_and_keys(tmp_path: Path) -> None:
    corpus = Corpus.open(make_corpus(tmp_path, studies=60, size=32))
    studies = corpus.select(split="train", reported=True)
    # one in four names a side that cannot be swapped
    studies = [
        dataclasses.replace(s, conclusion="Genou G.")
        if i % 4 == 0
        else dataclasses.replace(s, conclusion="Main gauche.")
        for i, s in enumerate(studies)
    ]
    only = TextSampling(results=0, whole=0, sentences=0)
    made = StudyBatches(
        corpus, studies, DataConfig(batch_size=8), only, Square(32), 0, 0, 1, Console("quiet"), flip=0.5, negatives=True
    )
    seen: set[tuple[str, bool]] = set()
    for index in range(6):
        batch = made[index]
        assert batch["mirrored"].shape == batch["study_index"].shape
        for position, text in enumerate(batch["texts"]):
            mirrored = batch["mirrored"][batch["study_index"] == position]
            assert bool(mirrored.all()) == bool(mirrored.any()), "all images of a study"
            seen.add((text, bool(mirrored[0])))
            assert set(keys([text])[0].tolist()) <= set(batch["study_keys"][position].tolist()) | {0}
    assert seen == {("Genou G.", False), ("Main gauche.", False), ("Main droite.", True)}

    images = torch.arange(64.0).view(1, 1, 8, 8).div(64).repeat(2, 1, 1, 1)
    still = AugmentConfig(scale=(1, 1), ratio=1, rotation=0, flip=1.0)
    shown = crop(images, 8, still, torch.tensor([True, False]))
    torch.testing.assert_close(shown[0].flip(-1), shown[1])
    torch.testing.assert_close(shown[1], images[0])
