"""Models leave for open_clip, timm, transformers and ONNX, and answer there as they do here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from text_model_factory import REPORTS, write_family
from torch import nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
from typer.testing import CliRunner

from anonymize.console import Console, UserError
from vlp.cli import app
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_backbone
from vlp.hub import load_dual, save_model
from vlp.hub.export import Format, run_export
from vlp.hub.licence import inherited, licence_of, non_commercial

TEXTS = [REPORTS[0], "Pas de fracture du radius."]
SIDE = 32
QUIET = Console("quiet")
TINY_VIT = "test_vit"  # timm's own architecture for tests: 6 blocks of width 64, patches of 16
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def tower(name: str = TINY_VIT, **settings: Any) -> ImageEncoder:
    torch.manual_seed(0)
    values = {"name": name, "image_size": SIDE, "mean": 0.4, "std": 0.2, "pooling": "cls", **settings}
    image = ImageEncoder(ImageConfig.model_validate(values))
    for parameter in image.parameters():  # class tokens and biases start at 0 and would hide a mistake
        nn.init.normal_(parameter, std=0.1) if parameter.ndim <= 1 or parameter.shape[0] == 1 else None
    return image.eval()


def dual(folder: Path, image: ImageEncoder | None = None, family: str = "xlm-roberta", **text: Any) -> DualEncoder:
    where = write_family(family, folder / f"{family}-source")
    words = TextEncoder.from_folder(TextConfig.model_validate({"folder": str(where), "max_length": 64, **text}))
    return DualEncoder(image or tower(), words, DualConfig(width=24)).eval()


def pictures() -> tuple[list[Image.Image], torch.Tensor]:
    """Gray pictures as RGB, and what our tower takes: float [2, 1, SIDE, SIDE], 0-1."""
    gray = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE), dtype=np.uint8)
    return [Image.fromarray(one).convert("RGB") for one in gray], torch.from_numpy(gray)[:, None].float() / 255


def export(model: nn.Module, folder: Path, to: Format, **card: Any) -> Path:
    save_model(folder / "model", model, {"licence": "mit", **card})
    run_export(folder / "model", folder / "out", to, False, QUIET)
    return folder / "out"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(("family", "words"), [("xlm-roberta", "mean"), ("camembert", "cls"), ("bert", "mean")])
def test_open_clip_answers_alike(tmp_path: Path, pooling: str, family: str, words: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    model = dual(tmp_path, tower(pooling=pooling), family, pooling=words)
    nn.init.constant_(model.logit_scale, 2.5)
    folder = export(model, tmp_path, "open-clip")
    theirs, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    theirs.eval()
    shown, pixels = pictures()
    with torch.no_grad():
        wanted = model.encode_images(model.image.normalise(pixels))
        found = theirs.encode_image(torch.stack([preprocess(one) for one in shown]), normalize=True)
        torch.testing.assert_close(found, wanted, **CLOSE)
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
        torch.testing.assert_close(theirs.encode_text(tokens, normalize=True), model.encode_texts(TEXTS), **CLOSE)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3
    assert float(theirs.logit_scale.detach()) == 2.5


@pytest.mark.parametrize("name", ["test_resnet", "vit_xsmall_patch16_clip_224"])
def test_open_clip_takes_other_towers_of_timm(tmp_path: Path, name: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    model = dual(tmp_path, tower(name, pooling="mean"))
    nn.init.constant_(model.logit_bias, -3.0)  # as SigLIP leaves it
    folder = export(model, tmp_path, "open-clip")
    theirs, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    shown, pixels = pictures()
    with torch.no_grad():
        found = theirs.eval().encode_image(torch.stack([preprocess(one) for one in shown]), normalize=True)
        torch.testing.assert_close(found, model.encode_images(model.image.normalise(pixels)), **CLOSE)
    assert float(theirs.logit_bias.detach()) == -3.0


def test_open_clip_of_a_tower_trained_here_from_scratch(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    words = TextEncoder(TextConfig(width=32, layers=2, max_length=48), Tokenizer.train(REPORTS, 400, 48))
    model = DualEncoder(tower(), words, DualConfig(width=16)).eval()
    folder = export(model, tmp_path, "open-clip")
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode_text(tokens, normalize=True), model.encode_texts(TEXTS), **CLOSE)


@pytest.mark.parametrize(
    ("image", "family", "reason"),
    [
        ({"name": "conv_pico", "pooling": "auto"}, "bert", "conv_pico"),
        ({"pooling": "cls_mean"}, "bert", "cls_mean"),
        ({"name": "vit_atto"}, "bert", "of this package"),
        ({"name": "test_vit2", "pooling": "mean"}, "bert", "registers"),
        ({"name": "test_convnext", "pooling": "mean"}, "bert", "another way"),
        ({}, "modernbert", "type modernbert"),
    ],
)
def test_what_open_clip_cannot_express_is_refused(
    tmp_path: Path, image: dict[str, Any], family: str, reason: str
) -> None:
    model = dual(tmp_path, tower(**image), family)
    with pytest.raises(UserError, match=reason):
        export(model, tmp_path, "open-clip")


@pytest.mark.parametrize("pooling", ["cls", "mean", "cls_mean"])
def test_timm_and_transformers_read_the_image_tower(tmp_path: Path, pooling: str) -> None:
    image = tower(pooling=pooling)
    folder = export(image, tmp_path, "timm")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    shown, pixels = pictures()
    settings = timm.data.resolve_model_data_config(theirs)
    transform = timm.data.create_transform(**settings, is_training=False)
    seen = torch.stack([transform(one) for one in shown])  # pyright: ignore
    torch.testing.assert_close(seen[:, :1], image.normalise(pixels))
    with torch.no_grad():
        wanted = image(image.normalise(pixels))
        tokens = theirs.forward_features(seen)
        torch.testing.assert_close(tokens[:, 1:], wanted.patches, **CLOSE)
        pooled = theirs(seen)
        if pooling == "cls_mean":
            pooled = pooled[:, 0] + pooled[:, 1:].mean(dim=1)
        torch.testing.assert_close(pooled, wanted.pooled, **CLOSE)
        wrapped = AutoModel.from_pretrained(str(folder)).eval()
        processor = AutoImageProcessor.from_pretrained(str(folder))
        values = processor(shown, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(wrapped(values).last_hidden_state[:, 1:], wanted.patches, **CLOSE)
    assert licence_of(folder) == "mit"


def test_a_tower_that_left_comes_back(tmp_path: Path) -> None:
    """The exported folder, timm's or open_clip's, as ``image.weights``."""
    model = dual(tmp_path, tower(pooling="mean"))
    _, pixels = pictures()
    for to in ("timm", "open-clip"):
        folder = export(model if to == "open-clip" else model.image, tmp_path / to, to)
        again = tower(pooling="mean", mean=0.4)
        for parameter in again.parameters():
            nn.init.ones_(parameter)
        assert load_backbone(again, folder) == 1.0
        with torch.no_grad():
            torch.testing.assert_close(
                again(again.normalise(pixels)).pooled, model.image(model.image.normalise(pixels)).pooled, **CLOSE
            )


@pytest.mark.parametrize("family", ["camembert", "bert", "modernbert", "deberta-v3"])
def test_transformers_reads_the_text_tower(tmp_path: Path, family: str) -> None:
    model = dual(tmp_path, tower("vit_atto"), family)
    folder = export(model, tmp_path, "transformers")
    tokens = AutoTokenizer.from_pretrained(str(folder / "text"))(TEXTS, padding=True, return_tensors="pt")
    ids, mask = model.text.tokenizer(TEXTS)
    assert tokens["input_ids"].tolist() == ids.tolist()
    assert set(tokens) == {"input_ids", "attention_mask"}
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(str(folder / "text")).eval()(**tokens).last_hidden_state
        torch.testing.assert_close(theirs, model.text.tokens(ids, mask), **CLOSE)
    assert "of this package" in (folder / "README.md").read_text()  # this image tower stays
    again = TextEncoder.from_folder(TextConfig(folder=str(folder / "text"), max_length=64)).eval()
    torch.testing.assert_close(again(TEXTS), model.text(TEXTS), **CLOSE)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_transformers_gives_the_shared_space(tmp_path: Path, pooling: str) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    model = dual(tmp_path, pooling=pooling)
    folder = export(model, tmp_path, "transformers")
    found = library.SentenceTransformer(str(folder / "text"), device="cpu").encode(TEXTS)
    torch.testing.assert_close(torch.from_numpy(found), model.encode_texts(TEXTS).detach(), **CLOSE)


@pytest.mark.parametrize(
    ("family", "image"),
    [
        ("camembert", {"name": "conv_pico", "pooling": "auto"}),
        ("bert", {"pooling": "cls_mean"}),
        ("modernbert", {}),
        ("deberta-v3", {}),
    ],
)
def test_onnx_graphs_answer_alike(tmp_path: Path, family: str, image: dict[str, Any]) -> None:
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    model = dual(tmp_path, tower(**image), family)
    folder = export(model, tmp_path, "onnx")
    graphs = {name: runtime.InferenceSession(str(folder / f"{name}.onnx")) for name in ("image", "text")}
    for count in (1, 2, 5):
        pixels = torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(count))
        (found,) = graphs["image"].run(None, {"pixels": pixels.numpy()})
        with torch.no_grad():
            wanted = model.encode_images(model.image.normalise(pixels))
        torch.testing.assert_close(torch.from_numpy(found), wanted, **CLOSE)
    tokens = Tokenizer.from_folder(folder, 64)
    for texts in (TEXTS, TEXTS[1:], [*TEXTS, " ".join(REPORTS)]):
        ids, mask = tokens(texts)
        (found,) = graphs["text"].run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model.encode_texts(texts).detach(), **CLOSE)


def test_onnx_of_an_image_encoder(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    image = tower("vit_atto", pooling="auto")
    folder = export(image, tmp_path, "onnx")
    assert not (folder / "text.onnx").exists()
    _, pixels = pictures()
    (found,) = runtime.InferenceSession(str(folder / "image.onnx")).run(None, {"pixels": pixels.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), image(image.normalise(pixels)).pooled, **CLOSE)


def test_the_command_guards_the_licence_and_says_what_to_do(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tower(), {"licence": "CC BY-NC 4.0"})
    arguments = ["export", str(tmp_path / "model"), "--to", "timm", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*arguments, "--allow-non-commercial", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["licence"] == "CC BY-NC 4.0"
    assert "license: CC BY-NC 4.0" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(UserError, match="no text tower"):
        run_export(tmp_path / "model", tmp_path / "clip", "open-clip", True, QUIET)
    with pytest.raises(UserError, match="itself"):
        run_export(tmp_path / "model", tmp_path / "model", "timm", True, QUIET)


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        ("cc-by-nc-4.0", True),
        ("CC-BY-NC-SA-4.0", True),
        ("CC BY-NC-ND 4.0", True),
        ("fair-noncommercial-research-license", True),
        ("apple-amlr", True),
        ("PolyForm Noncommercial 1.0.0", True),
        ("Stanford University Dataset Research Use Agreement", True),
        ("mit", False),
        ("apache-2.0", False),
        ("cc-by-4.0", False),
        ("dinov3-license", False),
        ("unspecified", False),
        ("ncsa", False),  # the University of Illinois licence
        ("gpl-3.0", False),
    ],
)
def test_licences_are_told_apart(licence: str, wanted: bool) -> None:
    assert non_commercial(licence) is wanted


def test_a_licence_is_read_where_each_library_writes_it(tmp_path: Path) -> None:
    assert licence_of(tmp_path) == "unspecified"
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: apple-amlr\n---\n# Title\n")
    assert licence_of(tmp_path) == "apple-amlr"
    assert licence_of(tmp_path / "open_clip_model.safetensors") == "apple-amlr"
    (tmp_path / "README.md").write_text("---\nlicense: [mit, cc-by-nc-4.0]\n---\n")
    assert licence_of(tmp_path) == "cc-by-nc-4.0"
    (tmp_path / "README.md").write_text("---\n: {broken\n---\n")
    assert licence_of(tmp_path) == "unspecified"
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"license": "cc-by-nc-4.0"}}))
    assert licence_of(tmp_path) == "cc-by-nc-4.0"


def test_a_licence_goes_on() -> None:
    assert inherited("unspecified", {}) == "unspecified"
    assert inherited("unspecified", {"a": "mit"}) == "mit"
    assert inherited("unspecified", {"a": "mit", "b": "apache-2.0"}) == "unspecified"
    assert inherited("apache-2.0", {"a": "mit", "b": "cc-by-nc-4.0"}) == "cc-by-nc-4.0"
    assert inherited("cc-by-nc-sa-4.0", {"b": "cc-by-nc-4.0"}) == "cc-by-nc-sa-4.0"


def test_an_exported_folder_needs_nothing_of_the_model_folder(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    model = dual(tmp_path)
    folder = export(model, tmp_path, "open-clip")
    wanted = load_dual(tmp_path / "model").encode_texts(TEXTS).detach()
    shutil.rmtree(tmp_path / "model")
    shutil.rmtree(tmp_path / "xlm-roberta-source")
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode_text(tokens, normalize=True), wanted, **CLOSE)
