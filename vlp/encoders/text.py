"""The text tower: any transformers encoder from a local folder, or a small BERT from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, BertConfig, PreTrainedModel

from anonymize.config import Config
from anonymize.console import UserError
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_weights, read_safetensors

_GROUP = 16  # texts that are padded together on a CPU


class TextConfig(Config):
    """Which text tower. With ``folder`` (a local transformers model) the sizes below it are that model's own."""

    folder: str | None = None  # such as a CamemBERT or XLM-RoBERTa that lies on this machine
    width: int = Field(default=128, ge=16)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    vocabulary: int = Field(default=4000, ge=300)  # of the tokenizer trained on the corpus; 261 are bytes and marks
    max_length: int = Field(default=96, ge=8)  # tokens
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pooling: Literal["mean", "cls"] = "mean"


class TextEncoder(nn.Module):
    """Texts to one vector each: the mean of the tokens that are not padding, or the first token.

    Attributes:
        width: size of the vector.
        tokenizer: its :class:`Tokenizer`.
    """

    def __init__(self, config: TextConfig, tokenizer: Tokenizer, backbone_config: dict[str, Any] | None = None) -> None:
        """Random weights; ``backbone_config`` (transformers' config.json) overrides the sizes in ``config``."""
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.backbone_config = backbone_config or _small_bert(config, tokenizer)
        values = dict(self.backbone_config)
        resolved = AutoConfig.for_model(values.pop("model_type"), **values)
        # poolers are trained for next-sentence prediction: not used, and unused weights break distributed training
        try:
            self.backbone: PreTrainedModel = AutoModel.from_config(resolved, add_pooling_layer=False)
        except TypeError:
            self.backbone = AutoModel.from_config(resolved)
        self.width = int(resolved.hidden_size)

    @classmethod
    def from_folder(cls, config: TextConfig) -> TextEncoder:
        """The pretrained tower in the local folder ``config.folder``.

        Raises:
            UserError: no model there, no safetensors, or fewer than 95 % of the weights found.
        """
        folder = Path(config.folder or "")
        if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
            raise UserError(f"text.folder: {folder} needs config.json, model.safetensors and a tokenizer")
        values = AutoConfig.from_pretrained(str(folder), local_files_only=True).to_dict()
        encoder = cls(config, Tokenizer.from_folder(folder, config.max_length), values)
        state = read_safetensors(folder / "model.safetensors")
        prefix = f"{encoder.backbone.base_model_prefix}."
        load_weights(encoder.backbone, {key.removeprefix(prefix): value for key, value in state.items()}, str(folder))
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
        if self.config.pooling == "cls":
            return tokens[:, 0]
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)

    def tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states [B, T, width]."""
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
