"""Tokenizers that keep accents: trained on the corpus where nothing can be downloaded, or read from a local folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from anonymize.console import UserError
from anonymize.files import read_json

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BLOCK = 256


class Tokenizer:
    """Texts to padded id tensors, and back. Immutable; equal JSON means equal tokens on every machine."""

    def __init__(self, json: str, max_length: int, pad: str | None = None) -> None:
        """``json`` is the content of a ``tokenizer.json``; sequences longer than ``max_length`` tokens are cut.

        Args:
            pad: the padding token; without it, the first of the usual names that the vocabulary has.

        Raises:
            UserError: no such token, or not a tokenizer.json.
        """
        try:
            self._rust = RustTokenizer.from_str(json)
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"tokenizer.json cannot be read: {error}") from None
        names = (pad,) if pad else (PAD, "<pad>", "<|endoftext|>")
        found = next((token for token in names if self._rust.token_to_id(token) is not None), None)
        if found is None:
            raise UserError(f"the tokenizer has no padding token ({' or '.join(names[:2])})")
        self.pad, self.pad_id = found, int(self._rust.token_to_id(found) or 0)
        self.max_length = max_length
        self._rust.enable_truncation(max_length)
        self._rust.enable_padding(pad_id=self.pad_id, pad_token=found)
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
    def from_folder(cls, folder: Path, max_length: int, pad: str | None = None) -> Tokenizer:
        """The ``tokenizer.json`` of a local transformers folder, or of a model folder of ours.

        Raises:
            UserError: the folder holds none. A slow tokenizer is not converted here: that needs libraries of its own,
                and a conversion that goes wrong changes words in silence.
        """
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise UserError(
                f'{folder} has no tokenizer.json; where transformers and sentencepiece are installed: python -c "from '
                f"transformers import AutoTokenizer as T; T.from_pretrained('{folder}').save_pretrained('{folder}')\""
            )
        return cls(file.read_text(encoding="utf-8"), max_length, pad or _said_pad(folder))

    def __len__(self) -> int:
        """Size of the vocabulary."""
        return self._rust.get_vocab_size()

    @cached_property
    def highest_id(self) -> int:
        """The largest id that a text can have."""
        return max(self._rust.get_vocab(with_added_tokens=True).values())

    @cached_property
    def marks(self) -> tuple[int, int]:
        """How many special tokens stand before and after every text."""
        special = self._rust.encode("a").special_tokens_mask
        before = next((i for i, mark in enumerate(special) if not mark), 0)
        return before, next((i for i, mark in enumerate(reversed(special)) if not mark), 0)

    @cached_property
    def ends(self) -> tuple[int | None, int | None]:
        """Ids of the special tokens that every text begins and ends with; None where there is none."""
        ids = self._rust.encode("a").ids
        before, after = self.marks
        return (ids[0] if before else None), (ids[-1] if after else None)

    @cached_property
    def keeps_accents(self) -> bool:
        """Whether an accented letter is another token than the bare one: what is lower-cased in BERT's way has lost it."""
        return self._rust.encode("é").ids != self._rust.encode("e").ids

    def resized(self, max_length: int) -> Tokenizer:
        """The same tokenizer that cuts at another length."""
        return Tokenizer(self._json, max_length, self.pad)

    def count_cut(self, texts: Iterable[str]) -> int:
        """How many of ``texts`` are longer than ``max_length`` tokens, so that their end is not read."""
        every = _composed(texts)
        blocks = (every[i : i + _BLOCK] for i in range(0, len(every), _BLOCK))
        return sum(bool(item.overflowing) for block in blocks for item in self._rust.encode_batch(block))

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
        encoded = self._rust.encode_batch(_composed(texts))
        ids = torch.tensor([item.ids for item in encoded], dtype=torch.int64)
        return ids, torch.tensor([item.attention_mask for item in encoded], dtype=torch.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids`` without special tokens."""
        return self._rust.decode([int(i) for i in ids], skip_special_tokens=True).strip()


def _composed(texts: Iterable[str]) -> list[str]:
    """Unicode NFC: few tokenizers bring letters and their accents together by themselves."""
    return [unicodedata.normalize("NFC", text) for text in texts]


def _said_pad(folder: Path) -> str | None:
    """The padding token that tokenizer_config.json or special_tokens_map.json names."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        said = read_json(folder / name).get("pad_token") if (folder / name).is_file() else None
        token = said.get("content") if isinstance(said, dict) else said
        if isinstance(token, str):
            return token
    return None
