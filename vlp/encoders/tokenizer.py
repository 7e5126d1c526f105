"""Tokenizers that keep accents: trained on the corpus where nothing can be downloaded, or read from a local folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from anonymize.console import UserError

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """Texts to padded id tensors, and back. Immutable; equal JSON means equal tokens on every machine."""

    def __init__(self, json: str, max_length: int) -> None:
        """``json`` is the content of a ``tokenizer.json``; sequences longer than ``max_length`` tokens are cut."""
        self._rust = RustTokenizer.from_str(json)
        ids = {token: self._rust.token_to_id(token) for token in (PAD, "<pad>", "<|endoftext|>")}
        pads = [(token, number) for token, number in ids.items() if number is not None]
        if not pads:
            raise UserError("the tokenizer has no padding token ([PAD] or <pad>)")
        pad, self.pad_id = pads[0]
        self.max_length = max_length
        self._rust.enable_truncation(max_length)
        self._rust.enable_padding(pad_id=self.pad_id, pad_token=pad)
        self._json = json

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int = 8000, max_length: int = 128) -> Tokenizer:
        """A lower-casing byte-level BPE tokenizer learned from ``texts``; Unicode NFC, accents kept, no text is unknown.

        Equal texts in whatever order give the same tokenizer, which a run that is killed and started again relies on.
        (The library's WordPiece trainer does not: its ids follow the order of a hash table.)
        """
        rust = RustTokenizer(models.BPE())
        rust.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Prepend(" ")]
        )
        rust.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        rust.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            show_progress=False,
            min_frequency=2,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        rust.train_from_iterator(sorted(texts), trainer)
        rust.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}",
            pair=f"{CLS} $A {SEP} $B {SEP}",
            special_tokens=[(CLS, rust.token_to_id(CLS)), (SEP, rust.token_to_id(SEP))],
        )
        return cls(rust.to_str(), max_length)

    @classmethod
    def from_folder(cls, folder: Path, max_length: int) -> Tokenizer:
        """The tokenizer of a local transformers folder, or of a model folder of ours.

        Raises:
            UserError: the folder holds no tokenizer.
        """
        file = folder / "tokenizer.json"
        if file.is_file():
            return cls(file.read_text(encoding="utf-8"), max_length)
        from transformers import AutoTokenizer

        try:
            found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            return cls(found.backend_tokenizer.to_str(), max_length)
        except (OSError, ValueError, AttributeError):
            raise UserError(f"{folder}: no tokenizer.json, and none can be made from what is there") from None

    def __len__(self) -> int:
        """Size of the vocabulary."""
        return self._rust.get_vocab_size()

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return self._json

    def id(self, token: str) -> int | None:
        """The id of a token, None where the vocabulary lacks it."""
        return self._rust.token_to_id(token)

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of tokens that are no part of a text: padding, beginning, end, mask."""
        return tuple(sorted(number for number, token in self._rust.get_added_tokens_decoder().items() if token.special))

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids [B, T] int64 and attention mask [B, T] int64, padded to the longest of ``texts``."""
        encoded = self._rust.encode_batch(list(texts))
        ids = torch.tensor([item.ids for item in encoded], dtype=torch.int64)
        return ids, torch.tensor([item.attention_mask for item in encoded], dtype=torch.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids`` without special tokens."""
        return self._rust.decode([int(i) for i in ids], skip_special_tokens=True).strip()
