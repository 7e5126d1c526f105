"""What a person can do wrong when training: one paragraph that names the place and the remedy, and no traceback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import timm
import torch
import yaml
from corpus_factory import make_corpus
from safetensors import SafetensorError
from safetensors.torch import save_file
from text_model_factory import write_family
from typer.testing import CliRunner

from anonymize.files import read_json, write_json
from vlp.cli import app
from vlp.hub.licence import licence_of
from vlp.training import checkpoint

TINY = ["image.name=vit_atto", "image.image_size=32", "data.batch_size=8", "steps=3", "tensorboard=false", "device=cpu"]
PRETRAIN = [*TINY, "mae.width=32", "monitor=0"]
ALIGN = [*TINY, "text.width=32", "text.layers=1", "text.vocabulary=300", "text.max_length=32", "dual.width=32"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("errors") / "corpus", studies=40, size=32)


def refused(monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """Run ``vlp`` with ``words``: it must end with code 2 and print one paragraph, which is returned."""
    monkeypatch.setenv("COLUMNS", "10000")  # one paragraph is one line where nothing wraps it
    monkeypatch.delenv("VLP_DEBUG", raising=False)
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not re.search(r"\b\w+Error\b", lines[0].partition("(")[0])
    return lines[0].removeprefix("error: ")


def edit_manifest(corpus: Path, folder: Path, **columns: str) -> Path:
    """A copy of ``corpus`` with the same value in every row of some columns."""
    folder.mkdir()
    table = pq.read_table(corpus / "manifest.parquet")
    for name, value in columns.items():
        position = table.schema.get_field_index(name)
        table = table.set_column(position, table.schema.field(name), [[value] * len(table)])
    pq.write_table(table, folder / "manifest.parquet")
    (folder / "corpus.json").write_bytes((corpus / "corpus.json").read_bytes())
    (folder / "images").symlink_to(corpus / "images")
    return folder


def test_a_mistyped_backbone_gets_the_nearest_names(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path, *PRETRAIN, "image.name=vit_smal_patch16_224")
    assert "image.name" in told
    assert "did you mean vit_small_patch16_224" in told
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path, *PRETRAIN, "image.name=conv_picco")
    assert "did you mean conv_pico" in told


def test_weights_of_another_architecture_are_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), other)
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path / "m", *PRETRAIN, f"image.weights={other}")
    assert str(other) in told
    assert "architecture" in told


def test_a_bare_dino_file_never_loads_in_silence(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "dino.safetensors"
    state = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    save_file({f"teacher.trunk.{key}": value for key, value in state.items()}, bare)
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path / "m", *PRETRAIN, f"image.weights={bare}")
    assert str(bare) in told
    assert re.search(r"0(\.0)?\s?%|100\s?%|architecture", told)


def test_pickled_weights_are_not_opened(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "opened",))  # type: ignore[return-value]

    pickled = tmp_path / "weights.pth"
    torch.save({"a": Trap()}, pickled)
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path / "m", *PRETRAIN, f"image.weights={pickled}")
    assert str(pickled) in told
    assert "safetensors" in told
    assert not (tmp_path / "opened").exists()


def test_missing_weights_are_named(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(
        monkeypatch, "pretrain", corpus, "--out", tmp_path, *PRETRAIN, "image.weights=/nowhere/w.safetensors"
    )
    assert "/nowhere/w.safetensors" in told


def test_a_tokenizer_of_another_model_is_refused(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vlp.encoders.pretrained", reason="the check of text folders is not part of this version")
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path / "text")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"mot{i}" for i in range(495))]
    rust = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    rust.save(str(tmp_path / "text" / "tokenizer.json"))
    told = refused(
        monkeypatch, "align", corpus, "--out", tmp_path / "m", *ALIGN[:6], f"text.folder={tmp_path / 'text'}"
    )
    assert str(tmp_path / "text") in told
    assert "tokenizer" in told


def test_a_folder_that_is_no_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("pretrain", "align", "plan"):
        told = refused(monkeypatch, command, tmp_path, "--out", tmp_path / "m")
        assert str(tmp_path) in told
        assert "vlp prepare" in told


def test_a_corpus_of_another_version(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = edit_manifest(corpus, tmp_path / "columns")
    table = pq.read_table(old / "manifest.parquet").rename_columns(
        [{"report": "texte"}.get(name, name) for name in pq.read_schema(old / "manifest.parquet").names]
    )
    pq.write_table(table, old / "manifest.parquet")
    told = refused(monkeypatch, "pretrain", old, "--out", tmp_path / "m", *PRETRAIN)
    assert "manifest.parquet" in told
    assert "vlp prepare" in told
    assert "texte" in told
    bare = edit_manifest(corpus, tmp_path / "json")
    (bare / "corpus.json").write_text("{}")
    assert "fingerprint" in refused(monkeypatch, "pretrain", bare, "--out", tmp_path / "m", *PRETRAIN)
    torn = edit_manifest(corpus, tmp_path / "torn")
    (torn / "manifest.parquet").write_bytes((corpus / "manifest.parquet").read_bytes()[:500])
    assert "damaged" in refused(monkeypatch, "align", torn, "--out", tmp_path / "m", *ALIGN)


def test_a_corpus_without_a_split_or_without_training_patients(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, split in enumerate(("", "test")):
        odd = edit_manifest(corpus, tmp_path / f"c{number}", split=split)
        for command, settings in (("pretrain", PRETRAIN), ("align", ALIGN), ("plan", [])):
            told = refused(monkeypatch, command, odd, "--out", tmp_path / "m", *settings)
            assert str(odd) in told
            assert "split.train" in told
            assert (split or "without a split") in told


def test_a_corpus_without_reports(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = edit_manifest(corpus, tmp_path / "c", report="", results="", conclusion="", language="")
    told = refused(monkeypatch, "align", silent, "--out", tmp_path / "m", *ALIGN)
    assert "none of the training studies has a report" in told
    assert "--describe-labels" in told


def test_a_batch_larger_than_the_corpus(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, settings, what in (("pretrain", PRETRAIN, "images"), ("align", ALIGN, "patients")):
        told = refused(monkeypatch, command, corpus, "--out", tmp_path / "m", *settings, "data.batch_size=512")
        assert "data.batch_size=512" in told
        most = re.search(rf"only (\d+) {what}.*at most (\d+)", told)
        assert most
        done = CliRunner().invoke(
            app,
            [
                command,
                str(corpus),
                "--out",
                str(tmp_path / command),
                *settings,
                "steps=1",
                f"data.batch_size={most[2]}",
            ],
        )
        assert done.exit_code == 0, done.stderr


def test_an_unknown_key_of_the_configuration(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"data": {"batchsize": 8}}))
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path / "m", "--config", file)
    assert str(file) in told
    assert "data.batch_size" in told


TASK = ["data=phantom", "resamples=100", "device=cpu", "steps=2", "evaluations=1", "batch_size=8"]


@pytest.fixture(scope="module")
def aligned(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("errors") / "aligned"
    done = CliRunner().invoke(app, ["align", str(corpus), "--out", str(out), *ALIGN])
    assert done.exit_code == 0, done.output
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("pretrain {corpus}", PRETRAIN),
        ("align {corpus}", ALIGN),
        ("synonyms --terms nl", ["steps=2", "batch_size=8", "text.width=16", "text.layers=1", "resamples=100"]),
        ("finetune effusion {corpus} --encoder {model}", [*TASK, "protocol=[linear,finetune]"]),
        ("finetune report-generation {corpus} --encoder {model}", [*TASK, "width=32", "heads=2", "layers=1"]),
    ],
)
def test_the_folder_of_another_run_stays_as_it_is(
    corpus: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, settings: list[str]
) -> None:
    out = tmp_path / "m"
    words = [*command.format(corpus=corpus, model=aligned).split(), "--out", str(out), *settings]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    before = contents(out)
    assert "config.yaml" in before
    told = refused(monkeypatch, *words, "lr=0.5")
    assert "other settings or data" in told
    assert "--out" in told
    assert contents(out) == before
    assert CliRunner().invoke(app, words).exit_code == 0, "the same command goes on"


@pytest.mark.parametrize(
    ("writer", "error"),
    [
        ("save_file", SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")),
        ("save", RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")),
        ("write_json", OSError(28, "No space left on device")),
    ],
)
def test_a_full_disk(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, error: Exception
) -> None:
    """The errors are those that safetensors, torch and Python raised on a full tmpfs."""

    def full(*args: object, **kwargs: object) -> None:
        raise error

    words = ["pretrain", str(corpus), "--out", str(tmp_path / "m"), *PRETRAIN, "checkpoint_every=1"]
    with monkeypatch.context() as patch:
        patch.setattr(torch if writer == "save" else checkpoint, writer, full)
        told = refused(patch, *words)
    assert "disk" in told
    assert "goes on from" in told
    assert CliRunner().invoke(app, words).exit_code == 0, "with room again, the same command goes on"


def test_a_full_gpu(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vlp.training.errors", reason="the loop of this version does not explain a full GPU")
    from vlp.objectives.mae import MaeObjective

    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(MaeObjective, "forward", full)
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path / "m", *PRETRAIN)
    assert "data.batch_size" in told


def test_a_full_gpu_before_the_first_step(
    corpus: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr("vlp.training.replica.adamw", full)
        told = refused(patch, "pretrain", corpus, "--out", tmp_path / "m", *PRETRAIN)
    assert "with the weights of the model" in told
    monkeypatch.setattr("vlp.tasks.evaluate.load_dual", full)
    told = refused(monkeypatch, "evaluate", corpus, "--model", aligned, "--out", tmp_path / "e")
    assert "out of memory" in told


def test_every_command_that_takes_weights_asks_for_their_licence(
    corpus: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = tmp_path / "strict"
    shutil.copytree(aligned, strict)
    write_json(strict / "config.json", read_json(strict / "config.json") | {"licence": "cc-by-nc-4.0"})
    folder = write_family("bert", tmp_path / "bert")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    (tmp_path / "timm").mkdir()
    save_file({}, tmp_path / "timm" / "model.safetensors")
    (tmp_path / "timm" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    out = tmp_path / "out"
    for command in (
        f"pretrain {corpus} image.weights={tmp_path / 'timm'}",
        f"align {corpus} --encoder {strict}",
        f"align {corpus} text.folder={folder}",
        f"finetune effusion {corpus} --encoder {strict}",
        f"finetune report-generation {corpus} --encoder {strict}",
        f"evaluate {corpus} --model {aligned} --model {strict}",
        f"synonyms --terms nl --model {strict}",
        f"synonyms --terms nl --text {folder}",
        f"export {strict} --to onnx",
        f"plan {corpus} --text {folder}",
    ):
        told = refused(monkeypatch, *command.split(), "--out", out)
        assert "cc-by-nc-4.0" in told, command
        assert "--allow-non-commercial" in told, command
        assert not out.exists(), command
    small = ["steps=1", "batch_size=8", "resamples=100", "tensorboard=false", "device=cpu"]
    words = ["synonyms", "--terms", "nl", "--model", str(strict), "--out", str(out), "--allow-non-commercial"]
    done = CliRunner().invoke(app, [*words, *small, "licence=mit"])
    assert done.exit_code == 0, done.output
    assert licence_of(out) == "cc-by-nc-4.0"
    words = ["evaluate", str(corpus), "--model", str(strict), "--out", str(tmp_path / "e"), "--allow-non-commercial"]
    done = CliRunner().invoke(app, [*words, "tasks=effusion", "protocols=knn", "resamples=100", "attention_maps=0"])
    assert done.exit_code == 0, done.output


def test_a_killed_loading_process(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vlp.training.errors", reason="the loop of this version does not explain a killed worker")
    import os
    import signal

    from vlp.training.data import ImageBatches

    def killed(self: object, index: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ImageBatches, "__getitem__", killed)
    told = refused(monkeypatch, "pretrain", corpus, "--out", tmp_path / "m", *PRETRAIN, "workers=1")
    assert "workers" in told
    assert "memory" in told


def test_a_model_folder_of_another_format(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(app, ["pretrain", str(corpus), "--out", str(tmp_path / "p"), *PRETRAIN]).exit_code == 0
    write_json(tmp_path / "p" / "config.json", read_json(tmp_path / "p" / "config.json") | {"format": 99})
    told = refused(monkeypatch, "align", corpus, "--encoder", tmp_path / "p", "--out", tmp_path / "m", *ALIGN)
    assert "config.json" in told
    assert "99" in told
