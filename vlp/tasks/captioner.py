"""A small report writer: image tokens through a projector into a transformer decoder that attends to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from vlp.corpus.augment import augment
from vlp.encoders.image import ImageEncoder
from vlp.encoders.tokenizer import CLS, SEP, Tokenizer
from vlp.objectives.captioning import captioning_loss
from vlp.tasks.config import ReportConfig
from vlp.training.config import LoopConfig
from vlp.training.optim import parameter_groups


class Captioner(nn.Module):
    """Patch tokens of all images of a study, projected, then GPT-2 blocks with cross-attention, from scratch.

    Attributes:
        image: the encoder.
        tokenizer: of the reports; its [CLS] begins a text and its [SEP] ends it.
    """

    def __init__(self, image: ImageEncoder, tokenizer: Tokenizer, config: ReportConfig) -> None:
        super().__init__()
        self.image, self.tokenizer = image, tokenizer
        begin, end = tokenizer.id(CLS), tokenizer.id(SEP)
        if begin is None or end is None:
            raise ValueError("the tokenizer has no [CLS] and [SEP]")
        self.begin, self.end = begin, end
        self.config = {
            "width": config.width,
            "layers": config.layers,
            "heads": config.heads,
            "max_tokens": config.max_tokens,
        }
        self.projector = nn.Sequential(nn.LayerNorm(image.width), nn.Linear(image.width, config.width))
        self.which = nn.Parameter(torch.randn(8, config.width) * 0.02)  # tells the images of a study apart
        self.decoder = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=config.max_tokens,
                n_embd=config.width,
                n_layer=config.layers,
                n_head=config.heads,
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=config.dropout,
                add_cross_attention=True,
                bos_token_id=self.begin,
                eos_token_id=self.end,
                pad_token_id=tokenizer.pad_id,
            )
        )
        self.decoder.lm_head.bias = nn.Parameter(torch.zeros(len(tokenizer)))  # GPT-2 has none; see start_from

    def start_from(self, words: Tensor | None, texts: Sequence[str]) -> None:
        """Begin with what is known: token vectors ``words`` [V, E] where they fit, and how often each token is written.

        Without it the first hundred steps go into learning that full stops are common.
        """
        table = cast(nn.Embedding, self.decoder.get_input_embeddings()).weight
        with torch.no_grad():
            if words is not None and words.shape == table.shape:
                table.copy_(words * (table.std() / words.std()))
            ids, mask = self.tokenizer(texts)
            counts = torch.bincount(ids[mask.bool()], minlength=len(table)).float() + 0.5
            self.decoder.lm_head.bias.copy_((counts / counts.sum()).log())

    def image_tokens(self, images: Tensor, study_index: Tensor, studies: int) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, width] of each study's images, padded, and their mask [B, T].

        ``images`` [M, 1, H, W] are normalised; ``study_index`` [M] must be in rising order.
        """
        found = self.image(images)
        tokens = self.projector(torch.cat([found.pooled.unsqueeze(1), found.patches], dim=1))  # [M, 1 + N, width]
        counts = torch.bincount(study_index, minlength=studies)
        place = torch.arange(len(study_index), device=images.device) - (counts.cumsum(0) - counts)[study_index]
        tokens = tokens + self.which[place.clamp(max=len(self.which) - 1), None]
        most = int(counts.max())
        padded = tokens.new_zeros(studies, most, *tokens.shape[1:])
        padded[study_index, place] = tokens
        mask = torch.arange(most, device=images.device) < counts[:, None]
        return padded.flatten(1, 2), mask.long().repeat_interleave(tokens.shape[1], dim=1)

    def forward(self, images: Tensor, study_index: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [B, L, V] of the next token after each of ``ids`` [B, L]."""
        memory, seen = self.image_tokens(images, study_index, len(ids))
        found = self.decoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=memory,
            encoder_attention_mask=seen,
            use_cache=False,
        )
        return found.logits

    @torch.no_grad()
    def write(self, images: Tensor, study_index: Tensor, studies: int, beams: int = 1) -> list[str]:
        """A report for each study: greedy, or the best of ``beams``."""
        transformers.logging.set_verbosity_error()  # it warns of padding that is not there
        memory, seen = self.image_tokens(images, study_index, studies)
        start = torch.full((studies, 1), self.begin, device=images.device)
        written = self.decoder.generate(  # pyright: ignore[reportAttributeAccessIssue]  # its self type fits no model
            start,
            attention_mask=torch.ones_like(start),
            encoder_hidden_states=memory,
            encoder_attention_mask=seen,
            max_length=self.config["max_tokens"],
            num_beams=beams,
            do_sample=False,
        )
        return [tidy(self.tokenizer.decode(row)) for row in written.tolist()]


class CaptioningObjective(nn.Module):
    """Trains ``model``; a batch is that of ``TaskBatches`` with ``token_ids`` and ``token_mask`` [B, L]."""

    def __init__(self, model: Captioner, config: ReportConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        if model.image.mask_token is not None:
            model.image.mask_token.requires_grad_(False)
        if config.encoder_lr_scale == 0:
            model.image.requires_grad_(False)

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        image = self.model.image
        pixels = image.normalise(augment(batch["images"], image.image_size, self.config.augment))
        logits = self.model(pixels, batch["study_index"], batch["token_ids"], batch["token_mask"])
        return captioning_loss(logits, batch["token_ids"], batch["token_mask"], self.config.smoothing), {}

    def parameter_groups(self, config: LoopConfig) -> list[dict[str, Any]]:
        """The encoder at its own rate."""
        return parameter_groups(self, config, {"model.image.": self.config.encoder_lr_scale})


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Tensor]:
    """``token_ids`` and ``token_mask`` [B, L] of ``texts``."""
    ids, mask = tokenizer(texts)
    return {"token_ids": ids, "token_mask": mask}


def tidy(text: str) -> str:
    """Undo what the tokenizer leaves: blanks inside numbers, before marks, around apostrophes; small first letters."""
    text = re.sub(r"(?<=\d) (?=\d)", "", text)
    text = re.sub(r"(?<=\d) ([.,]) (?=\d)", r"\1", text)
    text = re.sub(r" ([.,)\]])", r"\1", text)
    text = re.sub(r" ?(['’]) ?|(?<=[(\[]) | (-) (?=\w)", lambda m: m[1] or m[2] or "", text).strip()
    return re.sub(r"(?:^|[.!?] )\w", lambda m: m[0].upper(), text)
