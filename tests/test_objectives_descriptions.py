"""Descriptions of findings: the loss against a slow reference, what labels say, the packs' sentences, the prompts."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_factory import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_stages import ALIGN
from torch import Tensor
from torch.nn.functional import normalize

from anonymize.config import ConfigError, validate
from anonymize.console import Console, UserError
from anonymize.languages import FOLDER, Pack, available, load_pack
from anonymize.languages.check import check_pack
from anonymize.text import fold, words_of
from vlp.corpus.dataset import Corpus
from vlp.corpus.labels import labeler
from vlp.objectives.descriptions import FACETS, Described, FacetProjection, description_loss, own_part
from vlp.study import LABELS
from vlp.tasks.evaluate import EvaluateConfig, run_evaluate
from vlp.tasks.task import task_by_name
from vlp.tasks.zero_shot import prompts_of
from vlp.training.align import AlignConfig, run_align
from vlp.training.descriptions import FINDINGS, Descriptions, described_findings, known_findings

QUIET = Console("quiet")


@torch.no_grad()
def slow_reference(studies: Tensor, texts: Tensor, heads: FacetProjection, known: Described, scale: float) -> float:
    """Row by row: each study against the findings of each facet, each description against the studies."""
    findings, facets = known.written.shape
    told = texts.view(findings, facets, -1)
    sides: list[list[float]] = [[], []]

    def cosine(study: int, finding: int, facet: int) -> float:
        a = studies[study] + studies[study] @ heads.image[facet]
        b = told[finding, facet] + told[finding, facet] @ heads.text[facet]
        return float(normalize(a, dim=0) @ normalize(b, dim=0))

    def status(study: int, finding: int, facet: int) -> int:
        value = int(known.findings[study, finding])
        if value < 0 or not known.written[finding, facet]:
            return -1
        return 1 - value if FACETS[facet] == "negative" else value

    def row(cells: list[tuple[int, int, int]], into: list[float]) -> None:
        cells = [cell for cell in cells if status(*cell) >= 0]
        right = [cell for cell in cells if status(*cell) == 1]
        if right and len(right) < len(cells):
            total = math.log(sum(math.exp(scale * cosine(*cell)) for cell in cells))
            into.append(-sum(scale * cosine(*cell) - total for cell in right) / len(right))

    for facet in range(facets):
        for study in range(len(studies)):
            row([(study, finding, facet) for finding in range(findings)], sides[0])
        for finding in range(findings):
            row([(study, finding, facet) for study in range(len(studies))], sides[1])
    return sum(sum(side) / len(side) if side else 0.0 for side in sides) / 2


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999))
def test_the_loss_equals_a_slow_reference(data: st.DataObject, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, findings = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    values = [[data.draw(st.integers(-1, 1)) for _ in range(findings)] for _ in range(count)]
    written = torch.rand(findings, len(FACETS), generator=generator) < 0.8
    heads = FacetProjection(4, len(FACETS)).double()
    for parameter in heads.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator).double()
    studies = normalize(torch.randn(count, 4, generator=generator).double(), dim=-1)
    texts = normalize(torch.randn(findings * len(FACETS), 4, generator=generator).double(), dim=-1)
    known = Described(torch.tensor(values), written)
    found = description_loss(studies, texts, heads, known, torch.tensor([6.0]).double())
    assert torch.isfinite(found)
    assert found.item() == pytest.approx(slow_reference(studies, texts, heads, known, 6.0), abs=1e-9)


def test_unknown_is_no_negative() -> None:
    texts = normalize(torch.randn(3 * len(FACETS), 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    heads, scale = FacetProjection(4, len(FACETS)), torch.tensor([5.0])
    gradients = []
    for third in (-1, 0):
        studies = normalize(torch.ones(1, 4), dim=-1).requires_grad_()
        told = texts.clone().requires_grad_()
        known = Described(torch.tensor([[1, 0, third]]), torch.ones(3, len(FACETS), dtype=torch.bool))
        description_loss(studies, told, heads, known, scale).backward()
        assert told.grad is not None
        gradients.append(told.grad[2 * len(FACETS) :].abs().max().item())
    assert gradients[0] == 0
    assert gradients[1] > 1e-3


def test_the_heads_begin_as_the_shared_space() -> None:
    rows = normalize(torch.randn(3, 4), dim=-1)
    heads = FacetProjection(4, 2)
    assert torch.allclose(heads.images(rows)[:, 1], rows, atol=1e-6)
    assert torch.allclose(heads.texts(rows.unsqueeze(1).expand(-1, 2, -1))[:, 0], rows, atol=1e-6)
    assert own_part(["a", "b", "c"]) == ["a", "b", "c"]


def test_what_labels_say_of_findings() -> None:
    assert set(FINDINGS) <= set(LABELS)
    assert set(LABELS) - set(FINDINGS) == {"kl_right", "kl_left", "bone_age_months"}
    place = FINDINGS.index
    row = known_findings({"fracture": 1.0, "cast": 0.0, "effusion": 0.5})
    assert (row[place("fracture")], row[place("cast")], row[place("effusion")], row[place("scoliosis")]) == (
        1,
        0,
        -1,
        -1,
    )
    grades = [known_findings({"kl_grade": float(g)})[place("kl_grade")] for g in range(5)]
    assert grades == [0, -1, 1, 1, 1]
    assert known_findings({"kl_right": 0.0, "kl_left": 3.0})[place("kl_grade")] == 1
    assert known_findings({})[place("kl_grade")] == -1


@pytest.mark.parametrize("code", available())
def test_every_sentence_says_its_finding_and_no_other_and_no_side(code: str) -> None:
    """The label miner reads each sentence, as it reads reports."""
    read = labeler(code).labels
    words = load_pack(code)["anatomy"]["laterality"]
    sides = {fold(str(word)) for key in "RL" for word in words[key] if len(str(word)) > 2}
    found = described_findings(code)
    assert set(found) == set(FINDINGS)
    signs = {"joint_space_narrowing", "osteophyte"}  # of osteoarthritis
    for finding, facets in found.items():
        needed = set(FACETS) - (set() if code in ("fr", "en") else {"cause"})
        assert needed <= {facet for facet, sentences in facets.items() if sentences}, finding
        for facet, sentences in facets.items():
            for sentence in sentences:
                assert not set(words_of(sentence)) & sides, sentence
                if finding == "abnormal":  # no finding of the miner
                    continue
                name = "osteoarthritis" if finding == "kl_grade" else finding
                labels = read(sentence)
                assert labels.get(name) == (0.0 if facet == "negative" else 1.0), sentence
                assert {k for k, v in labels.items() if v == 1.0} - {name} - signs == set(), sentence


def test_a_missing_facet_is_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER / "nl", tmp_path / "xx", ignore=shutil.ignore_patterns("ner", "*.gz")))
    file = folder / "descriptions.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('    density: ["Fractuurlijn', '    tint: ["Fractuurlijn', 1), encoding="utf-8")
    lacks = [lack for lack in check_pack(Pack("xx", folder)).lacks if lack.capability == "descriptions"]
    assert any("findings.fracture.density" in lack.what and lack.level == "error" for lack in lacks)
    names = folder / "synonyms.yaml"
    names.write_text(
        names.read_text(encoding="utf-8").replace("[scoliose,", "[Fractuur, scoliose,", 1), encoding="utf-8"
    )
    lacks = [lack for lack in check_pack(Pack("xx", folder)).lacks if lack.capability == "synonyms"]
    assert any("'Fractuur' stands for 'fracture' and 'scoliosis'" in lack.what for lack in lacks)


def test_prompts_from_descriptions() -> None:
    negative, positive = prompts_of("fr", task_by_name("pneumothorax"), "descriptions")
    assert "Pas de pneumothorax, poumons à la paroi." in negative
    assert len(positive) >= 8
    assert prompts_of("fr", task_by_name("osteoarthritis"), "descriptions") == prompts_of(
        "fr", task_by_name("osteoarthritis")
    )
    with pytest.raises(ConfigError, match="no language pack"):
        prompts_of("zz", task_by_name("fracture"), "descriptions")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), studies=80, size=32)


def test_draws_are_a_pure_function_of_the_index(corpus: Path) -> None:
    studies = Corpus.open(corpus).select(split="train", reported=True)
    one, again = Descriptions.of(studies, 3), Descriptions.of(studies, 3)
    assert [one.texts(i) for i in (4, 0)] == [again.texts(i) for i in (4, 0)]
    assert one.texts(4) != one.texts(5)
    assert set(one.languages) == {"fr"}
    batch = one.batch(0, studies[:6])
    assert batch["findings"].shape == (6, len(FINDINGS))
    assert batch["written"].all()
    with pytest.raises(UserError, match="needs labels"):
        Descriptions.of([], 0)


def test_align_learns_with_descriptions_and_evaluate_asks_with_them(corpus: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {**ALIGN, "contrastive": {"descriptions": 1.0, "chunk": 8}, "log_every": 10}
    summary = run_align(validate(AlignConfig, values), corpus, tmp_path / "align", None, QUIET)
    assert summary["logs"]["descriptions"] < 1.5
    assert summary["last_loss"] < 0.9 * summary["first_loss"]
    # the saved model has no heads, and both kinds of prompts can be asked
    found = {}
    for prompts in ("pack", "descriptions"):
        config = validate(
            EvaluateConfig,
            {
                "tasks": ["fracture", "effusion"],
                "protocols": ["zero-shot"],
                "prompts": prompts,
                "minimum_test": 2,
                "attention_maps": 0,
                "resamples": 100,
            },
        )
        rows = run_evaluate(config, corpus, [tmp_path / "align"], tmp_path / prompts, QUIET)["results"]
        found[prompts] = [row for row in rows if row["metric"] == "auroc"]
    assert [row["task"] for row in found["descriptions"]] == [row["task"] for row in found["pack"]]
    assert all(0 <= row["value"] <= 1 for row in found["descriptions"])
