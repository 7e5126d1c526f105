"""The tagger at work: numpy alone, one pass over a text, every distinct word embedded once.

Token embeddings are sums of hashed feature embeddings (as in Miranda et al. 2022, arXiv:2212.09255); over them stand
dilated convolutions with residual connections (Strubell et al. 2017, arXiv:1702.02098), which see about 30 tokens to
either side. There is no pretrained weight in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

from anonymize.config import ConfigError
from anonymize.files import write_json
from anonymize.ner.tokens import CONTEXTS, ROWS, Features, Tokens, like_digits, tokenize
from anonymize.report import Span

FORMAT = 1
_NUMERIC = frozenset(("date", "number", "contact"))
_CACHE = 30_000  # distinct words kept in memory, 1.6 kB each


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. ``labels[0]`` is "nothing"."""

    labels: tuple[str, ...]
    embedding: int = 64
    width: int = 80
    first: int = 5  # kernel of the first convolution
    dilations: tuple[int, ...] = (2, 4, 8)  # kernels of three
    threshold: float = 0.5  # a token is tagged where the probability of all kinds together is higher


class Network:
    """A loaded tagger.

    Args:
        weights: float arrays by name, as ``train`` writes them.
        shape: sizes and labels.
        features: of the language the tagger was trained for.
    """

    def __init__(self, weights: dict[str, np.ndarray], shape: Shape, features: Features) -> None:
        self.shape = shape
        self._features = features
        w = {name: array.astype(np.float32) for name, array in weights.items()}
        if w["table"].shape != (ROWS, shape.embedding) or w["context"].shape != (CONTEXTS, shape.embedding):
            raise ConfigError("the model's tables have other sizes than this version of the package; train it again")
        self._table = w["table"]
        # the first convolution is linear in each word: what a word adds at each tap is computed once per distinct word
        first = w["layer0.weight"].transpose(1, 0, 2).reshape(shape.embedding, -1)
        self._first, self._first_bias = np.ascontiguousarray(first), w["layer0.bias"]
        self._contexts = w["context"] @ first
        self._layers = [(w[f"layer{i}.weight"], w[f"layer{i}.bias"]) for i in range(1, 1 + len(shape.dilations))]
        self._output = (w["output.weight"], w["output.bias"])
        self._numeric = [label in _NUMERIC for label in shape.labels[1:]]
        self._index: list[dict[str, int]] = [{} for _ in range(CONTEXTS)]  # rows of ``_known`` by context and surface
        self._rows = 0
        self._known = np.zeros((2048, shape.first * shape.width), dtype=np.float32)

    def probabilities(self, surfaces: list[str], contexts: np.ndarray) -> np.ndarray:
        """Label probabilities ``[tokens, labels]`` float32."""
        x = self._first_layer(surfaces, contexts)
        for (weight, bias), dilation in zip(self._layers, self.shape.dilations, strict=True):
            x += _convolve(x, weight, bias, dilation)
        scores = x @ self._output[0]
        scores += self._output[1]
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def tag(self, text: str, case: str = "") -> list[Span]:
        """Spans of the kinds in ``shape.labels``, in order. Words joined by a blank, a hyphen or an apostrophe are one span,
        numbers also where they are joined by other signs."""
        tokens = tokenize(text, case)
        if not tokens.surfaces:
            return []
        chances = self.probabilities(tokens.surfaces, tokens.contexts)
        hit = np.flatnonzero(1.0 - chances[:, 0] > self.shape.threshold)
        groups: list[list[int]] = []  # numbers of hits that make one span
        rows, places = chances[hit].tolist(), hit.tolist()
        numeric = [self._numeric[kind] for kind in chances[hit, 1:].argmax(axis=1).tolist()]
        last = -1
        for number, place in enumerate(places):
            if not tokens.surfaces[place][0].isalnum():
                continue
            if last >= 0 and numeric[last] == numeric[number]:
                between = text[tokens.ends[places[last]] : tokens.starts[place]]
                if _joined(between, numeric[number]):
                    groups[-1].append(number)
                    last = number
                    continue
            groups.append([number])
            last = number
        return [self._span(tokens, [places[n] for n in group], [rows[n] for n in group]) for group in groups]

    def _span(self, tokens: Tokens, places: list[int], rows: list[list[float]]) -> Span:
        sums = [sum(column) for column in zip(*rows, strict=True)][1:]
        kind = sums.index(max(sums))
        score = 1.0 - max(row[0] for row in rows)
        start, end = tokens.starts[places[0]], tokens.ends[places[-1]]
        return Span(start, end, self.shape.labels[1 + kind], round(score, 3), "ner")

    def _first_layer(self, surfaces: list[str], contexts: np.ndarray) -> np.ndarray:
        """Embedding, context and first convolution: ``[tokens, width]``."""
        if self._rows > _CACHE:
            self._rows = 0
            for index in self._index:
                index.clear()
        where = [self._index[context] for context in contexts.tolist()]
        rows = [index.get(surface, -1) for surface, index in zip(surfaces, where, strict=True)]
        for place, row in enumerate(rows):
            if row < 0:
                rows[place] = self._row(surfaces[place], int(contexts[place]))
        taps = self._known[rows].reshape(len(rows), self.shape.first, self.shape.width)
        length, reach = len(rows), self.shape.first // 2
        out = taps[:, reach] + self._first_bias
        for tap in range(self.shape.first):
            offset = tap - reach
            if offset < 0 and -offset < length:
                out[-offset:] += taps[:offset, tap]
            elif 0 < offset < length:
                out[:-offset] += taps[offset:, tap]
        return np.maximum(out, 0, out=out)

    def _row(self, surface: str, context: int) -> int:
        """The row of what a token adds at each tap of the first convolution, computed when it is first met."""
        index = self._index[context]
        if surface[0].isdigit() and (like := like_digits(surface)) != surface:
            index[surface] = self._row(like, context)
        if surface not in index:
            row = index[surface] = self._rows
            self._rows += 1
            if row >= len(self._known):
                self._known = np.concatenate([self._known, np.zeros_like(self._known)])
            embedded = self._table[self._features.row(surface)].sum(axis=0)
            self._known[row] = embedded @ self._first + self._contexts[context]
        return index[surface]


def _convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int) -> np.ndarray:
    """The positive part of a convolution of three taps: ``x`` [tokens, in], ``weight`` [3, in, out] → [tokens, out], zeros
    beyond the ends."""
    length, width = x.shape
    taps = np.zeros((length, 3, width), dtype=x.dtype)
    taps[:, 1] = x
    if dilation < length:
        taps[dilation:, 0] = x[:-dilation]
        taps[:-dilation, 2] = x[dilation:]
    out = taps.reshape(length, -1) @ weight.reshape(-1, weight.shape[2])
    out += bias
    return np.maximum(out, 0, out=out)


def _joined(between: str, numeric: bool) -> bool:
    if len(between) > 3 or "\n" in between:
        return False
    inner = between.strip(" \t\u00a0")
    return inner in ("", "-", "'", "’", ".", "‐") or (
        numeric and inner in ("/", "|", ":", "(", ")", ")-", "@", "_", ",", "°")
    )


def save_network(folder: Path, weights: dict[str, np.ndarray], shape: Shape, extra: dict[str, Any]) -> None:
    """``model.safetensors`` in half precision and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(array, dtype=np.float16) for name, array in sorted(weights.items())},
        folder / "model.safetensors",
    )
    write_json(folder / "config.json", {"format": FORMAT, "shape": asdict(shape), **extra})


def load_network(folder: Path, features: Features) -> Network:
    """The tagger in ``folder``. Matrices of one report are small: numpy's BLAS is set to one thread for the whole process, which
    is faster, leaves the cores to the workers, and gives the same bits whatever their number.

    Raises:
        ConfigError: a file is missing or is of another version.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no readable model: {error}") from None
    if config.get("format") != FORMAT:
        raise ConfigError(f"{folder}: a model of format {config.get('format')}, this version reads {FORMAT}")
    threadpool_limits(1, user_api="blas")
    shape = config["shape"]
    return Network(
        weights,
        Shape(**{**shape, "labels": tuple(shape["labels"]), "dilations": tuple(shape["dilations"])}),
        features,
    )
