"""``vlp pretrain`` and ``vlp align`` on a miniature corpus: they learn, resume, and agree over two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from corpus_factory import make_corpus
from safetensors.torch import load_file, save_file

from anonymize.config import validate
from anonymize.console import Console, UserError
from vlp.corpus.body import body_masks
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.weights import load_backbone
from vlp.hub import load_dual, load_image_encoder
from vlp.training.align import AlignConfig, run_align
from vlp.training.config import LoopConfig
from vlp.training.data import DataConfig, ImageBatches, Images, StudyBatches
from vlp.training.monitor import knn_accuracy, probe_findings, rankme
from vlp.training.optim import adamw, parameter_groups, set_weight_decay
from vlp.training.pretrain import PretrainConfig, run_pretrain
from vlp.training.texts import TextSampling

QUIET = Console("quiet")
TINY: dict[str, Any] = {
    "image": {"name": "vit_atto", "image_size": 32},
    "data": {"batch_size": 16},
    "steps": 40,
    "log_every": 5,
    "tensorboard": False,
    "device": "cpu",
}
PRETRAIN = {**TINY, "mae": {"width": 32}, "monitor": 32}
ALIGN = {
    **TINY,
    "text": {"width": 32, "layers": 1, "vocabulary": 400, "max_length": 32},
    "dual": {"width": 32},
    "validation": 16,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), studies=80, size=32)


def test_masked_autoencoding_learns_and_the_folder_loads(corpus: Path, tmp_path: Path) -> None:
    summary = run_pretrain(validate(PretrainConfig, PRETRAIN), corpus, tmp_path, QUIET)
    assert summary["last_loss"] < 0.9 * summary["first_loss"]
    assert summary["images"] == 40 * 16
    assert summary["logs"]["rankme"] > 1
    assert 0 <= summary["logs"]["knn_anatomy"] <= 1
    encoder = load_image_encoder(tmp_path)
    assert encoder(torch.zeros(1, 1, 32, 32)).pooled.shape == (1, encoder.width)
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 40
    assert (tmp_path / "config.yaml").is_file()


def test_self_distillation_learns_without_collapse(corpus: Path, tmp_path: Path) -> None:
    dino = {"outputs": 64, "hidden": 64, "bottleneck": 16, "local_size": 16, "local_crops": 2}
    values = {**PRETRAIN, "objective": "both", "dino": dino, "steps": 100, "lr": 2e-3}
    summary = run_pretrain(validate(PretrainConfig, values), corpus, tmp_path, QUIET)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-2]["mae"] < rows[0]["mae"]
    uniform = float(np.log(64))  # what a collapsed head answers
    assert rows[-2]["dino"] < uniform - 0.2
    assert rows[-2]["ibot"] < uniform - 0.2
    assert summary["logs"]["rankme"] > 4
    assert {"dino", "koleo", "teacher_entropy", "images_per_s", "data_wait", "lr"} <= set(rows[0])
    assert rows[-2]["teacher_entropy"] < 0.95
    assert rows[-2]["teacher_student_kl"] > 0


def test_a_trained_backbone_is_left_alone_until_its_heads_have_learned(corpus: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    image = {"name": "vit_tiny_patch16_224", "image_size": 32, "weights": str(tmp_path / "source.safetensors")}
    whole = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0)
    save_file(whole.state_dict(), tmp_path / "source.safetensors")
    dino = {"outputs": 32, "hidden": 32, "bottleneck": 16, "local_size": 16, "local_crops": 1, "centring": "softmax"}
    values = {**PRETRAIN, "image": image, "objective": "both", "dino": dino, "steps": 4, "monitor": 0}
    started = ImageEncoder(validate(ImageConfig, {**image, "weights": None}))
    load_backbone(started, tmp_path / "source.safetensors")
    before = {f"image.{k}": v for k, v in started.state_dict().items()}
    for share, moves in ((0.0, True), (0.99, False)):
        config = validate(PretrainConfig, {**values, "warmup_frozen": share})
        run_pretrain(config, corpus, tmp_path / str(share), QUIET)
        after = load_file(tmp_path / str(share) / "model.safetensors")
        same = [torch.equal(after[name], value) for name, value in before.items()]
        assert all(same) is not moves
    state = load_file(tmp_path / "0.99" / "checkpoints" / "step-00000004" / "model.safetensors")
    assert state["dino.targets.view.centre"].abs().sum() > 0
    with pytest.raises(UserError, match="patch_dropout"):
        run_pretrain(validate(PretrainConfig, {**PRETRAIN, "image": {"patch_dropout": 0.5}}), corpus, tmp_path, QUIET)


def test_align_learns_and_a_killed_run_ends_with_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    config = validate(AlignConfig, {**ALIGN, "checkpoint_every": 15})
    summary = run_align(config, corpus, tmp_path / "whole", None, QUIET)
    assert summary["last_loss"] < 0.85 * summary["first_loss"]
    assert "validation_median_rank_share" in summary["logs"]

    command = [sys.executable, "-c", _KILLED, str(corpus), str(tmp_path / "killed"), json.dumps(ALIGN)]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr[-2000:]
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = run_align(config, corpus, tmp_path / "killed", None, QUIET)
    assert resumed["resumed_from"] == 15
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    texts = ["Fracture du radius."]
    assert torch.equal(
        load_dual(tmp_path / "whole").encode_texts(texts), load_dual(tmp_path / "killed").encode_texts(texts)
    )


_KILLED = """
import json, os, signal, sys
from pathlib import Path
from anonymize.config import validate
from anonymize.console import Console
from vlp.objectives.contrastive import ContrastiveObjective
from vlp.training.align import AlignConfig, run_align
plain = ContrastiveObjective.forward
def forward(self, batch, step):
    if step == 22:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, step)
ContrastiveObjective.forward = forward
config = validate(AlignConfig, {**json.loads(sys.argv[3]), "checkpoint_every": 15})
run_align(config, Path(sys.argv[1]), Path(sys.argv[2]), None, Console("quiet"))
"""


def test_two_processes_train_as_one(corpus: Path, tmp_path: Path) -> None:
    # float32, no dropout and no augmentation: what is left must not depend on how many processes share the batch
    still = {
        "scale": [1.0, 1.0],
        "ratio": 1.0,
        "rotation": 0.0,
        "brightness": 0,
        "contrast": 0,
        "gamma": 0,
        "noise": 0,
        "blur": 0,
    }
    values = {
        **ALIGN,
        "steps": 6,
        "precision": "fp32",
        "text": {**ALIGN["text"], "dropout": 0.0},
        "contrastive": {"augment": still, "chunk": 4},
        "validation": 0,
    }
    (tmp_path / "c.yaml").write_text(json.dumps({**values, "processes": 2}))
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "vlp.cli"]
    command = [*launch, "align", str(corpus), "--out", str(tmp_path / "two"), "--config", str(tmp_path / "c.yaml")]
    done = subprocess.run(
        [*command, "--json"], cwd=root, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, "only rank 0 prints"
    assert json.loads(lines[0])["processes"] == 2
    one = run_align(validate(AlignConfig, values), corpus, tmp_path / "one", None, QUIET)
    assert json.loads(lines[0])["last_loss"] == pytest.approx(one["last_loss"], rel=1e-4)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=2e-4)


def test_asking_for_more_processes_than_run_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="torchrun"):
        run_pretrain(validate(PretrainConfig, {**PRETRAIN, "processes": 2}), corpus, tmp_path, QUIET)


def test_batches_are_a_pure_function_of_the_index_and_partition_over_ranks(corpus: Path) -> None:
    opened = Corpus.open(corpus)
    studies = opened.select(split="train", reported=True)
    config = DataConfig(batch_size=8)

    def make(rank: int, world: int) -> StudyBatches:
        return StudyBatches(opened, studies, config, TextSampling(), Square(32), 0, rank, world, QUIET)

    first = make(0, 1)
    for index in (7, 0, 31):
        whole = make(0, 1)[index]
        assert whole["ids"] == first[index]["ids"]
        assert whole["texts"] == first[index]["texts"]
        parts = [make(rank, 2)[index] for rank in (0, 1)]
        assert parts[0]["ids"] == whole["ids"][::2]
        assert parts[1]["texts"] == whole["texts"][1::2]
        patients = [study.patient_id for study in studies for i in whole["ids"] if study.study_id == i]
        assert len(patients) == len(set(patients)) == 8
        for position, study_id in enumerate(whole["ids"]):
            study = next(s for s in studies if s.study_id == study_id)
            shown = whole["images"][whole["study_index"] == position]
            squares = [opened.square(ref, Square(32)) for ref in study.images]
            assert all(any(np.array_equal(image[0].numpy(), square) for square in squares) for image in shown)


def test_an_epoch_shows_every_image_once_from_memory_or_disk(corpus: Path) -> None:
    opened = Corpus.open(corpus)
    refs = [ref for study in opened.select(split="train") for ref in study.images][:12]
    kept, read = (ImageBatches(Images(opened, refs, Square(32), mb, QUIET), 4, 0, 0, 1) for mb in (64, 0))
    seen = [image for index in range(3) for image in kept[index]["ids"]]
    assert sorted(seen) == sorted(ref.image_id for ref in refs)
    assert seen != [image for index in range(3, 6) for image in kept[index]["ids"]]
    assert torch.equal(kept[1]["images"], read[1]["images"])
    bodies = [ImageBatches(batches.images, 4, 0, 0, 1, body=True) for batches in (kept, read)]
    for _ in range(2):  # the second time they are remembered
        assert all(torch.equal(b[1]["body"], body_masks(b[1]["images"])) for b in bodies)
    with pytest.raises(UserError, match="batch_size"):
        ImageBatches(Images(opened, refs, Square(32), 0, QUIET), 13, 0, 0, 1)


def test_monitors_know_collapse_and_neighbours() -> None:
    torch.manual_seed(0)
    assert rankme(torch.randn(64, 16)) > 14
    assert rankme(torch.randn(64, 1) @ torch.randn(1, 16)) < 1.5
    centres = torch.eye(3).repeat_interleave(10, dim=0) * 5
    classes = [c for c in "abc" for _ in range(10)]
    assert knn_accuracy(centres + 0.1 * torch.randn(30, 3), classes, centres, classes) == 1.0


def test_the_probe_reads_findings_and_leaves_out_what_it_cannot_know() -> None:
    torch.manual_seed(0)
    has = torch.rand(300) < 0.4
    features = torch.randn(300, 8)
    features[:, 3] += 3 * has
    chance = torch.rand(300) < 0.5
    rows = [{"fracture": float(a), "effusion": float(b), "cast": 0.0} for a, b in zip(has, chance, strict=True)]
    for row in rows[::3]:
        del row["effusion"]
    for i, row in enumerate(rows):
        if i < 6:
            row["hardware"] = 1.0  # too few, and one answer only
    found = probe_findings(features[:200], rows[:200], features[200:], rows[200:])
    assert set(found) == {"probe_fracture", "probe_effusion", "probe"}
    assert found["probe_fracture"] > 0.95
    assert 0.3 < found["probe_effusion"] < 0.7
    assert found["probe"] == pytest.approx((found["probe_fracture"] + found["probe_effusion"]) / 2)
    assert probe_findings(features[:200], [{}] * 200, features[200:], [{}] * 100) == {}


def test_weight_decay_follows_a_cosine_where_there_is_any() -> None:
    config = LoopConfig(steps=11, weight_decay=0.04, final_weight_decay=0.4)
    optimizer = adamw(parameter_groups(torch.nn.Linear(3, 2), config), config)
    seen = []
    for step in (0, 5, 10):
        set_weight_decay(optimizer, step, config)
        seen.append(sorted(group["weight_decay"] for group in optimizer.param_groups))
    assert seen == [[0.0, pytest.approx(wanted)] for wanted in (0.04, 0.22, 0.4)]
