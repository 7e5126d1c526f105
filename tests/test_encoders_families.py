"""Text towers of every family that a hospital is likely to bring, loaded from a folder."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import torch
from text_model_factory import FAMILIES, REPORTS, word_pieces, write_family, write_sentence_transformer
from transformers import AutoModel, AutoTokenizer

from anonymize.console import UserError
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer

TEXTS = [REPORTS[1], "Fracture du radius gauche."]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: write_family(family, root / family) for family in FAMILIES}


def tower(folder: Path, **settings: object) -> TextEncoder:
    return TextEncoder.from_folder(
        TextConfig.model_validate({"folder": str(folder), "max_length": 64, **settings})
    ).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_transformers(folders: dict[str, Path], family: str) -> None:
    found = tower(folders[family])
    ids, mask = found.tokenizer(TEXTS)
    theirs = AutoTokenizer.from_pretrained(str(folders[family]))(TEXTS, padding=True, return_tensors="pt")
    assert ids.tolist() == theirs["input_ids"].tolist()
    assert mask.tolist() == theirs["attention_mask"].tolist()
    wanted = (
        AutoModel.from_pretrained(str(folders[family])).eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    )
    torch.testing.assert_close(found.tokens(ids, mask), wanted, rtol=1e-5, atol=1e-5)
    assert found.pooling == "mean"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_a_text_alone_is_the_same_text_in_a_batch(folders: dict[str, Path], family: str, pooling: str) -> None:
    found = tower(folders[family], pooling=pooling)
    if found.attention is not None:
        torch.nn.init.normal_(found.attention.score.weight)
    batch = found(TEXTS)
    for row, text in zip(batch, TEXTS, strict=True):
        torch.testing.assert_close(found([text])[0], row, rtol=1e-4, atol=1e-5)
    assert (batch[0] - batch[1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_all_positions_are_usable_and_no_more(folders: dict[str, Path], family: str) -> None:
    found = tower(folders[family])
    ids, mask = found.tokenizer([" ".join(REPORTS)])
    assert ids.shape == (1, 64)
    assert found.tokens(ids, mask).isfinite().all()
    assert found.tokenizer.count_cut([" ".join(REPORTS), "Fracture."]) == 1
    with pytest.raises(UserError, match="positions for 64"):
        tower(folders[family], max_length=65)


@pytest.mark.parametrize("family", FAMILIES)
def test_accents_are_words_of_their_own(folders: dict[str, Path], family: str) -> None:
    tokens = tower(folders[family]).tokenizer
    for text in REPORTS[:5]:
        assert "".join(tokens.decode(tokens([text])[0][0].tolist()).split()) == "".join(text.split())
    assert tokens(["côté"])[0].tolist() != tokens(["cote"])[0].tolist()


def test_windows_read_a_long_report_whole(folders: dict[str, Path]) -> None:
    long = " ".join(REPORTS[:5])
    single, several = tower(folders["camembert"]), tower(folders["camembert"], max_length=24, windows=20, overlap=8)
    ids, mask = several.tokenizer([long, TEXTS[1]])
    assert ids.shape[1] > 64
    assert several.tokenizer.count_cut([long]) == 0
    tokens = several.tokens(ids, mask)
    # window by window, written out
    content, inner = ids[0, 1:-1], 22
    sums, counts = torch.zeros(len(content), 32), torch.zeros(len(content), 1)
    for start in range(0, len(content) - 8, inner - 8):
        part = content[start : start + inner]
        seen = torch.cat([ids[0, :1], part, ids[0, -1:]])[None]
        hidden = single.backbone(input_ids=seen, attention_mask=torch.ones_like(seen)).last_hidden_state[0, 1:-1]
        sums[start : start + inner] += hidden
        counts[start : start + inner] += 1
    assert counts.min() >= 1
    torch.testing.assert_close(tokens[0, 1:-1], sums / counts, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(several([long, TEXTS[1]])[1], several([TEXTS[1]])[0], rtol=1e-4, atol=1e-5)
    # the end of the report counts: with one window it does not
    changed = long.replace("dénoncée", "aiguë")
    cut = tower(folders["camembert"], max_length=24)
    assert torch.equal(cut([long]), cut([changed]))
    assert not torch.allclose(several([long]), several([changed]))
    with pytest.raises(UserError, match=r"text\.overlap"):
        tower(folders["camembert"], max_length=16, windows=2, overlap=14)


def test_gradients_flow_through_windows(folders: dict[str, Path]) -> None:
    found = tower(folders["bert"], max_length=16, windows=8, overlap=4)
    found([" ".join(REPORTS[:2])]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in found.backbone.parameters())


@pytest.mark.parametrize(("pooling", "wanted"), [("mean_tokens", "mean"), ("cls_token", "cls")])
def test_a_sentence_encoder_says_how_it_is_pooled(tmp_path: Path, pooling: str, wanted: str) -> None:
    write_sentence_transformer(tmp_path, pooling)
    assert tower(tmp_path).pooling == wanted
    assert tower(tmp_path, pooling="attention").pooling == "attention"


def test_a_pooling_that_does_not_exist_here_is_refused(tmp_path: Path) -> None:
    write_sentence_transformer(tmp_path, "max_tokens")
    with pytest.raises(UserError, match="max_tokens"):
        tower(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    def mixed(model: str, tokenizer: str) -> Path:
        folder = tmp_path / f"{model}-{tokenizer}"
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_bytes((folders[model] / name).read_bytes())
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((folders[tokenizer] / name).read_bytes())
        return folder

    with pytest.raises(UserError, match="ids go up to"):
        tower(mixed("camembert", "roberta"))
    with pytest.raises(UserError, match=r"knows .* tokens"):
        tower(mixed("roberta", "camembert"))
    with pytest.raises(UserError, match="first token"):
        tower(mixed("camembert", "xlm-roberta"))
    assert tower(mixed("drbert", "xlm-roberta")).width == 32  # the same tokenizer


def test_what_cannot_be_read_safely_is_refused_with_the_way_out(tmp_path: Path, folders: dict[str, Path]) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folders["bert"] / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match=r"never opened.*save_pretrained"):
        tower(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folders["bert"] / "model.safetensors").read_bytes())
    assert tower(tmp_path).width == 32
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no tokenizer\.json.*save_pretrained"):
        tower(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    (tmp_path / "tokenizer.json").write_bytes((folders["bert"] / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match="unheard-of"):
        tower(tmp_path)


def test_the_padding_token_is_what_the_folder_says(tmp_path: Path, folders: dict[str, Path]) -> None:
    said = json.loads((folders["mmbert"] / "tokenizer_config.json").read_text())
    assert said["pad_token"] == "<pad>"
    tokens = Tokenizer.from_folder(folders["mmbert"], 16)
    config = json.loads((folders["mmbert"] / "config.json").read_text())
    assert tokens.pad_id == config["pad_token_id"]
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders["mmbert"] / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": config["cls_token_id"]}))
    with pytest.raises(UserError, match="padding has id"):
        tower(tmp_path)
    assert tower(tmp_path, check_tokenizer=False).width == 32


@pytest.mark.parametrize("family", FAMILIES)
def test_composed_and_decomposed_letters_are_the_same_tokens(folders: dict[str, Path], family: str) -> None:
    tokens = tower(folders[family]).tokenizer
    for text in REPORTS[:5]:
        assert tokens([text])[0].tolist() == tokens([unicodedata.normalize("NFD", text)])[0].tolist()
    assert tokens.keeps_accents


def test_a_tokenizer_that_takes_accents_away_is_known() -> None:
    from transformers import BertTokenizer

    stripping = BertTokenizer(vocab=word_pieces())  # lower-cases, and with it strips
    assert not Tokenizer(stripping.backend_tokenizer.to_str(), 16).keeps_accents
