"""Text models on this machine: folders of transformers and of sentence-transformers, and whether their parts belong
together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from anonymize.console import UserError
from anonymize.files import read_json
from vlp.encoders.tokenizer import Tokenizer

_WHOLE = (
    0.9  # share of a table of tokens that the tokenizer must know; tables are padded by a few rows, never by tenths
)


@dataclass(frozen=True)
class TextFolder:
    """A text model.

    Attributes:
        path: where config.json, the weights and tokenizer.json lie.
        config: config.json as it is written.
        pooling: how sentence-transformers pools it; "" where the folder does not say.
    """

    path: Path
    config: Mapping[str, Any]
    pooling: Literal["mean", "cls", ""]


def open_text_folder(folder: Path) -> TextFolder:
    """Look into ``folder``.

    Raises:
        UserError: no model, pickled weights only, no tokenizer.json, or a pooling that this package does not have.
    """
    modules = read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
    path = folder / (modules[0].get("path") or "") if modules else folder
    weights = [path / "model.safetensors", path / "model.safetensors.index.json"]
    pickles = [file.name for ending in ("bin", "pt", "pth") for file in sorted(path.glob(f"*.{ending}"))]
    remedy = (
        'on a machine where you trust its origin: python -c "from transformers import AutoModel, AutoTokenizer as T; '
        f"AutoModel.from_pretrained('{path}').save_pretrained('OUT'); T.from_pretrained('{path}').save_pretrained('OUT')\""
    )
    if not any(file.is_file() for file in weights) and "pytorch_model.bin" in pickles:
        raise UserError(
            f"text.folder: {path} has pickled weights ({pickles[0]}), which are never opened; convert it {remedy}"
        )
    if not (path / "config.json").is_file() or not any(file.is_file() for file in weights):
        raise UserError(f"text.folder: {path} needs config.json, model.safetensors and tokenizer.json (docs/models.md)")
    if not (path / "tokenizer.json").is_file():
        raise UserError(f"text.folder: {path} has no tokenizer.json; save the model with a fast tokenizer {remedy}")
    pooling = next((module.get("path") for module in modules if str(module.get("type", "")).endswith("Pooling")), None)
    said = _pooling(folder / pooling / "config.json") if pooling else ""
    return TextFolder(path, read_json(path / "config.json"), said)


def load_transformer(folder: Path) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """The model of a transformers folder in float32, and those of its weights that the files hold.

    transformers reads it, so that old names of weights and files in several parts are known. Nothing is unpickled and
    no code of the folder is run.

    Raises:
        UserError: an architecture that this transformers does not know, or damaged files.
    """
    options: dict[str, Any] = {
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
        "output_loading_info": True,
        "dtype": torch.float32,
    }
    loudness, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # its report of what is missing is ours to judge
    transformers_logging.disable_progress_bar()
    try:
        try:
            model, info = AutoModel.from_pretrained(str(folder), add_pooling_layer=False, **options)
        except TypeError:  # architectures without a pooler do not know the word
            model, info = AutoModel.from_pretrained(str(folder), **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"text.folder: transformers cannot read {folder}: {reason}") from None
    finally:
        transformers_logging.set_verbosity(loudness)
        if bar:
            transformers_logging.enable_progress_bar()
    missing = {str(key) for key in info["missing_keys"]}
    return model, {key: value for key, value in model.state_dict().items() if key not in missing}


def usable_positions(backbone: nn.Module, config: Mapping[str, Any]) -> int | None:
    """Tokens that a text may have, None where nothing bounds them.

    RoBERTa and its kin (CamemBERT, XLM-R, DrBERT, MPNet) begin to count after their padding id: of 514 positions 512 are
    usable.
    """
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    found = config.get("max_position_embeddings")
    return int(found) if isinstance(found, int) and found > 0 else None


def check_tokenizer(folder: TextFolder, tokenizer: Tokenizer, rows: int) -> None:
    """Refuse a tokenizer that was made for another model: its ids would mean other words.

    Args:
        rows: of the model's token table.

    Raises:
        UserError: ids beyond the table, far fewer tokens than the table has rows, or another id for padding, for the
            first token of a text or for its last than config.json says.
    """
    wrong: list[str] = []
    if tokenizer.highest_id >= rows:
        wrong.append(f"its ids go up to {tokenizer.highest_id}, the model's table has {rows} rows")
    elif len(tokenizer) < _WHOLE * rows:
        wrong.append(f"it knows {len(tokenizer)} tokens, the model's table has {rows} rows")
    first, last = tokenizer.ends
    for keys, found, what in (
        (("pad_token_id",), tokenizer.pad_id, "padding"),
        (("cls_token_id", "bos_token_id"), first, "the first token"),
        (("sep_token_id", "eos_token_id"), last, "the last token"),
    ):
        said = next((folder.config[key] for key in keys if isinstance(folder.config.get(key), int)), None)
        if said is not None and found is not None and said != found:
            wrong.append(f"{what} has id {found}, config.json says {said}")
    if wrong:
        raise UserError(
            f"text.folder: the tokenizer.json of {folder.path} was not made for its model: {'; '.join(wrong)}. "
            "Take both from the same release; if only config.json is wrong, text.check_tokenizer=false"
        )


def _pooling(file: Path) -> Literal["mean", "cls", ""]:
    said = read_json(file) if file.is_file() else {}
    mode = said.get("pooling_mode")
    if not isinstance(mode, str):
        on = [
            key.removeprefix("pooling_mode_")
            for key, value in said.items()
            if key.startswith("pooling_mode_") and value
        ]
        mode = "+".join(on)
    known: dict[str, Literal["mean", "cls", ""]] = {
        "mean_tokens": "mean",
        "mean": "mean",
        "cls_token": "cls",
        "cls": "cls",
    }
    if mode not in known:
        raise UserError(
            f"{file}: pooling '{mode}' is none of mean and cls; choose with text.pooling and move modules.json away"
        )
    return known[mode]
