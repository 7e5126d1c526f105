"""Model folders: ``model.safetensors``, ``config.json``, ``preprocessor_config.json``, ``tokenizer.json`` where there is
text, ``README.md`` (card).

Nothing is unpickled. One rule makes every folder of ours usable as an image encoder: the tensors of the image tower are
named ``image.*``, whether the model is an encoder, a dual encoder or a fine-tuned task model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from anonymize.config import validate
from anonymize.console import UserError
from anonymize.files import read_json, write_bytes_atomic, write_json, write_text_atomic
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_weights, plain_state, read_safetensors
from vlp.hub.licence import UNSPECIFIED
from vlp.hub.preprocessing import preprocessor
from vlp.hub.to_transformers import write_text_model

FORMAT = 1


def save_model(
    folder: Path, model: nn.Module, card: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> None:
    """Write ``model`` as a model folder.

    Args:
        folder: made where it is missing; its files are replaced one by one, ``config.json`` last.
        model: an :class:`ImageEncoder`, a :class:`DualEncoder`, or a module whose attribute ``image`` is an
            :class:`ImageEncoder` (task models; ``text`` a :class:`TextEncoder` where it reads or writes text).
        card: what a reader must know. ``licence`` (default "unspecified"), ``kind`` (default by the model's type),
            ``fingerprints`` and ``summary`` (Markdown) have a place of their own; every other key becomes a line.
        config: what is needed to build the rest of a task model again; read it back with :func:`read_config`.

    Raises:
        ValueError: the model holds no image encoder.
    """
    image = model if isinstance(model, ImageEncoder) else getattr(model, "image", None)
    if not isinstance(image, ImageEncoder):
        raise ValueError(
            "a model folder needs an ImageEncoder: give one, or a module with one as its attribute `image`"
        )
    kind = card.get("kind") or ("image" if image is model else "dual" if isinstance(model, DualEncoder) else "task")
    description: dict[str, Any] = {
        "format": FORMAT,
        "kind": kind,
        "licence": card.get("licence", UNSPECIFIED),
        "fingerprints": dict(card.get("fingerprints", {})),
        "image": image.config.model_copy(update={"weights": None, "patch_dropout": 0.0}).model_dump(mode="json"),
        "task": dict(config or {}),
    }
    text = getattr(model, "text", None)
    if isinstance(text, TextEncoder):
        kept = text.config.model_copy(update={"folder": None}).model_dump(mode="json")
        description["text"] = {**kept, "backbone": text.backbone_config, "pad": text.tokenizer.pad}
        write_text_atomic(folder / "tokenizer.json", text.tokenizer.to_json())
    if isinstance(model, DualEncoder):
        description["dual"] = model.config.model_dump(mode="json")
    state = model.state_dict() if image is not model else {f"image.{k}": v for k, v in model.state_dict().items()}
    write_bytes_atomic(folder / "model.safetensors", save(plain_state(state)))
    write_text_atomic(folder / "README.md", _card_text(description, card, sum(v.numel() for v in state.values())))
    write_json(folder / "preprocessor_config.json", preprocessor(image.config))
    write_json(folder / "config.json", description)


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises:
        UserError: not a finished model folder of ours.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder} is not a model folder: it needs config.json and model.safetensors")
    config = read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise UserError(f"{folder}: config.json has format {config.get('format')!r}; this version reads {FORMAT}")
    return config


def load_image_encoder(folder: Path) -> ImageEncoder:
    """The image encoder of any model folder of ours, in evaluation mode, on the CPU.

    Raises:
        UserError: not a model folder, or tensors are missing or of another shape.
    """
    config = read_config(folder)
    encoder = ImageEncoder(validate(ImageConfig, config["image"], f"{folder}/config.json"))
    state = read_safetensors(folder / "model.safetensors")
    tower = {k.removeprefix("image."): v for k, v in state.items() if k.startswith("image.")}
    load_weights(encoder, tower, str(folder), minimum=1.0)
    return encoder.eval()


def load_dual(folder: Path) -> DualEncoder:
    """The dual encoder of a folder that ``vlp align`` wrote, in evaluation mode, on the CPU.

    Raises:
        UserError: not a model folder, no dual encoder, or tensors are missing or of another shape.
    """
    config = read_config(folder)
    if "dual" not in config:
        raise UserError(f"{folder} holds no image-text model (kind '{config['kind']}'); give the output of `vlp align`")
    image = ImageEncoder(validate(ImageConfig, config["image"], f"{folder}/config.json"))
    model = DualEncoder(
        image, load_text_parts(folder, config), validate(DualConfig, config["dual"], f"{folder}/config.json")
    )
    load_weights(model, read_safetensors(folder / "model.safetensors"), str(folder), minimum=1.0)
    return model.eval()


def load_text_parts(folder: Path, config: Mapping[str, Any]) -> TextEncoder:
    """The text tower that ``config.json`` describes, with its tokenizer and random weights."""
    values = dict(config["text"])
    backbone, pad = values.pop("backbone"), values.pop("pad", None)
    text = validate(TextConfig, values, f"{folder}/config.json")
    return TextEncoder(text, Tokenizer.from_folder(folder, text.max_length, pad), backbone)


def save_text_tower(folder: Path, text: TextEncoder, card: Mapping[str, Any]) -> None:
    """Write a text tower as a transformers folder, which the setting ``text.folder`` of ``vlp align`` reads.

    Args:
        card: ``licence``, ``summary`` (Markdown) and lines, as for :func:`save_model`.
    """
    write_text_model(text, folder)
    lines = ["---", f"license: {card.get('licence', UNSPECIFIED)}", "library_name: transformers", "---", ""]
    lines += ["# Text tower", "", str(card.get("summary", "")), "", f"- pooling: {text.config.pooling}"]
    lines += [f"- max length: {text.config.max_length} tokens", f"- torch: {torch.__version__}"]
    lines += [f"- {k.replace('_', ' ')}: {v}" for k, v in card.items() if k not in ("licence", "summary")]
    write_text_atomic(folder / "README.md", "\n".join(lines) + "\n")


def _card_text(description: Mapping[str, Any], card: Mapping[str, Any], parameters: int) -> str:
    reserved = {"licence", "kind", "fingerprints", "summary"}
    lines = ["---", f"license: {description['licence']}", "library_name: vlp", "---", "", "# Model card", ""]
    lines += [str(card.get("summary", "Made by vlp.")), ""]
    lines += [f"- kind: {description['kind']}", f"- numbers: {parameters:,}", f"- torch: {torch.__version__}"]
    lines += [f"- image tower: {description['image']['name']} at {description['image']['image_size']} pixels"]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in card.items() if key not in reserved]
    lines += [f"- fingerprint of {key}: {value}" for key, value in description["fingerprints"].items()]
    lines += ["", "Not a medical device: for research only, not for diagnosis."]
    return "\n".join(lines) + "\n"
