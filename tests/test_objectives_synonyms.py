"""The loss of SapBERT against a slow reference over all triplets, its batches, its split, and that it learns."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize
from typer.testing import CliRunner

from anonymize.config import validate
from anonymize.console import Console, UserError
from vlp.cli import app
from vlp.corpus.term_files import Term
from vlp.corpus.terminology import TermConfig, name_key, read_terminology
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.objectives.synonyms import SynonymConfig, multi_similarity
from vlp.tasks.retrieval import retrieval_ranks
from vlp.tasks.synonyms import SynonymsConfig, run_synonyms
from vlp.training.synonyms import SynonymBatches, split_synonyms

QUIET = Console("quiet")
TINY = {
    "steps": 40,
    "batch_size": 16,
    "text": {"width": 32, "layers": 1, "vocabulary": 600, "max_length": 24},
    "tensorboard": False,
    "device": "cpu",
    "resamples": 100,
}


def slow_reference(names: Tensor, concepts: list[int], forms: list[int], config: SynonymConfig) -> float:
    """Every triplet in turn, then the loss of each anchor over the pairs that a hard triplet holds."""
    count = len(names)
    hard: set[tuple[int, int]] = set()
    for a, p, n in itertools.product(range(count), repeat=3):
        if len({forms[a], forms[p]}) < 2 or len({forms[a], forms[n]}) < 2:
            continue
        if concepts[a] != concepts[p] or concepts[a] == concepts[n]:
            continue
        near, far = (math.dist(names[a].tolist(), names[x].tolist()) for x in (p, n))
        if config.margin is None or far - near <= config.margin:
            hard |= {(a, p), (a, n)}
    total = 0.0
    for a in range(count):
        pulled, pushed = 0.0, 0.0
        for b in range(count):
            if (a, b) in hard:
                cosine = float(names[a] @ names[b])
                if concepts[a] == concepts[b]:
                    pulled += math.exp(-config.alpha * (cosine - config.base))
                else:
                    pushed += math.exp(config.beta * (cosine - config.base))
        total += math.log(1 + pulled) / config.alpha + math.log(1 + pushed) / config.beta
    return total / count


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999), margin=st.sampled_from([0.2, 0.0, None]))
def test_the_loss_equals_a_slow_reference(data: st.DataObject, seed: int, margin: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    count = data.draw(st.integers(1, 9))
    concepts = [data.draw(st.integers(1, 4)) for _ in range(count)]
    forms = [data.draw(st.integers(1, 7)) for _ in range(count)]
    names = normalize(torch.randn(count, 4, generator=generator).double(), dim=-1)
    config = SynonymConfig(alpha=1.5, beta=12.0, margin=margin)
    for elements in (2**22, 1):
        loss, mined = multi_similarity(names, torch.tensor(concepts), torch.tensor(forms), config, elements)
        assert loss.item() == pytest.approx(slow_reference(names, concepts, forms, config), abs=1e-9)
    assert mined.shape == (count,)


def test_blocks_give_the_same_gradient() -> None:
    start = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)).double()
    concepts, forms = torch.arange(6).repeat(2), torch.arange(12)
    gradients = []
    for elements in (2**22, 24):
        rows = start.clone().requires_grad_()
        multi_similarity(normalize(rows, dim=-1), concepts, forms, SynonymConfig(), elements)[0].backward()
        assert rows.grad is not None
        gradients.append(rows.grad)
    assert torch.allclose(*gradients, atol=1e-12)
    assert gradients[0].abs().max() > 1e-3


def test_a_homonym_is_neither_positive_nor_negative() -> None:
    names = normalize(torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.9, 0.3], [0.0, 1.0]]).double(), dim=-1)
    concepts = torch.tensor([1, 1, 2, 3])
    with_homonym, _ = multi_similarity(names, concepts, torch.tensor([1, 2, 1, 4]))
    without, _ = multi_similarity(names, concepts, torch.tensor([1, 2, 3, 4]))
    assert with_homonym < without


GROUPS = {
    f"c{number}": [Term(f"c{number}", f"nom {number} {letter}", "fr") for letter in "abc"[: 1 + number % 3]]
    for number in range(60)
}


def test_batches_are_a_pure_function_of_the_index_and_partition_over_ranks() -> None:
    training = {concept: terms for concept, terms in GROUPS.items() if len(terms) > 1}
    one = SynonymBatches(training, 8, 0, 0, 1)
    again = SynonymBatches(training, 8, 0, 0, 1)
    for index in (0, 7, 3):
        whole, repeat = one[index], again[index]
        assert whole["texts"] == repeat["texts"]
        assert torch.equal(whole["concepts"], repeat["concepts"])
        parts = [SynonymBatches(training, 8, 0, me, 2)[index] for me in range(2)]
        assert sorted(whole["texts"]) == sorted(parts[0]["texts"] + parts[1]["texts"])
        assert len(set(whole["ids"])) == 8
        assert all(whole["texts"][i] != whole["texts"][i + 8] for i in range(8))
        assert torch.equal(whole["concepts"][:8], whole["concepts"][8:])
    seen = {concept for index in range(len(training) // 8) for concept in one[index]["ids"]}
    assert len(seen) == len(training) // 8 * 8
    with pytest.raises(UserError, match="batch_size=100"):
        SynonymBatches(training, 100, 0, 0, 1)


def test_kept_out_names_are_in_no_training_and_read_like_no_candidate() -> None:
    groups = read_terminology(["fr", "en"], TermConfig(), QUIET).by_concept()
    split = split_synonyms(groups, 0.4, 0.2, seed=1)
    trained = {name_key(t.text) for terms in split.training.values() for t in terms}
    offered = {name_key(t.text) for t in split.candidates}
    assert len(split.names) > 30
    assert len(split.concepts) > 10
    for term in (*split.names, *split.concepts):
        assert name_key(term.text) not in trained | offered
        assert any(t.concept == term.concept for t in split.candidates)
    assert not {t.concept for t in split.concepts} & set(split.training)
    assert {t.concept for t in split.names} <= set(split.training)
    assert all(len({name_key(t.text) for t in terms}) > 1 for terms in split.training.values())
    other = {k: v for k, v in groups.items() if k != "pack:fracture"}
    kept = {t for t in split.names if t.concept != "pack:fracture"}
    assert kept == set(split_synonyms(other, 0.4, 0.2, seed=1).names)  # a file more or less moves nobody


def test_ranks_among_other_candidates() -> None:
    queries = np.array([[1.0, 0.0], [0.0, 1.0]])
    candidates = np.array([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6]])
    assert retrieval_ranks(queries, candidates, ["a", "b"], ["b", "a", "a"]).tolist() == [1, 1]
    assert retrieval_ranks(queries, candidates, ["b", "a"], ["b", "a", "a"]).tolist() == [3, 2]


def test_the_command_learns_resumes_and_its_folder_is_a_text_tower(tmp_path: Path) -> None:
    config = validate(SynonymsConfig, {**TINY, "steps": 60, "held_names": 0.4})
    summary = run_synonyms(config, ["fr"], tmp_path, QUIET)
    assert summary["last_loss"] < 0.8 * summary["first_loss"]
    values = {(r["model"], r["split"], r["metric"]): r for r in summary["found"]}
    assert {model for model, _, _ in values} == {"before", "after", "character n-grams"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in values.values())
    assert values["after", "held-out names", "recall_at_1"]["n"] == summary["held_out_names"] > 20
    tower = TextEncoder.from_folder(TextConfig(folder=str(tmp_path), max_length=24))
    again = run_synonyms(config, ["fr"], tmp_path, QUIET)  # a finished run trains no more and measures the same
    assert again["resumed_from"] == 60
    assert [r for r in again["found"] if r["model"] == "after"] == [
        r for r in summary["found"] if r["model"] == "after"
    ]
    tower.eval()
    split = split_synonyms(read_terminology(["fr"], TermConfig(), QUIET).by_concept(), 0.4, 0.1, seed=0)
    pairs = [terms[:2] for terms in split.training.values()]
    with torch.no_grad():
        first, second = (normalize(tower([pair[side].text for pair in pairs]), dim=-1) for side in (0, 1))
    cosine = first @ second.t()
    others = cosine[~torch.eye(len(cosine), dtype=torch.bool)]
    assert cosine.diagonal().mean() > others.mean() + 0.3  # on training pairs: the folder holds what was trained


def test_the_command_line(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["synonyms", "--out", str(tmp_path)]).exit_code == 2
    both = ["synonyms", "--terms", "fr", "--text", "a", "--model", "b", "--out", str(tmp_path)]
    assert runner.invoke(app, both).exit_code == 2
    small = ["steps=2", "batch_size=8", "text.width=16", "text.layers=1", "device=cpu", "resamples=100"]
    done = runner.invoke(app, ["synonyms", "--terms", "nl", "--out", str(tmp_path / "nl"), "--json", *small])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["training_concepts"] > 30
    assert (tmp_path / "nl" / "config.json").is_file()
