"""Fits the tagger on generated text. Needs torch; the result runs without it.

The same pack, lists, settings and seed give the same model on the same machine. Nothing but the pack's grammar and lists
goes in.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from anonymize import __version__
from anonymize.config import Config
from anonymize.console import Console
from anonymize.languages import load_pack
from anonymize.ner.grammar import Grammar, Labelled, Split
from anonymize.ner.lexicon import NAMES, Lexicon
from anonymize.ner.network import Network, Shape, load_network, save_network
from anonymize.ner.noise import Vocabulary, disturb
from anonymize.ner.tokens import COLUMNS, CONTEXTS, LEXICON_COLUMNS, ROWS, WORD_COLUMNS, Features, tokenize

LABELS = ("nothing", "name", "town", "institution", "address", "date", "number", "contact")
_LABEL_OF = {
    **{kind: kind for kind in ("name", "town", "institution", "address", "date")},
    "initials": "name",
    "birth_date": "date",
    "phone": "number",
    "email": "contact",
    "url": "contact",
    "age": "nothing",
}
_PAD = 16  # tokens of nothing between documents: more than the network sees across


class NerConfig(Config):
    """Configuration of ``anonymize train-ner``."""

    language: str = "fr"
    documents: int = Field(default=30_000, ge=10, description="generated documents for training")
    tuning: int = Field(default=300, ge=5, description="generated documents, with other names, that set the threshold")
    epochs: int = Field(default=3, ge=1)
    batch: int = Field(default=24, ge=1, description="windows of text in a step")
    window: int = Field(default=320, ge=64, description="tokens in a window")
    learning_rate: float = Field(default=4e-3, gt=0)
    word_dropout: float = Field(default=0.15, ge=0, lt=1, description="share of words whose identity is hidden")
    list_dropout: float = Field(default=0.15, ge=0, lt=1, description="share of words whose list classes are hidden")
    false_alarms: float = Field(
        default=2.0, gt=0, description="per 1,000 tokens of tuning text, at most; sets the threshold"
    )
    seed: int = 0


def train(
    config: NerConfig, out: Path, console: Console, more: Sequence[Labelled] = (), start: Path | None = None
) -> dict[str, Any]:
    """Write a model folder to ``out``.

    Args:
        start: a model folder to go on from; None trains from nothing.
        more: labelled documents beside the generated ones (``anonymize adapt``).

    Returns:
        what was trained on and the scores on tuning and test text with names not seen in training.
    """
    import torch

    began = time.monotonic()
    torch.manual_seed(config.seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    pack = load_pack(config.language)
    features = Features(Lexicon(pack))
    console.note("generating text")
    train_set = [*generate(config, "train", config.documents), *more]
    words, data = _numbered(train_set, features)
    model = _Model(Shape(LABELS))
    if start is not None:
        model.load(start)
    steps_per_epoch = len(data[0]) // (config.batch * config.window)
    total = max(1, steps_per_epoch * config.epochs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-4, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    draw = np.random.default_rng(config.seed)
    dropper = torch.Generator().manual_seed(config.seed)
    table = torch.from_numpy(words)
    losses: list[float] = []
    model.train()
    for types, contexts, labels in console.track(
        _batches(config, data, draw, steps_per_epoch), total, "train-ner", "steps"
    ):
        rows = table[torch.from_numpy(types)]  # [batch, window, columns]
        keep = torch.ones(rows.shape)
        keep[..., WORD_COLUMNS] = (torch.rand(*rows.shape[:2], 1, generator=dropper) >= config.word_dropout).float()
        hidden = torch.rand(*rows.shape[:2], 1, generator=dropper) < config.list_dropout
        keep[..., LEXICON_COLUMNS] = (~hidden).float()
        scores = model(rows, keep, torch.from_numpy(contexts))
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), torch.from_numpy(labels).flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    weights = model.arrays()
    tuning = list(generate(config, "tune", config.tuning))
    shape = _with_threshold(Network(weights, Shape(LABELS), features), tuning, config.false_alarms)
    test = list(generate(config, "test", config.tuning))
    report = {
        "language": config.language,
        "documents": len(train_set),
        "tokens": len(data[0]),
        "steps": total,
        "loss": round(float(np.mean(losses[-50:])), 4),
        "threshold": shape.threshold,
        "tuning": token_scores(Network(weights, shape, features), tuning),
        "test": token_scores(Network(weights, shape, features), test),
        "inputs": _inputs(pack.folder),
        "settings": config.model_dump(mode="json"),
        "version": __version__,
    }
    save_network(out, weights, shape, report)
    load_network(out, features)
    return {
        **report,
        "shape": asdict(shape),
        "seconds": round(time.monotonic() - began, 1),
        "bytes": (out / "model.safetensors").stat().st_size,
    }


def _rate(step: int, total: int) -> float:
    """Share of the learning rate: rising over the first tenth of the steps, then a half cosine to 0."""
    rise = max(1, total // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def generate(config: NerConfig, split: Split, count: int) -> Iterable[Labelled]:
    """Documents of a split, disturbed."""
    pack = load_pack(config.language)
    grammar, vocabulary = Grammar(pack, split), Vocabulary(Lexicon(pack))
    for index, document in enumerate(grammar.documents(count, config.seed)):
        yield disturb(document, random.Random(f"noise {split} {config.seed} {index}"), vocabulary)


def labels_of(document: Labelled, starts: Sequence[int], ends: Sequence[int]) -> np.ndarray:
    """Label number of each token: that of the span it touches."""
    out = np.zeros(len(starts), dtype=np.int64)
    spans = iter(document.spans)
    span = next(spans, None)
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        while span is not None and span[1] <= start:
            span = next(spans, None)
        if span is not None and span[0] < end:
            out[index] = LABELS.index(_LABEL_OF.get(span[2], "number"))
    return out


def token_scores(network: Network, documents: Iterable[Labelled]) -> dict[str, float]:
    """Share of labelled words that are tagged, false alarms per 1,000 words, documents with nothing missed."""
    hit = gold = false = words = full = with_gold = 0
    for document in documents:
        tokens = tokenize(document.text)
        covered = np.zeros(len(document.text) + 1, dtype=bool)
        for span in network.tag(document.text):
            covered[span.start : span.end] = True
        labels = labels_of(document, tokens.starts, tokens.ends)
        wordlike = np.array([surface[0].isalnum() for surface in tokens.surfaces], dtype=bool)
        tagged = covered[np.array(tokens.starts, dtype=int)] if tokens.starts else np.zeros(0, dtype=bool)
        target = (labels > 0) & wordlike
        hit += int((target & tagged).sum())
        gold += int(target.sum())
        false += int((~target & tagged & wordlike).sum())
        words += int(wordlike.sum())
        if target.any():
            with_gold += 1
            full += bool(tagged[target].all())
    return {
        "recall": round(hit / max(1, gold), 4),
        "false_alarms_per_1000": round(1000 * false / max(1, words), 3),
        "complete": round(full / max(1, with_gold), 4),
    }


def _with_threshold(network: Network, documents: Sequence[Labelled], budget: float) -> Shape:
    """The lowest threshold from 0.4 whose false alarms on tuning text stay within ``budget`` per 1,000 words. Generated text
    is easier than real text: what it would allow below is not to be trusted."""
    nothing, target = [], []
    for document in documents:
        tokens = tokenize(document.text)
        if not tokens.surfaces:
            continue
        wordlike = np.array([surface[0].isalnum() for surface in tokens.surfaces], dtype=bool)
        nothing.append(network.probabilities(tokens.surfaces, tokens.contexts)[wordlike, 0])
        target.append(labels_of(document, tokens.starts, tokens.ends)[wordlike] > 0)
    chance, gold = 1.0 - np.concatenate(nothing), np.concatenate(target)
    allowed = budget * len(gold) / 1000
    for threshold in np.arange(0.4, 0.96, 0.05):
        if ((chance > threshold) & ~gold).sum() <= allowed:
            return replace(network.shape, threshold=round(float(threshold), 2))
    return replace(network.shape, threshold=0.95)


def _numbered(
    documents: Iterable[Labelled], features: Features
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Feature rows of the distinct words ``[words, columns]``, and word, context and label number of every token."""
    index: dict[str, int] = {"": 0}
    rows: list[list[int]] = [[0] * COLUMNS]
    types, contexts, labels = [], [], []
    gap = np.zeros(_PAD, dtype=np.int64)
    for document in documents:
        tokens = tokenize(document.text)
        numbers = np.empty(len(tokens.surfaces), dtype=np.int64)
        for position, surface in enumerate(tokens.surfaces):
            place = index.get(surface)
            if place is None:
                place = index[surface] = len(rows)
                rows.append(features.row(surface))
            numbers[position] = place
        types += [numbers, gap]
        contexts += [tokens.contexts, gap]
        labels += [labels_of(document, tokens.starts, tokens.ends), gap]
    return (
        np.array(rows, dtype=np.int64),
        (np.concatenate(types), np.concatenate(contexts), np.concatenate(labels)),
    )


def _batches(config: NerConfig, data: tuple[np.ndarray, ...], draw: np.random.Generator, steps: int) -> Iterable[Any]:
    """Windows in a new order and with a new origin in each epoch."""
    length = len(data[0])
    for _ in range(config.epochs):
        starts = np.arange(0, length - config.window + 1, config.window) + draw.integers(config.window)
        starts = draw.permutation(starts[starts + config.window <= length])
        for step in range(max(1, steps)):
            chosen = starts[step * config.batch : (step + 1) * config.batch]
            if not len(chosen):
                chosen = starts[: config.batch] if len(starts) else np.zeros(1, dtype=int)
            places = chosen[:, None] + np.arange(min(config.window, length))[None]
            yield tuple(array[places] for array in data)


def _inputs(folder: Path) -> dict[str, str]:
    """Digests of the files that went in."""
    files = [folder / name for name in ("templates.yaml", "protected.txt", "clinical.txt", "pack.yaml", "words.tsv.gz")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in [*files, NAMES] if path.is_file()}


class _Model:
    """The network of :mod:`anonymize.ner.network` in torch."""

    def __init__(self, shape: Shape) -> None:
        import torch

        def parameter(*sizes: int, scale: float) -> Any:
            return torch.nn.Parameter(torch.randn(*sizes) * scale)

        e, w = shape.embedding, shape.width
        self.shape = shape
        self._p = {
            "table": parameter(ROWS, e, scale=0.1),
            "context": parameter(CONTEXTS, e, scale=0.1),
            "layer0.weight": parameter(shape.first, e, w, scale=(2 / (shape.first * e)) ** 0.5),
            "layer0.bias": parameter(w, scale=0.0),
            "output.weight": parameter(w, len(shape.labels), scale=w**-0.5),
            "output.bias": parameter(len(shape.labels), scale=0.0),
        }
        for index in range(1, 1 + len(shape.dilations)):
            self._p[f"layer{index}.weight"] = parameter(3, w, w, scale=(1 / (3 * w)) ** 0.5)
            self._p[f"layer{index}.bias"] = parameter(w, scale=0.0)

    def load(self, folder: Path) -> None:
        """Weights of a model folder of the same shape."""
        import torch
        from safetensors.numpy import load_file

        for name, array in load_file(folder / "model.safetensors").items():
            with torch.no_grad():
                self._p[name].copy_(torch.from_numpy(array.astype(np.float32)))

    def parameters(self) -> list[Any]:
        return list(self._p.values())

    def train(self) -> None:
        """Nothing to switch: what is dropped out, the caller drops."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights by name, as :class:`Network` takes them; half precision, so that scores are those of the saved model."""
        out = {name: value.detach().numpy().astype(np.float16) for name, value in self._p.items()}
        out["table"][0] = 0
        return out

    def __call__(self, rows: Any, keep: Any, contexts: Any) -> Any:
        """``rows`` [batch, window, columns] → scores [batch, window, labels]."""
        from torch.nn.functional import conv1d, dropout, embedding_bag, relu

        p, shape = self._p, self.shape
        flat = rows.flatten(0, 1)
        keep = keep.flatten(0, 1) * (flat > 0)
        x = embedding_bag(flat, p["table"], mode="sum", per_sample_weights=keep).view(*rows.shape[:2], -1)
        x = dropout(x + p["context"][contexts], 0.1).transpose(1, 2)
        x = relu(conv1d(x, p["layer0.weight"].permute(2, 1, 0), p["layer0.bias"], padding=shape.first // 2))
        for index, dilation in enumerate(shape.dilations, start=1):
            weight, bias = p[f"layer{index}.weight"].permute(2, 1, 0), p[f"layer{index}.bias"]
            x = x + relu(conv1d(dropout(x, 0.1), weight, bias, padding=dilation, dilation=dilation))
        return x.transpose(1, 2) @ p["output.weight"] + p["output.bias"]
