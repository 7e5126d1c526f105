"""The text tower, its tokenizer, and the shared space."""

from __future__ import annotations

import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.console import UserError
from vlp.encoders.dual import DualConfig, DualEncoder, study_mean
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer

REPORTS = [
    "Épanchement pleural droit.",
    "Pas d'épanchement pleural.",
    "Fracture du radius.",
    "Âge osseux de 12 ans.",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(REPORTS, vocabulary=400, max_length=16)


def test_accents_survive_and_their_form_does_not_matter(tokenizer: Tokenizer) -> None:
    composed, decomposed = "Épanchement", unicodedata.normalize("NFD", "Épanchement")
    assert composed != decomposed
    assert tokenizer([composed])[0].tolist() == tokenizer([decomposed])[0].tolist()
    assert tokenizer(["épanchement"])[0].tolist() != tokenizer(["epanchement"])[0].tolist()
    assert tokenizer.decode(tokenizer(["Épanchement pleural droit."])[0][0].tolist()) == "épanchement pleural droit."
    assert tokenizer.decode(tokenizer(["Âge : 12 ans"])[0][0].tolist()) == "âge : 12 ans"


def test_training_does_not_depend_on_the_order_of_texts(tokenizer: Tokenizer) -> None:
    assert Tokenizer.train(REPORTS[::-1], vocabulary=400, max_length=16).to_json() == tokenizer.to_json()


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_any_text_becomes_ids_within_bounds(tokenizer: Tokenizer, texts: list[str]) -> None:
    ids, mask = tokenizer(texts)
    assert ids.shape == mask.shape
    assert ids.shape[1] <= 16
    assert 0 <= int(ids.min()) <= int(ids.max()) < len(tokenizer)
    assert (ids[mask == 0] == tokenizer.pad_id).all()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_nothing(tokenizer: Tokenizer, pooling: str) -> None:
    torch.manual_seed(0)
    config = TextConfig.model_validate({"width": 32, "layers": 1, "max_length": 16, "pooling": pooling})
    tower = TextEncoder(config, tokenizer).eval()
    alone = tower(["Fracture."])
    padded = tower(["Fracture.", "Pas d'épanchement pleural, pas de fracture du radius."])
    torch.testing.assert_close(alone[0], padded[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(padded[0], padded[1])


def test_a_local_transformers_folder_is_loaded_whole_or_not_at_all(tokenizer: Tokenizer, tmp_path) -> None:
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    model = RobertaModel(RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=40, **ids, **sizes))
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    tower = TextEncoder.from_folder(TextConfig(folder=str(tmp_path), max_length=16)).eval()
    ids, mask = tokenizer(REPORTS[:2])
    wanted = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(tower.tokens(ids, mask), wanted)
    from safetensors.torch import load_file, save_file

    state = load_file(tmp_path / "model.safetensors")
    save_file({f"elsewhere.{k}": v for k, v in state.items()}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="only 0"):
        TextEncoder.from_folder(TextConfig(folder=str(tmp_path), max_length=16))


def test_a_study_is_the_mean_of_its_images(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    text = TextEncoder(TextConfig(width=32, layers=1, max_length=16), tokenizer)
    image = ImageEncoder(ImageConfig(name="vit_atto", image_size=32))
    dual = DualEncoder(image, text, DualConfig(width=8, temperature=0.1)).eval()
    images = torch.randn(3, 1, 32, 32)
    each = dual.encode_images(images)
    studies = dual.encode_studies(images, torch.tensor([0, 1, 0]), 2)
    torch.testing.assert_close(studies[0], torch.nn.functional.normalize((each[0] + each[2]) / 2, dim=0))
    torch.testing.assert_close(studies[1], each[1])
    assert torch.allclose(dual.encode_texts(REPORTS[:4]).norm(dim=1), torch.ones(4))
    assert dual.logit_scale.shape == dual.logit_bias.shape == (1,)
    assert dual.logit_scale.exp().item() == pytest.approx(10.0)
    patches, grid = dual.patch_embeddings(images)
    assert patches.shape == (3, grid[0] * grid[1], 8)
    seen = dual.image.as_pooled(dual.image(images).patches)
    assert torch.allclose(patches, torch.nn.functional.normalize(dual.image_projection(seen), dim=-1))
    assert study_mean(each, torch.tensor([0, 0, 0]), 2)[1].eq(0).all()
