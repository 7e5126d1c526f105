"""The text tower: any transformers encoder from a local folder, or a small BERT from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, BertConfig, PreTrainedModel

from anonymize.config import Config
from anonymize.console import UserError
from vlp.encoders.pooling import GatedAttention, attended_mean, masked_mean
from vlp.encoders.pretrained import check_tokenizer, load_transformer, open_text_folder, usable_positions
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_weights
from vlp.encoders.windows import Windows

_GROUP = 16  # texts that are padded together on a CPU


class TextConfig(Config):
    """Which text tower. With ``folder`` (a local transformers model) the sizes below it are that model's own."""

    folder: str | None = None  # such as a CamemBERT or XLM-RoBERTa that lies on this machine
    width: int = Field(default=128, ge=16)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    vocabulary: int = Field(default=4000, ge=300)  # of the tokenizer trained on the corpus; 261 are bytes and marks
    max_length: int = Field(default=192, ge=8)  # tokens that the tower reads at once, marks included
    windows: int = Field(default=1, ge=1)  # overlapping windows of max_length tokens in which a longer text is read
    overlap: int = Field(default=16, ge=0)  # tokens that neighbouring windows share
    dropout: float = Field(default=0.1, ge=0, lt=1)
    # auto: as the folder of a sentence-transformers model says, else mean; attention: a learned weight for each token
    pooling: Literal["auto", "mean", "cls", "attention"] = "auto"
    check_tokenizer: bool = True  # refuse a tokenizer.json that was made for another model than the folder's


class TextEncoder(nn.Module):
    """Texts to one vector each.

    Attributes:
        width: size of the vector.
        tokenizer: its :class:`Tokenizer`; cuts what ``windows`` windows do not hold.
        attention: weights of the tokens, None for the other poolings. New beside a pretrained tower, so it is trained
            at the full rate.
    """

    def __init__(self, config: TextConfig, tokenizer: Tokenizer, backbone_config: dict[str, Any] | None = None) -> None:
        """Random weights; ``backbone_config`` (transformers' config.json) overrides the sizes in ``config``.

        Raises:
            UserError: ``max_length`` beyond the tower's positions, or no more than ``overlap`` and the marks.
        """
        super().__init__()
        self.pooling = "mean" if config.pooling == "auto" else config.pooling
        self.config = config.model_copy(update={"pooling": self.pooling})
        self.backbone_config = backbone_config or _small_bert(config, tokenizer)
        values = dict(self.backbone_config)
        resolved = AutoConfig.for_model(values.pop("model_type"), **values)
        # poolers are trained for next-sentence prediction: not used, and unused weights break distributed training
        try:
            self.backbone: PreTrainedModel = AutoModel.from_config(resolved, add_pooling_layer=False)
        except TypeError:
            self.backbone = AutoModel.from_config(resolved)
        self.width = int(resolved.hidden_size)
        self.attention = GatedAttention(self.width) if self.pooling == "attention" else None
        self.windows = Windows(config.max_length, config.overlap, *tokenizer.marks)
        limit = usable_positions(self.backbone, self.backbone_config)
        if limit is not None and config.max_length > limit:
            raise UserError(
                f"text.max_length={config.max_length}, but this tower has positions for {limit} tokens; set it to {limit} "
                "and text.windows to more than 1 for longer reports"
            )
        if config.windows > 1 and self.windows.content <= config.overlap:
            raise UserError(
                f"text.overlap={config.overlap} leaves a window of {config.max_length} tokens nothing of its own"
            )
        self.tokenizer = tokenizer.resized(self.windows.capacity(config.windows)) if config.windows > 1 else tokenizer

    @classmethod
    def from_folder(cls, config: TextConfig) -> TextEncoder:
        """The pretrained tower in the local folder ``config.folder``: of transformers, or of sentence-transformers.

        Raises:
            UserError: see :mod:`vlp.encoders.pretrained`, and fewer than 95 % of the weights found.
        """
        folder = open_text_folder(Path(config.folder or ""))
        tokenizer = Tokenizer.from_folder(folder.path, config.max_length)
        model, state = load_transformer(folder.path)
        if config.check_tokenizer:
            table = cast(nn.Embedding, model.get_input_embeddings())
            check_tokenizer(folder, tokenizer, table.num_embeddings)
        if config.pooling == "auto" and folder.pooling:
            config = config.model_copy(update={"pooling": folder.pooling})
        encoder = cls(config, tokenizer, model.config.to_dict())
        load_weights(encoder.backbone, state, str(folder.path))
        return encoder

    def forward(self, texts: Sequence[str]) -> Tensor:
        """[B] texts to [B, width]."""
        ids, mask = (part.to(self.device) for part in self.tokenizer(texts))
        return self.pooled(ids, mask)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and attention mask [B, T] int64 to [B, width]. On a CPU, texts of like length go together: else half of a
        batch is padding."""
        if self.device.type != "cpu":
            return self.encode_ids(ids, mask)
        lengths = mask.sum(dim=1)
        order = lengths.argsort(stable=True)
        groups = order.split(_GROUP)
        longest = [int(lengths[group].max()) for group in groups]
        found = [self.encode_ids(ids[g, :n], mask[g, :n]) for g, n in zip(groups, longest, strict=True)]
        return torch.cat(found)[order.argsort()]

    def encode_ids(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and attention mask [B, T] int64 to [B, width]."""
        return self.pool(self.tokens(ids, mask), mask)

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Hidden states [B, T, width] and attention mask [B, T] to [B, width]."""
        if self.pooling == "cls":
            return tokens[:, 0]
        if self.attention is not None:
            return attended_mean(tokens, mask, self.attention(tokens))
        return masked_mean(tokens, mask)

    def tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states [B, T, width]; texts longer than ``max_length`` are read in windows."""
        if ids.shape[1] <= self.config.max_length:
            return self._read(ids, mask)
        return self.windows.read(ids, mask, self.tokenizer.pad_id, self._read)

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def _small_bert(config: TextConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.width * 4,
        max_position_embeddings=config.max_length,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        pad_token_id=tokenizer.pad_id,
    ).to_dict()
