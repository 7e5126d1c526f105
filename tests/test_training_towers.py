"""Towers in `vlp align`: locked, adapted, pooled over studies, long reports, licences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_factory import make_corpus
from safetensors.torch import load_file
from text_model_factory import write_family
from torch import nn

from anonymize.config import validate
from anonymize.console import Console, UserError
from vlp.corpus.dataset import Corpus
from vlp.encoders.adapters import LoraConfig, add_lora, merge_lora
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.pooling import study_attended, study_mean
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.hub import load_dual, save_model
from vlp.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from vlp.tasks.features import batch_of, study_features
from vlp.training.align import AlignConfig, run_align
from vlp.training.texts import keys

TEXTS = ["Fracture du radius.", "Pas d'épanchement.", "Gonarthrose.", "Main normale."]
SETTINGS: dict[str, Any] = {
    "image": {"name": "vit_atto", "image_size": 32, "drop_path": 0.3},
    "text": {"width": 32, "layers": 1, "vocabulary": 400, "max_length": 32},
    "dual": {"width": 32},
    "data": {"batch_size": 16},
    "steps": 6,
    "log_every": 3,
    "validation": 8,
    "tensorboard": False,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), studies=80, size=32)


@pytest.fixture(scope="module")
def camembert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family("camembert", tmp_path_factory.mktemp("camembert"))


def dual(**settings: Any) -> DualEncoder:
    torch.manual_seed(0)
    image = ImageEncoder(ImageConfig(name="vit_atto", image_size=32, drop_path=0.5))
    text = TextEncoder(TextConfig(width=32, layers=1, max_length=16, dropout=0.5), Tokenizer.train(TEXTS * 3, 300, 16))
    return DualEncoder(image, text, DualConfig(width=16, **settings))


def batch() -> dict[str, Any]:
    images = torch.randint(0, 256, (5, 1, 36, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    said = keys(TEXTS)
    return {
        "images": images,
        "study_index": torch.tensor([0, 1, 1, 2, 3]),
        "texts": TEXTS,
        "study_keys": said,
        "text_keys": said,
    }


@pytest.mark.parametrize("chunk", [0, 2])
def test_locked_towers_stay_in_evaluation_and_keep_no_activations(chunk: int) -> None:
    config = ContrastiveConfig(image_lr_scale=0, text_lr_scale=0, chunk=chunk)
    objective = ContrastiveObjective(dual(), config, 4)
    objective.train()
    towers = (objective.dual.image, objective.dual.text.backbone)
    assert not any(module.training for tower in towers for module in tower.modules())
    assert objective.training
    assert objective.dual.image_projection.training
    runs: list[bool] = []  # of the tower: with gradients or not
    objective.dual.image.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    loss, _ = objective(batch(), 0)
    loss.backward()
    assert runs == [False] * (3 if chunk else 1)  # no second run in the backward pass
    trained = {name for name, p in objective.named_parameters() if p.grad is not None}
    assert trained == {"dual.image_projection.weight", "dual.text_projection.weight", "dual.logit_scale"}


def test_slices_with_a_locked_tower_change_nothing() -> None:
    found = []
    for chunk in (0, 2):
        settings = {"scale": (1.0, 1.0), "flip": 0.0}
        config = ContrastiveConfig.model_validate({"image_lr_scale": 0, "chunk": chunk, "augment": settings})
        objective = ContrastiveObjective(dual(), config, 4).eval()
        loss, _ = objective(batch(), 0)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in objective.parameters() if p.grad is not None)])
    for whole, sliced in zip(*found, strict=True):
        torch.testing.assert_close(sliced, whole, rtol=1e-4, atol=1e-6)


def test_attention_over_a_study_starts_as_the_mean_and_spares_single_images() -> None:
    rows, index = torch.randn(6, 16), torch.tensor([0, 2, 0, 2, 2, 1])
    scores = torch.tensor([0.3, 50.0, -2.0, 49.0, -400.0, 7.0])
    found = study_attended(rows, scores, index, 4)
    for study in range(4):
        own = index == study
        wanted = (scores[own].softmax(0)[:, None] * rows[own]).sum(0)
        torch.testing.assert_close(found[study], wanted)
    torch.testing.assert_close(study_attended(rows, torch.zeros(6), index, 4), study_mean(rows, index, 4))
    mean, attended = dual(), dual(study_pooling="attention")
    attended.load_state_dict(mean.state_dict(), strict=False)
    torch.testing.assert_close(attended.pool_studies(rows, index, 4), mean.pool_studies(rows, index, 4))
    assert attended.study_attention is not None
    nn.init.normal_(attended.study_attention.score.weight, std=3)
    moved, plain = attended.pool_studies(rows, index, 4), mean.pool_studies(rows, index, 4)
    torch.testing.assert_close(moved[1], plain[1])
    torch.testing.assert_close(moved[3], torch.zeros(16))
    assert not torch.allclose(moved[0], plain[0], atol=1e-3)


def test_a_study_is_pooled_alike_in_training_and_in_evaluation(corpus: Path, tmp_path: Path) -> None:
    values = {
        **SETTINGS,
        "dual": {"width": 32, "study_pooling": "attention"},
        "lr": 0.001,
    }  # images of a study stay apart
    run_align(validate(AlignConfig, values), corpus, tmp_path, None, Console("quiet"))
    model = load_dual(tmp_path)
    assert model.study_attention is not None
    assert model.study_attention.score.weight.abs().max() > 0
    nn.init.normal_(model.study_attention.score.weight, std=30)  # six steps have hardly begun
    data = Corpus.open(corpus)
    studies = [s for s in data.select(split="train") if len(s.images) > 1][:4]
    assert studies
    found = study_features(model.image, model, data, studies, Console("quiet")).embedding
    images, index = batch_of(data, studies, model.image)
    with torch.no_grad():
        wanted = model.encode_studies(images, index, len(studies))
        plain = nn.functional.normalize(study_mean(model.encode_images(images), index, len(studies)), dim=-1)
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(wanted, plain, atol=1e-5)


def test_an_alignment_goes_on_with_both_towers(corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run_align(validate(AlignConfig, {**SETTINGS, "lr": 0.01}), corpus, first, None, Console("quiet"))
    still = {**SETTINGS, "both_towers": True, "lr": 1e-12, "weight_decay": 0.0}
    summary = run_align(validate(AlignConfig, still), corpus, second, first, Console("quiet"))
    assert summary["started_from"] == "both towers"
    before, after = load_dual(first), load_dual(second)
    assert before.text.tokenizer.to_json() == after.text.tokenizer.to_json()
    for (name, one), (other, two) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(one, two, rtol=0, atol=1e-8)
    with pytest.raises(UserError, match="needs --encoder"):
        run_align(validate(AlignConfig, still), corpus, tmp_path / "third", None, Console("quiet"))
    folder = {**still, "text": {"folder": str(tmp_path)}}
    with pytest.raises(UserError, match=r"leave text\.folder out"):
        run_align(validate(AlignConfig, folder), corpus, tmp_path / "fourth", first, Console("quiet"))


def test_lora_is_refused_where_the_library_or_the_layers_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match="pip install"):
        add_lora(nn.Linear(2, 2), LoraConfig(rank=2), "text")
    assert merge_lora(nn.Linear(2, 2)) == 0


def test_lora_trains_little_and_what_is_saved_is_a_plain_model(corpus: Path, camembert: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    text = {"folder": str(camembert), "max_length": 64}
    values = {**SETTINGS, "text": text, "lora": {"rank": 2, "towers": ["text", "image"]}, "lr": 0.01}
    run_align(validate(AlignConfig, values), corpus, tmp_path, None, Console("quiet"))
    found = load_dual(tmp_path)  # every tensor there, none beyond: load_dual checks the first
    names = set(load_file(tmp_path / "model.safetensors"))
    assert names == set(found.state_dict())
    before = TextEncoder.from_folder(TextConfig.model_validate(text)).state_dict()
    after = found.text.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith("weight") and before[name].ndim == 2 for name in changed)
    assert not any("embeddings" in name for name in changed)
    for name in changed:  # what was added has rank 2
        assert int(torch.linalg.matrix_rank(after[name] - before[name], atol=1e-6)) <= 2
    wrong = validate(AlignConfig, {**values, "contrastive": {"text_lr_scale": 0}})
    with pytest.raises(UserError, match="locks the text tower"):
        run_align(wrong, corpus, tmp_path / "other", None, Console("quiet"))
    with pytest.raises(UserError, match="no linear layer"):
        add_lora(ImageEncoder(ImageConfig(name="conv_pico")).backbone, LoraConfig(rank=2), "image")


def test_lora_answers_as_the_tower_did_until_it_is_trained(camembert: Path) -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    tower = TextEncoder.from_folder(TextConfig(folder=str(camembert), max_length=32)).eval()
    before, names = tower(TEXTS), set(tower.state_dict())
    add_lora(tower.backbone, LoraConfig(rank=2), "text")
    torch.testing.assert_close(tower.eval()(TEXTS), before)
    trainable = sum(p.numel() for p in tower.parameters() if p.requires_grad)
    assert 0 < trainable < 0.2 * sum(p.numel() for p in tower.parameters())
    for name, parameter in tower.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    adapted = tower(TEXTS)
    assert not torch.allclose(adapted, before, atol=1e-2)
    assert merge_lora(tower) > 0
    assert set(tower.state_dict()) == names
    torch.testing.assert_close(tower(TEXTS), adapted, rtol=1e-4, atol=1e-4)


def test_reports_that_are_cut_are_counted_and_windows_read_them(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {**SETTINGS, "text": {**SETTINGS["text"], "max_length": 12, "overlap": 4}}
    summary = run_align(validate(AlignConfig, short), corpus, tmp_path / "cut", None, Console("pretty"))
    assert 0 < summary["reports_cut"] <= summary["training_studies"]
    assert json.loads((tmp_path / "cut" / "summary.json").read_text())["reports_cut"] == summary["reports_cut"]
    assert "longer than 12 tokens" in " ".join("".join(capsys.readouterr()).split())
    windowed = {**short, "text": {**short["text"], "windows": 40}}
    summary = run_align(validate(AlignConfig, windowed), corpus, tmp_path / "whole", None, Console("quiet"))
    assert summary["reports_cut"] == 0
    assert load_dual(tmp_path / "whole").text.tokenizer.max_length == 12 + 39 * 6


def test_non_commercial_weights_need_a_word_and_stay_so(corpus: Path, camembert: Path, tmp_path: Path) -> None:
    head = "---\nlicense: cc-by-nc-4.0\n---\n# A model\n"
    (camembert / "README.md").write_text(head, encoding="utf-8")
    values = {**SETTINGS, "text": {"folder": str(camembert), "max_length": 64}, "licence": "apache-2.0"}
    with pytest.raises(UserError, match=r"cc-by-nc-4\.0.*--allow-non-commercial"):
        run_align(validate(AlignConfig, values), corpus, tmp_path / "no", None, Console("quiet"))
    allowed = validate(AlignConfig, {**values, "allow_non_commercial": True})
    run_align(allowed, corpus, tmp_path / "yes", None, Console("quiet"))
    assert json.loads((tmp_path / "yes" / "config.json").read_text())["licence"] == "cc-by-nc-4.0"
    assert "license: cc-by-nc-4.0" in (tmp_path / "yes" / "README.md").read_text()
    with pytest.raises(UserError, match="--encoder"):  # and so does what is trained from it
        run_align(validate(AlignConfig, SETTINGS), corpus, tmp_path / "next", tmp_path / "yes", Console("quiet"))


def test_attention_over_tokens_is_trained_beside_a_locked_tower(corpus: Path, camembert: Path, tmp_path: Path) -> None:
    (camembert / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    text = {"folder": str(camembert), "max_length": 64, "pooling": "attention"}
    values = {**SETTINGS, "text": text, "contrastive": {"text_lr_scale": 0}, "lr": 0.01}
    run_align(validate(AlignConfig, values), corpus, tmp_path, None, Console("quiet"))
    found = load_dual(tmp_path)
    assert found.text.attention is not None
    assert found.text.attention.score.weight.abs().max() > 0
    before = TextEncoder.from_folder(TextConfig(folder=str(camembert), max_length=64)).backbone.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in found.text.backbone.state_dict().items())
    assert json.loads((tmp_path / "config.json").read_text())["licence"] == "mit"


def test_a_saved_tower_of_a_folder_comes_back(camembert: Path, tmp_path: Path) -> None:
    text = TextEncoder.from_folder(TextConfig(folder=str(camembert), max_length=24, windows=3, overlap=8))
    model = DualEncoder(ImageEncoder(ImageConfig(name="vit_atto", image_size=32)), text, DualConfig(width=16)).eval()
    save_model(tmp_path, model, {})
    texts = [" ".join(TEXTS * 4), TEXTS[0]]
    torch.testing.assert_close(load_dual(tmp_path).encode_texts(texts), model.encode_texts(texts), rtol=0, atol=1e-6)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["size"] == {"height": 32, "width": 32}


def test_terms_that_read_patches_want_all_of_them() -> None:
    towers = dual()
    towers.image.config = towers.image.config.model_copy(update={"patch_dropout": 0.5})
    for term in ("local", "captioning"):
        with pytest.raises(UserError, match=r"image\.patch_dropout"):
            ContrastiveObjective(towers, ContrastiveConfig(**{term: 1.0}), 4)
