"""The objective that trains a dual encoder: one contrastive loss, and terms beside it that the configuration weighs."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment, resize
from vlp.encoders.device import moved
from vlp.encoders.dual import DualEncoder
from vlp.objectives.captioning import CaptionHead, captioning_rows
from vlp.objectives.crosslingual import decorrelation
from vlp.objectives.descriptions import FACETS, Described, FacetProjection, description_loss, own_part
from vlp.objectives.fused import Fused
from vlp.objectives.gloria import gloria
from vlp.objectives.gradcache import chunked
from vlp.objectives.hardnegative import hard_negative, others_of_group
from vlp.objectives.infonce import info_nce
from vlp.objectives.local import LocalFeatures, by_study, sparc
from vlp.objectives.masked_language import MaskedLanguageHead, hide, mask_id, masked_rows
from vlp.objectives.precision import precise
from vlp.objectives.siglip import siglip, siglip_bias
from vlp.objectives.targets import Keys, Targets, matches
from vlp.training.config import LoopConfig
from vlp.training.distributed import mean_of_all
from vlp.training.optim import parameter_groups


class ContrastiveConfig(Config):
    """What ``vlp align`` minimises: ``loss`` + the terms whose weight is not 0."""

    loss: Literal["infonce", "siglip"] = "infonce"
    multi_positive: bool = True  # a text matches every study it is true of; off: only its own, as in CLIP
    same_labels: bool = False  # a text also matches studies whose labels equal its own study's
    soft_targets: float = Field(default=0.0, ge=0, lt=1)  # share of an InfoNCE target that goes by likeness of texts
    soft_sharpness: float = Field(default=10.0, gt=0)  # of that likeness: softmax(sharpness x cosine)
    local: float = Field(default=0.0, ge=0)  # weight: words against patches
    local_loss: Literal["sparc", "gloria"] = "sparc"  # within each study, or over the whole batch
    local_temperature: float = Field(default=0.1, gt=0)
    hard_negatives: float = Field(default=0.0, ge=0)  # weight: the text against its rewriting that is false
    hard_negatives_centred: float = Field(default=0.0, ge=0)  # weight: the same, less what the mean of its anatomy says
    cross_lingual: float = Field(default=0.0, ge=0)  # weight: text against text, features decorrelated (Med-UniC)
    captioning: float = Field(default=0.0, ge=0)  # weight: write the text from the patches (CoCa)
    masked_language: float = Field(default=0.0, ge=0)  # weight: hidden words of the text (BERT)
    descriptions: float = Field(default=0.0, ge=0)  # weight: images against what their findings look like (DeViDe)
    chunk: int = Field(default=0, ge=0)  # images or texts whose activations are in memory at once; 0 for all
    image_lr_scale: float = Field(default=1.0, ge=0)  # rate of a pretrained image tower against the rest; 0 locks it
    text_lr_scale: float = Field(default=1.0, ge=0)
    augment: AugmentConfig = AugmentConfig(scale=(0.7, 1.0))

    @property
    def needs_negatives(self) -> bool:
        """Whether a term reads rewritten texts."""
        return self.hard_negatives > 0 or self.hard_negatives_centred > 0

    @property
    def needs_patches(self) -> bool:
        """Whether a term reads patches, so that they are kept beside the pooled embeddings."""
        return self.local > 0 or self.captioning > 0


class ContrastiveObjective(nn.Module):
    """Trains ``dual``.

    A batch holds ``images`` uint8 or float 0-1 [M, 1, S, S], ``study_index`` [M] int64, ``texts`` (B strings),
    ``study_keys`` and ``text_keys`` (see :func:`vlp.objectives.targets.matches`); every rank needs the same B, M may
    differ. Optional: ``mirrored`` [M] bool (default: none is), ``label_keys`` [B] int64 (for ``same_labels``),
    ``negatives`` (B strings, "" for none; for ``hard_negatives``) and ``anatomy_keys`` [B] int64 (for
    ``hard_negatives_centred``). For ``descriptions`` see :func:`vlp.objectives.descriptions.description_loss`.

    Attributes:
        caption, masked, facets: heads of their terms, None where off. They are trained, and no part of the model that is saved.
    """

    def __init__(self, dual: DualEncoder, config: ContrastiveConfig, batch_size: int) -> None:
        """``batch_size`` is the number of studies over all ranks; it sets SigLIP's first bias and temperature.

        Raises:
            UserError: a term that reads patches, of a tower that leaves some out.
            ValueError: ``masked_language`` with a tokenizer that has no mask token.
        """
        super().__init__()
        if config.needs_patches and dual.image.config.patch_dropout:
            raise UserError(
                "image.patch_dropout leaves out patches, and contrastive.local and contrastive.captioning read all of them; "
                "set either to 0"
            )
        self.dual = dual
        self.config = config
        self.augment = Fused(augment)
        if config.loss == "siglip":
            with torch.no_grad():
                dual.logit_bias.fill_(siglip_bias(batch_size))
                dual.logit_scale.fill_(math.log(10))
        dual.logit_bias.requires_grad_(config.loss == "siglip")
        if dual.image.mask_token is not None:
            dual.image.mask_token.requires_grad_(False)
        towers = ((dual.image, config.image_lr_scale), (dual.text.backbone, config.text_lr_scale))
        self._locked: list[nn.Module] = [tower for tower, scale in towers if scale == 0]
        for tower in self._locked:
            tower.requires_grad_(False)
        tokenizer = dual.text.tokenizer
        self.caption = CaptionHead(dual.width, len(tokenizer), tokenizer.max_length) if config.captioning else None
        self.masked = MaskedLanguageHead(dual.text.width, len(tokenizer)) if config.masked_language else None
        self.facets = FacetProjection(dual.width, len(FACETS)) if config.descriptions else None
        if self.masked is not None:
            mask_id(dual.text)

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        config, index, count = self.config, batch["study_index"], len(batch["texts"])
        ids, mask = self._tokens(batch["texts"])
        # texts first: transformers looks at their mask, and a GPU that the host waits for should have little left to do
        texts, *tokens = chunked(self._read, [ids, mask], config.chunk)
        others = self._others(batch)
        told = self._described(batch) if self.facets is not None else None
        mirrored = batch.get("mirrored", torch.zeros(len(index), dtype=torch.bool, device=index.device))
        embedded, *patches = self._images(batch["images"], mirrored)
        terms: dict[str, Tensor] = {}
        logs: dict[str, Tensor | float] = {}
        scale = self.dual.logit_scale.exp().clamp(max=100)
        by = by_study(patches[0], index, count) if patches else None
        if self.masked is not None:
            terms["masked_language"] = self._masked_language(ids, mask)
        if self.caption is not None and by is not None:
            terms["captioning"] = self._captioning(ids, mask, *by)
        # products of bfloat16 are off by 0.004, times an inverse temperature of up to 100
        with torch.autocast(texts.device.type, enabled=False):
            studies = self.dual.pool_studies(embedded, index, count)
            goal = self._targets(texts, batch)
            contrastive = self._contrastive(studies, texts, scale, goal)
            if config.local and by is not None:
                words = mask.bool() & ~torch.isin(ids, ids.new_tensor(self.dual.text.tokenizer.special_ids))
                local, sharp = LocalFeatures(*by, tokens[0], words), scale.new_tensor(1 / config.local_temperature)
                if config.local_loss == "gloria":
                    terms["local"] = gloria(local, sharp, goal)
                else:
                    terms["local"] = sparc(local, sharp)
            if config.needs_negatives:
                false, present = others["negatives"], torch.tensor([bool(t) for t in batch["negatives"]])
                present = present.to(texts.device)
                if config.hard_negatives:
                    terms["hard_negatives"] = hard_negative(studies, texts, false, present, scale)
                if config.hard_negatives_centred:
                    mean, known = others_of_group(studies, batch["anatomy_keys"])
                    centred = hard_negative(studies - mean, texts, false, present & known, scale)
                    terms["hard_negatives_centred"] = centred
                with torch.no_grad():
                    right = ((studies * (texts - false)).sum(dim=1) > 0).to(texts.dtype)
                    logs["true_over_false_text"] = mean_of_all(right, present)
            if self.facets is not None and told is not None:
                known = Described(batch["findings"], batch["written"])
                terms["descriptions"] = description_loss(studies, told, self.facets, known, scale)
            if config.cross_lingual:
                second = others["second"]
                same = Targets.of(count, texts.device, Keys(batch["text_keys"], batch["text_keys"]))
                terms["cross_lingual"] = decorrelation(texts, second) + info_nce(texts, second, scale.detach(), same)
        loss = contrastive + sum(getattr(config, name) * term for name, term in terms.items())
        with torch.no_grad():
            wanted = matches(batch["study_keys"], batch["text_keys"])
            wanted.fill_diagonal_(True)
            hits = wanted.gather(1, (studies @ texts.t()).argmax(dim=1, keepdim=True)).float().mean()
        if terms:
            logs |= {name: term.detach() for name, term in {"contrastive": contrastive, **terms}.items()}
        return loss, {"temperature": 1 / scale.detach(), "batch_recall_at_1": hits, **logs}

    def train(self, mode: bool = True) -> ContrastiveObjective:
        """As ever, but a locked tower keeps to evaluation: it answers without dropout and drop path (Zhai et al. 2022,
        LiT, arXiv 2111.07991)."""
        super().train(mode)
        for tower in self._locked:
            tower.eval()
        return self

    def parameter_groups(self, config: LoopConfig) -> list[dict[str, Any]]:
        """Towers at their own rates."""
        scales = {"dual.image.": self.config.image_lr_scale, "dual.text.backbone.": self.config.text_lr_scale}
        return parameter_groups(self, config, scales)

    def _targets(self, texts: Tensor, batch: dict[str, Any]) -> Targets:
        config = self.config
        said = (batch["study_keys"], batch["text_keys"]) if config.multi_positive else (None, None)
        keys = Keys(*said, batch["label_keys"] if config.same_labels else None)
        return Targets.of(len(texts), texts.device, keys, texts, config.soft_targets, config.soft_sharpness)

    def _contrastive(self, studies: Tensor, texts: Tensor, scale: Tensor, goal: Targets) -> Tensor:
        if self.config.loss == "siglip":
            return siglip(studies, texts, scale, self.dual.logit_bias, goal)
        return info_nce(studies, texts, scale, goal)

    def _images(self, images: Tensor, mirrored: Tensor) -> tuple[Tensor, ...]:
        """Images [M, 1, S, S] to embeddings [M, E] and, where a term asks, patches [M, N, E].

        A locked tower runs once and keeps no activations, in slices or not: only what is above it has a gradient.
        """
        if self.dual.image not in self._locked:
            return chunked(self._see, [images, mirrored], self.config.chunk)
        with torch.no_grad():
            found = chunked(self._look, [images, mirrored], self.config.chunk)
        return self._project(*found)

    def _see(self, images: Tensor, mirrored: Tensor) -> tuple[Tensor, ...]:
        return self._project(*self._look(images, mirrored))

    def _look(self, images: Tensor, mirrored: Tensor) -> tuple[Tensor, ...]:
        """Augmented (in training) images to the tower's features [m, D] and, where a term asks, patches [m, N, D]."""
        dual, size = self.dual, self.dual.image.image_size
        pixels = self.augment(images, size, self.config.augment, mirrored) if self.training else resize(images, size)
        found = dual.image(dual.image.normalise(pixels))
        return (found.pooled, dual.image.as_pooled(found.patches)) if self.config.needs_patches else (found.pooled,)

    def _project(self, *features: Tensor) -> tuple[Tensor, ...]:
        return tuple(_unit(self.dual.image_projection(rows)) for rows in features)

    def _read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Ids [n, T] to embeddings [n, E] and, where a term asks, tokens [n, T, E]."""
        dual = self.dual
        if not self.config.local:
            return self._embed(ids, mask)
        tokens = dual.text.tokens(ids, mask)
        return _unit(dual.text_projection(dual.text.pool(tokens, mask))), _unit(dual.text_projection(tokens))

    def _embed(self, ids: Tensor, mask: Tensor) -> tuple[Tensor]:
        return (_unit(self.dual.text_projection(self.dual.text.pooled(ids, mask))),)

    def _others(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Embeddings [B, E] of the texts' rewritings (of "" where there is none) and of the texts once more."""
        wanted = {"negatives": batch["negatives"]} if self.config.needs_negatives else {}
        if self.config.cross_lingual:
            wanted["second"] = batch["texts"]
        if not wanted:
            return {}
        ids, mask = self._tokens([text for texts in wanted.values() for text in texts])
        (found,) = chunked(self._embed, [ids, mask], self.config.chunk)
        return dict(zip(wanted, found.chunk(len(wanted)), strict=True))

    def _described(self, batch: dict[str, Any]) -> Tensor:
        """Embeddings [n, E] of this rank's part of the batch's descriptions."""
        ids, mask = self._tokens(own_part(batch["descriptions"]))
        (found,) = chunked(self._embed, [ids, mask], self.config.chunk)
        return found

    def _masked_language(self, ids: Tensor, mask: Tensor) -> Tensor:
        head, text = self.masked, self.dual.text
        assert head is not None

        def rows(*parts: Tensor) -> tuple[Tensor, ...]:
            return masked_rows(text, head, *parts)

        hidden, chosen = hide(ids, mask, text)
        total, count = chunked(rows, [hidden, mask, ids, chosen], self.config.chunk)
        return mean_of_all(total / count.clamp(min=1), count)

    def _captioning(self, ids: Tensor, mask: Tensor, patches: Tensor, patch_mask: Tensor) -> Tensor:
        head = self.caption
        assert head is not None

        def rows(ids: Tensor, mask: Tensor, patches: Tensor, patch_mask: Tensor) -> tuple[Tensor, ...]:
            return captioning_rows(head(ids, patches, patch_mask), ids, mask)

        total, count = chunked(rows, [ids, mask, patches, patch_mask], self.config.chunk)
        return mean_of_all(total / count.clamp(min=1), count)

    def _tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        ids, mask = self.dual.text.tokenizer(texts)
        return moved(ids, self.dual.text.device), moved(mask, self.dual.text.device)


def _unit(rows: Tensor) -> Tensor:
    """L2-normalised, in float32 at least."""
    return normalize(precise(rows), dim=-1)
