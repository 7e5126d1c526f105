"""Graphs for ONNX runtimes: image.onnx and, for a dual encoder, text.onnx beside its tokenizer."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from anonymize.console import UserError
from anonymize.files import write_text_atomic
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder
from vlp.encoders.text import TextEncoder

OPSET = 18


class ImageGraph(nn.Module):
    """Pixels float32 [B, 1, S, S], 0-1, to the embedding [B, E] of a dual encoder, else the pooled features [B, D]."""

    def __init__(self, model: ImageEncoder | DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        if isinstance(self.model, DualEncoder):
            return self.model.encode_images(self.model.image.normalise(pixels))
        return self.model(self.model.normalise(pixels)).pooled


class TextGraph(nn.Module):
    """Ids and attention mask int64 [B, T] to the embedding [B, E]."""

    def __init__(self, dual: DualEncoder) -> None:
        super().__init__()
        self.text: TextEncoder = dual.text
        self.projection = dual.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.text.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return normalize(self.projection(self.text.pool(tokens, attention_mask)), dim=-1)


def write_onnx(model: ImageEncoder | DualEncoder, folder: Path) -> list[str]:
    """Write the graphs, their batch and the length of texts free; returns remarks for the card.

    Raises:
        UserError: the exporter's library is missing, or it cannot express the tower.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise UserError("export to onnx needs onnxscript: pip install 'vlp-xray[onnx]'")
    folder.mkdir(parents=True, exist_ok=True)
    image = model.image if isinstance(model, DualEncoder) else model
    side = image.image_size
    batch = torch.export.Dim("batch")
    pixels = torch.rand(2, 1, side, side)
    _export(ImageGraph(model), (pixels,), folder / "image.onnx", ["pixels"], {"pixels": {0: batch}})
    remarks = [f"image.onnx: pixels float32 [batch, 1, {side}, {side}], gray / 255 -> output; it normalises by itself"]
    if isinstance(model, DualEncoder):
        text = model.text
        write_text_atomic(folder / "tokenizer.json", text.tokenizer.to_json())
        ids = torch.full((2, 8), text.tokenizer.pad_id, dtype=torch.int64)
        ids[:, :6] = torch.arange(6) + 5
        mask = torch.ones_like(ids)
        mask[1, 6:] = 0
        length = torch.export.Dim("length", min=2, max=text.config.max_length)
        shapes = {"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}}
        _export(TextGraph(model), (ids, mask), folder / "text.onnx", ["input_ids", "attention_mask"], shapes)
        remarks.append(
            f"text.onnx: input_ids and attention_mask int64 [batch, length up to {text.config.max_length}] of "
            f"tokenizer.json (padding id {text.tokenizer.pad_id}) -> output"
        )
        if text.config.windows > 1:
            remarks.append("longer texts: run windows yourself; the graph reads one")
    return remarks


def _export(graph: nn.Module, inputs: tuple[Tensor, ...], file: Path, names: list[str], shapes: dict[str, Any]) -> None:
    quiet = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.eval(),
                inputs,
                file,
                input_names=names,
                output_names=["output"],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{file.name}: the exporter cannot express this tower: {reason}") from None
