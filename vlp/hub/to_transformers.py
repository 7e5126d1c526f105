"""The text tower as a folder for transformers and for sentence-transformers; the image tower as TimmWrapperModel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save
from transformers import PreTrainedTokenizerFast

from anonymize.console import UserError
from anonymize.files import write_bytes_atomic, write_json
from vlp.encoders.dual import DualEncoder
from vlp.encoders.text import TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import plain_state
from vlp.hub.to_timm import write_timm

_KIND = "sentence_transformers.models."
_NAMES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>", "<bos>"),
    "sep_token": ("[SEP]", "</s>", "<eos>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def write_transformers(dual: DualEncoder, folder: Path, licence: str) -> list[str]:
    """Write FOLDER/text (``AutoModel``, ``SentenceTransformer``: the shared space) and, where timm has the tower,
    FOLDER/image (``AutoModel``, ``AutoImageProcessor``).

    Returns:
        Remarks for the card.

    Raises:
        UserError: a text pooling that sentence-transformers does not have.
    """
    text = dual.text
    if text.attention is not None:
        raise UserError("text.pooling=attention is of this package; export to onnx, or train with mean or cls")
    write_text_model(text, folder / "text")
    _sentence_parts(dual, folder / "text")
    remarks = [
        f'AutoModel.from_pretrained("{folder / "text"}") gives hidden states, SentenceTransformer("{folder / "text"}") '
        "the vector in the space shared with images"
    ]
    if text.config.windows > 1:
        remarks.append(f"longer texts are cut at {text.config.max_length} tokens there; windows are of this package")
    try:
        remarks += write_timm(dual.image, folder / "image", licence)
        write_bytes_atomic(
            folder / "image" / "projection.safetensors", save(plain_state(dual.image_projection.state_dict()))
        )
        remarks.append("image/projection.safetensors holds the matrix [E, D] from pooled features to the shared space")
    except UserError as error:
        remarks.append(f"no image tower: {error}")
    return remarks


def write_text_model(text: TextEncoder, folder: Path, changes: dict[str, Any] | None = None) -> None:
    """config.json (with ``changes``), model.safetensors and the tokenizer, without pooling and projection."""
    folder.mkdir(parents=True, exist_ok=True)
    config = text.backbone.config.to_dict()
    config |= {
        "architectures": [type(text.backbone).__name__],
        "pad_token_id": text.tokenizer.pad_id,
        **(changes or {}),
    }
    write_bytes_atomic(folder / "model.safetensors", save(plain_state(text.backbone.state_dict()), {"format": "pt"}))
    write_json(folder / "config.json", config)
    write_tokenizer(text.tokenizer, folder, text.config.max_length)


def write_tokenizer(tokenizer: Tokenizer, folder: Path, max_length: int) -> None:
    """tokenizer.json and what says which of its tokens are marks."""
    from tokenizers import Tokenizer as RustTokenizer

    marks = {
        key: next((name for name in names if tokenizer.id(name) is not None), None) for key, names in _NAMES.items()
    }
    marks["pad_token"] = tokenizer.pad
    fast = PreTrainedTokenizerFast(
        tokenizer_object=RustTokenizer.from_str(tokenizer.to_json()),
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{key: name for key, name in marks.items() if name is not None},
    )
    fast.save_pretrained(folder)


def _sentence_parts(dual: DualEncoder, folder: Path) -> None:
    """Pooling, projection and normalisation, so that one call gives the vector that images are compared with."""
    text = dual.text
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")]
    modules = [{"idx": i, "name": str(i), "path": path, "type": _KIND + name} for i, (path, name) in enumerate(parts)]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": text.config.max_length, "do_lower_case": False})
    modes = {"cls_token": text.pooling == "cls", "mean_tokens": text.pooling == "mean", "max_tokens": False}
    said = {f"pooling_mode_{key}": value for key, value in modes.items()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": text.width, **said})
    dense = {"in_features": text.width, "out_features": dual.width, "bias": False}
    write_json(folder / "2_Dense" / "config.json", {**dense, "activation_function": "torch.nn.modules.linear.Identity"})
    weights = {f"linear.{key}": value for key, value in dual.text_projection.state_dict().items()}
    write_bytes_atomic(folder / "2_Dense" / "model.safetensors", save(plain_state(weights)))
    (folder / "3_Normalize").mkdir(exist_ok=True)
