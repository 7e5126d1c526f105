"""What of pretraining and of the losses helps, on a phantom: every variant with several seeds, measured on the test split.

    vlp run configs/ablation.yaml --out runs/ablation
    python benchmarks/ablation.py runs/ablation --out runs/ablation/ablation [--seeds 0 1 2] [--only scratch local]

A variant and a seed are one run; a finished one is kept in OUT/runs and not repeated, and two processes may share the
work by their --seeds. The seed is that of weights, batches and augmentation. Every variant has the same settings but for
what its row says. Settings are chosen with --split validation, whose numbers lie apart, and without probes. Prints one
JSON; OUT/ablation.md holds the tables.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ablation_data import boxes_by_image, write_templated
from ablation_measure import POINTED, Bench, measure
from ablation_table import summarise, tables
from ablation_variants import ALIGN, CLAIMS, PRETRAIN, VARIANTS, Variant

from anonymize.config import load_config
from anonymize.console import Console
from anonymize.files import read_json, write_json, write_text_atomic
from vlp.corpus.dataset import Corpus
from vlp.encoders.image import ImageEncoder
from vlp.hub import load_dual, load_image_encoder
from vlp.training.align import AlignConfig, run_align
from vlp.training.pretrain import PretrainConfig, run_pretrain

TEMPLATES, TEMPLATE_SHARE = 20, 0.4
MEASURED = ("hand", "knee")  # anatomies whose reports hold a measurement, so that none fits another study


@dataclass(frozen=True)
class Budget:
    """Steps of the alignment, of the pretraining, and of the alignment that has the time of both."""

    align: int
    pretrain: int
    long: int
    image_size: int

    @property
    def name(self) -> str:
        """Runs of other budgets lie in other folders."""
        return f"{self.align}-{self.pretrain}-{self.long}-{self.image_size}"


class Ablation:
    """The runs below ``out``."""

    def __init__(self, run: Path, out: Path, budget: Budget, split: str) -> None:
        self.run, self.out, self.budget, self.split = run, out, budget, split
        self.corpus = run / "corpus"
        self.console = Console("quiet")
        self._bench: Bench | None = None

    @property
    def bench(self) -> Bench:
        """What is asked of every model. The corpus as it is, also for models of templates."""
        if self._bench is None:
            corpus = Corpus.open(self.corpus, cache_mb=512)
            refs = {ref.image_id: ref for study in corpus.select(self.split) for ref in study.images}
            self._bench = Bench.of(corpus, boxes_by_image(self.run, refs, POINTED), "fr", self.split)
        return self._bench

    @property
    def templated(self) -> Path:
        """The corpus of templates."""
        folder = self.out / "templated"
        if not (folder / "about.json").is_file():
            write_json(
                folder / "about.json", write_templated(self.corpus, folder, TEMPLATE_SHARE, TEMPLATES, 0, MEASURED)
            )
        return folder

    def result(self, variant: Variant, seed: int) -> Path:
        """Where the numbers of a run are, finished or not."""
        runs = "runs" if self.split == "test" else f"runs-{self.split}"
        return self.out / runs / self.budget.name / f"{variant.name}-{seed}.json"

    def do(self, variant: Variant, seed: int) -> None:
        """Train and measure, unless that is done."""
        path = self.result(variant, seed)
        if path.is_file():
            return
        encoder = self._start(variant, seed)
        if variant.align is None:
            torch.manual_seed(seed)
            settings = load_config(PretrainConfig, None, [f"image.image_size={self.budget.image_size}"])
            image = load_image_encoder(encoder) if encoder else ImageEncoder(settings.image)
            dual, cost = None, read_json(encoder / "cost.json") if encoder else {"cpu_seconds": 0.0}
        else:
            model = self._aligned(variant, seed, encoder)
            cost, dual = read_json(model / "cost.json"), load_dual(model)
            image = dual.image
        rows = measure(self.bench, image, dual, variant.probes and self.split == "test")
        write_json(path, {**cost, "rows": {name: found.to_json() for name, found in rows.items()}})

    def again(self, variant: Variant, seed: int) -> None:
        """Measure what was aligned once more, but for its probes."""
        path = self.result(variant, seed)
        if path.is_file() and variant.align is not None:
            dual = load_dual(self._model(variant.name, seed))
            stored = read_json(path)
            rows = measure(self.bench, dual.image, dual, probes=False)
            stored["rows"] |= {name: found.to_json() for name, found in rows.items()}
            write_json(path, stored)

    def _start(self, variant: Variant, seed: int) -> Path | None:
        """The model folder that the variant starts from."""
        if not variant.start:
            return self._pretrained(variant.pretrain, seed) if variant.pretrain else None
        self.do(next(other for other in VARIANTS if other.name == variant.start), seed)
        return self._model(variant.start, seed)

    def _model(self, name: str, seed: int) -> Path:
        return self.out / "models" / self.budget.name / f"{name}-{seed}"

    def _aligned(self, variant: Variant, seed: int, encoder: Path | None) -> Path:
        folder = self._model(variant.name, seed)
        if not (folder / "cost.json").is_file():
            assert variant.align is not None
            steps = self.budget.long if variant.long else self.budget.align * variant.times
            size = [] if encoder else [f"image.image_size={self.budget.image_size}"]
            config = load_config(AlignConfig, None, [*ALIGN, *size, *variant.align, f"steps={steps}", f"seed={seed}"])
            corpus = self.templated if variant.templated else self.corpus
            started = time.process_time()
            summary = run_align(config, corpus, folder, encoder, self.console)
            _finish(folder, started, summary)
        return folder

    def _pretrained(self, objective: str, seed: int) -> Path:
        folder = self._model(f"pretrained-{objective}", seed)
        if not (folder / "cost.json").is_file():
            asked = [f"objective={objective}", f"image.image_size={self.budget.image_size}"]
            asked += [f"steps={self.budget.pretrain}", f"seed={seed}"]
            started = time.process_time()
            summary = run_pretrain(
                load_config(PretrainConfig, None, [*PRETRAIN, *asked]), self.corpus, folder, self.console
            )
            _finish(folder, started, summary)
        return folder


def _finish(folder: Path, started: float, summary: dict[str, Any]) -> None:
    """Leave the model and what it cost in ``folder``; ``started`` in CPU seconds of this process."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    write_json(folder / "cost.json", {"cpu_seconds": round(time.process_time() - started, 1), "training": summary})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=[variant.name for variant in VARIANTS])
    parser.add_argument("--align-steps", type=int, default=600)
    parser.add_argument("--pretrain-steps", type=int, default=400)
    parser.add_argument("--long-steps", type=int, default=1200)
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument(
        "--tables", action="store_true", help="train nothing; make the tables of the runs that are there"
    )
    parser.add_argument("--again", action="store_true", help="measure the saved models again, but for their probes")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="what is measured on")
    options = parser.parse_args()
    budget = Budget(options.align_steps, options.pretrain_steps, options.long_steps, options.image_size)
    ablation = Ablation(options.run, options.out, budget, options.split)
    wanted = [variant for variant in VARIANTS if not options.only or variant.name in options.only]
    if not options.tables:
        for variant in wanted:
            for seed in options.seeds:
                (ablation.again if options.again else ablation.do)(variant, seed)
    runs: dict[str, dict[int, Any]] = {}
    for variant in VARIANTS:
        paths = {seed: ablation.result(variant, seed) for seed in options.seeds}
        runs[variant.name] = {seed: read_json(path) for seed, path in paths.items() if path.is_file()}
    summary = summarise({name: found for name, found in runs.items() if found}, CLAIMS)
    templated = options.out / "templated/about.json"
    summary |= {"budget": vars(budget), "templates": read_json(templated) if templated.is_file() else {}}
    name = "ablation" if options.split == "test" else f"ablation-{options.split}"
    write_json(options.out / f"{name}.json", summary)
    write_text_atomic(options.out / f"{name}.md", tables(summary, {v.name: v.about for v in VARIANTS}))
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
