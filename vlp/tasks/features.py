"""Frozen features of studies: what probes, retrieval and zero-shot work on."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anonymize.console import Console, UserError
from anonymize.files import fingerprint, open_atomic
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.dual import DualEncoder, study_mean
from vlp.encoders.image import ImageEncoder
from vlp.study import ImageRef, Study

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Features of n studies, each the mean over the study's images.

    Attributes:
        probe: [n, 2D] float32, the pooled feature beside the mean patch token.
        embedding: [n, E] float32, L2-normalised, in the space shared with text; [n, 0] without a dual encoder.
    """

    studies: tuple[Study, ...]
    probe: Array
    embedding: Array

    def of(self, studies: Sequence[Study]) -> Features:
        """The rows of ``studies``, in their order."""
        row = {s.study_id: i for i, s in enumerate(self.studies)}
        rows = [row[s.study_id] for s in studies]
        return Features(tuple(studies), self.probe[rows], self.embedding[rows])


def device() -> torch.device:
    """The accelerator where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def one_process() -> None:
    """Refuse to run under torchrun or accelerate launch with several processes: each would do the same work.

    Raises:
        UserError: WORLD_SIZE is above 1.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("this command uses one process; start it without torchrun or accelerate launch")


def load_images(corpus: Corpus, refs: Sequence[ImageRef], encoder: ImageEncoder) -> Tensor:
    """Images [M, 1, S, S] float32 as the encoder expects them, on its device."""
    square = Square(encoder.image_size, encoder.config.framing)
    pixels = np.stack([corpus.square(ref, square) for ref in refs])[:, None]
    return encoder.normalise(torch.from_numpy(pixels).to(next(encoder.parameters()).device))


def study_batches(studies: Sequence[Study], images: int) -> Iterator[list[Study]]:
    """Runs of studies with about ``images`` images each."""
    batch: list[Study] = []
    count = 0
    for study in studies:
        if batch and count + len(study.images) > images:
            yield batch
            batch, count = [], 0
        batch.append(study)
        count += len(study.images)
    if batch:
        yield batch


def batch_of(corpus: Corpus, studies: Sequence[Study], encoder: ImageEncoder) -> tuple[Tensor, Tensor]:
    """All images of ``studies`` [M, 1, S, S], and the index [M] of the study that each belongs to."""
    images = load_images(corpus, [ref for s in studies for ref in s.images], encoder)
    index = [i for i, s in enumerate(studies) for _ in s.images]
    return images, torch.tensor(index, device=images.device)


@torch.no_grad()
def study_features(
    encoder: ImageEncoder,
    dual: DualEncoder | None,
    corpus: Corpus,
    studies: Sequence[Study],
    console: Console,
    *,
    batch_size: int = 64,
    what: str = "features",
) -> Features:
    """Features of ``studies`` (each with at least one image). With ``dual``, ``encoder`` is its image tower."""
    probes: list[Array] = []
    embeddings: list[Array] = []
    batches = list(study_batches(studies, batch_size))
    for batch in console.track(batches, len(batches), what, "batches"):
        images, index = batch_of(corpus, batch, encoder)
        found = encoder(images)
        both = torch.cat([found.pooled, found.patches.mean(dim=1)], dim=1)
        probes.append(study_mean(both.float(), index, len(batch)).cpu().numpy())
        if dual is not None:
            projected = torch.nn.functional.normalize(dual.image_projection(found.pooled).float(), dim=-1)
            embeddings.append(dual.pool_studies(projected, index, len(batch)).cpu().numpy())
    width = dual.width if dual is not None else 0
    return Features(
        tuple(studies),
        np.concatenate(probes) if probes else np.zeros((0, 2 * encoder.width), np.float32),
        np.concatenate(embeddings) if embeddings else np.zeros((len(studies), width), np.float32),
    )


def cached_features(
    folder: Path,
    mark: str,
    encoder: ImageEncoder,
    dual: DualEncoder | None,
    corpus: Corpus,
    studies: Sequence[Study],
    console: Console,
    *,
    batch_size: int = 64,
    what: str = "features",
) -> Features:
    """:func:`study_features`, kept in ``folder`` under the fingerprint of model (``mark``), corpus and studies."""
    key = fingerprint(mark, corpus.fingerprint, [s.study_id for s in studies], dual is not None)
    path = folder / f"features-{key}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return Features(tuple(studies), stored["probe"], stored["embedding"])
    found = study_features(encoder, dual, corpus, studies, console, batch_size=batch_size, what=what)
    with open_atomic(path) as stream:
        np.savez(stream, probe=found.probe, embedding=found.embedding)
    return found


@torch.no_grad()
def text_embeddings(dual: DualEncoder, texts: Sequence[str], batch_size: int = 128) -> Array:
    """Embeddings [n, E] float32, L2-normalised; equal texts are encoded once."""
    unique = list(dict.fromkeys(texts))
    parts = [
        dual.encode_texts(unique[i : i + batch_size]).float().cpu().numpy() for i in range(0, len(unique), batch_size)
    ]
    row = {text: i for i, text in enumerate(unique)}
    found = np.concatenate(parts) if parts else np.zeros((0, dual.width), np.float32)
    return found[[row[text] for text in texts]]


def png_uri(pixels: npt.NDArray[np.uint8], height: int = 224) -> str:
    """An image as a data URI for the results page, ``height`` pixels high at most."""
    if pixels.shape[0] > height:
        size = (max(1, pixels.shape[1] * height // pixels.shape[0]), height)
        pixels = cast(npt.NDArray[np.uint8], cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    done, png = cv2.imencode(".png", pixels)
    if not done:
        raise ValueError("the image could not be written as PNG")
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
