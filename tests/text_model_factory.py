"""Tiny models of every family of text towers, each with the tokenizer class that transformers has for it, as folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    BertTokenizer,
    CamembertConfig,
    CamembertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)

REPORTS = [
    "Épanchement pleural droit de moyenne abondance, œdème des parties molles.",
    "Pas d'épanchement pleural. Cœur de volume normal, à l'échographie près.",
    "Fracture du radius gauche déplacée, plâtre en place : contrôle à 6 semaines.",
    "Âge osseux de 12 ans et 6 mois ; gonarthrose fémoro-tibiale stade III.",
    "Où siège la lésion ? Côté gauche, aiguë, maïs non dénoncée.",
] * 4
FAMILIES = (
    "camembert",
    "xlm-roberta",
    "drbert",
    "roberta",
    "bert",
    "deberta-v3",
    "modernbert",
    "mmbert",
    "distilbert",
    "mpnet",
)
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def pieces(count: int = 150) -> list[tuple[str, float]]:
    """Unigram pieces with their scores, learned from ``REPORTS``."""
    rust = RustTokenizer(models.Unigram())
    rust.normalizer = normalizers.NFC()
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    rust.train_from_iterator(
        REPORTS, trainers.UnigramTrainer(vocab_size=count, special_tokens=["<unk>"], unk_token="<unk>")
    )
    return [(piece, score) for piece, score in json.loads(rust.to_str())["model"]["vocab"] if piece != "<unk>"]


def byte_pairs(count: int = 400) -> tuple[dict[str, int], list[str]]:
    """Byte-level BPE without special tokens: vocabulary and merges."""
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    rust.train_from_iterator(REPORTS, trainers.BpeTrainer(vocab_size=count, initial_alphabet=alphabet))
    model = json.loads(rust.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]  # pyright: ignore[reportReturnType]


def word_pieces(count: int = 200) -> dict[str, int]:
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    rust.train_from_iterator(REPORTS, trainers.WordPieceTrainer(vocab_size=count, special_tokens=special))
    return rust.get_vocab()


def _bert_like_bpe(marks: dict[str, str]) -> PreTrainedTokenizerFast:
    """As ModernBERT ships it: no class of its own, special tokens at the end of the vocabulary."""
    vocabulary, merges = byte_pairs()
    rust = RustTokenizer(models.BPE(vocab=vocabulary, merges=merges))  # pyright: ignore[reportArgumentType]
    rust.normalizer, rust.pre_tokenizer = normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens(list(dict.fromkeys(marks.values())))
    first, last = marks["cls_token"], marks["sep_token"]
    ids = [(token, int(rust.token_to_id(token) or 0)) for token in (first, last)]
    rust.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=rust, **marks)


def write_family(family: str, folder: Path, **changes: Any) -> Path:
    """A random model of ``family`` and its tokenizer, both by ``save_pretrained``; ``changes`` go to its config."""
    torch.manual_seed(0)
    config, tokenizer = _parts(family)
    for key, value in changes.items():
        setattr(config, key, value)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _parts(family: str) -> tuple[Any, Any]:
    square = {"[PAD]": 0.0, "[CLS]": 0.0, "[SEP]": 0.0, "[UNK]": 0.0}
    angle = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    bpe = {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    kin = {"max_position_embeddings": 66, "type_vocab_size": 1}  # 64 usable
    if family == "camembert":  # its own order of special tokens
        own = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
        tokenizer = CamembertTokenizer(vocab=[*own, ("<s>", 0.0), ("</s>", 0.0), *pieces(), ("<mask>", 0.0)])
        ids = {"pad_token_id": 1, "bos_token_id": 5, "eos_token_id": 6}
        return CamembertConfig(vocab_size=len(tokenizer), **SIZES, **kin, **ids), tokenizer
    if family in ("xlm-roberta", "drbert"):
        tokenizer = XLMRobertaTokenizer(vocab=[*angle, *pieces(), ("<mask>", 0.0)])
        made = XLMRobertaConfig if family == "xlm-roberta" else CamembertConfig
        ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        return made(vocab_size=len(tokenizer), **SIZES, **kin, **ids), tokenizer
    if family in ("roberta", "mpnet"):
        vocabulary, merges = byte_pairs()
        marks = {token: i for i, (token, _) in enumerate(angle)}
        table = {**marks, **{token: i + 4 for token, i in vocabulary.items()}, "<mask>": len(vocabulary) + 4}
        tokenizer = RobertaTokenizer(vocab=table, merges=merges)  # pyright: ignore[reportArgumentType]
        ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 66}
        return (RobertaConfig if family == "roberta" else MPNetConfig)(
            vocab_size=len(tokenizer), **SIZES, **ids
        ), tokenizer
    if family in ("bert", "distilbert"):
        tokenizer = BertTokenizer(vocab=word_pieces(), do_lower_case=False)
        if family == "bert":
            return BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **SIZES), tokenizer
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
        return DistilBertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes), tokenizer
    if family == "deberta-v3":
        tokenizer = DebertaV2Tokenizer(vocab=[*square.items(), *pieces(), ("[MASK]", 0.0)])
        shape = {
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        }
        kind = {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "max_position_embeddings": 64}
        return DebertaV2Config(vocab_size=len(tokenizer) + 8, type_vocab_size=0, **SIZES, **shape, **kind), tokenizer
    if family == "mmbert":  # ModernBERT's body, a large multilingual BPE with <bos> and <eos>
        bpe = {
            "cls_token": "<bos>",
            "sep_token": "<eos>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        }
    tokenizer = _bert_like_bpe(bpe)
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(bpe[name]) for name in ("cls_token", "sep_token", "pad_token")}
    ids |= {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"], "max_position_embeddings": 64}
    return ModernBertConfig(vocab_size=len(tokenizer), local_attention=16, **SIZES, **ids), tokenizer


def write_sentence_transformer(folder: Path, pooling: str, family: str = "xlm-roberta") -> Path:
    """As sentence-transformers writes it, with a normalisation at the end."""
    write_family(family, folder)
    kind = "sentence_transformers.models."
    parts = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    modules = [{"idx": int(i), "name": i, "path": path, "type": kind + name} for i, path, name in parts]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": name == pooling for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return folder
