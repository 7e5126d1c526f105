"""``vlp export``: a model folder of ours as a folder of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from anonymize.console import Console, UserError
from anonymize.files import write_json, write_text_atomic
from vlp.hub.folder import load_dual, load_image_encoder, read_config
from vlp.hub.licence import check_licences
from vlp.hub.preprocessing import preprocessor

Format = Literal["open-clip", "timm", "transformers", "onnx"]


def run_export(model: Path, out: Path, to: Format, allow_non_commercial: bool, console: Console) -> dict[str, Any]:
    """Write the model folder ``model`` to ``out`` in the form ``to``.

    Returns:
        The summary.

    Raises:
        UserError: not a model folder, a non-commercial licence without ``allow_non_commercial``, or a model that the
            other library cannot express (with the reason).
    """
    config = read_config(model)
    if out.resolve() == model.resolve():
        raise UserError(f"--out {out} is the model folder itself; give another one")
    licence = check_licences({"model": model}, allow_non_commercial, console)["model"]
    out.mkdir(parents=True, exist_ok=True)
    dual = load_dual(model) if "dual" in config else None
    image = dual.image if dual is not None else load_image_encoder(model)
    if to in ("open-clip", "transformers") and dual is None:
        raise UserError(
            f"{model} has no text tower (kind '{config['kind']}'), which {to} needs; export it to timm or onnx"
        )
    if to == "open-clip" and dual is not None:
        from vlp.hub.to_open_clip import write_open_clip

        remarks = write_open_clip(dual, out, siglip=float(dual.logit_bias.detach()) != 0)
    elif to == "transformers" and dual is not None:
        from vlp.hub.to_transformers import write_transformers

        remarks = write_transformers(dual, out, licence)
    elif to == "timm":
        from vlp.hub.to_timm import write_timm

        remarks = write_timm(image, out, licence)
    else:
        from vlp.hub.to_onnx import write_onnx

        remarks = write_onnx(dual or image, out)
    if to in ("onnx", "timm"):
        write_json(out / "preprocessor_config.json", preprocessor(image.config, 1 if to == "onnx" else 3))
    write_text_atomic(out / "README.md", _card(config, licence, to, remarks))
    return {"model": str(model), "format": to, "licence": licence, "out": str(out), "use": remarks}


def _card(config: dict[str, Any], licence: str, to: str, remarks: list[str]) -> str:
    image = config["image"]
    lines = ["---", f"license: {licence}", "tags: [radiography]", "---", "", f"# Exported for {to}", ""]
    lines += [f"- {remark}" for remark in remarks]
    lines += [f"- image tower: {image['name']} at {image['image_size']} pixels, framing {image['framing']}"]
    lines += [f"- fingerprint of {key}: {value}" for key, value in config.get("fingerprints", {}).items()]
    lines += ["", "Not a medical device: for research only, not for diagnosis."]
    return "\n".join(lines) + "\n"
