"""``vlp synonyms``: a text tower that knows the names of concepts, and how well it finds names it has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import normalize

from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.files import fingerprint, write_json
from anonymize.quarantine import write_quarantine
from vlp.corpus.dataset import Corpus
from vlp.corpus.term_files import Term
from vlp.corpus.terminology import TermConfig, Terminology, read_terminology
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.evaluation.intervals import bootstrap, paired_difference, result_of
from vlp.evaluation.metrics import METRICS
from vlp.evaluation.results import Result, library_versions, write_metrics
from vlp.hub import load_dual, save_text_tower
from vlp.hub.licence import check_licences, inherited
from vlp.objectives.synonyms import SynonymConfig, SynonymObjective
from vlp.tasks.retrieval import retrieval_ranks
from vlp.training.checkpoint import starting_point
from vlp.training.config import LoopConfig
from vlp.training.distributed import rank, reseed, world_size
from vlp.training.loop import fit, start_processes
from vlp.training.synonyms import SynonymBatches, SynonymSplit, split_synonyms

_METRICS = ("recall_at_1", "recall_at_5")
_LEXICAL = "character n-grams"


class SynonymsConfig(LoopConfig):
    """Settings of ``vlp synonyms``."""

    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=64, ge=2)  # concepts, of two names each, over all processes
    text: TextConfig = TextConfig()
    terms: TermConfig = TermConfig()
    synonyms: SynonymConfig = SynonymConfig()
    held_names: float = Field(default=0.3, ge=0, lt=1)  # share of the trained concepts of which one name is kept out
    held_concepts: float = Field(default=0.1, ge=0, lt=1)  # share of the concepts that are kept out whole
    queries: int = Field(default=2000, ge=1)  # kept-out names that are asked for, of each kind
    pool: int = Field(default=50_000, ge=10)  # names among which they are looked for
    resamples: int = Field(default=1000, ge=100)
    licence: str = "unspecified"  # of the weights; that of the terminology may forbid to pass them on


def run_synonyms(
    config: SynonymsConfig,
    sources: Sequence[str],
    out: Path,
    console: Console,
    *,
    model: Path | None = None,
    corpus: Path | None = None,
) -> dict[str, Any]:
    """Train a text tower on the synonyms of ``sources``; write a folder that ``text.folder`` of ``vlp align`` reads.

    The tower is that of ``model`` (a folder of ``vlp align``), else that in ``config.text.folder``, else a small one
    from scratch whose tokenizer learns from the names, and from the training reports of ``corpus`` where it is given.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        UserError: terms that cannot be read, too few concepts; see also :func:`vlp.training.loop.fit`.
    """
    start_processes(config)
    shown = console if rank() == 0 else Console("quiet")
    towers = {"--model": model, "text.folder": Path(config.text.folder) if config.text.folder else None}
    used = {what: path for what, path in towers.items() if path is not None}
    licences = check_licences(used, config.allow_non_commercial, shown)
    found = read_terminology(sources, config.terms, shown)
    mark = fingerprint([dataclasses.astuple(term) for term in found.terms])
    identity = [mark, fingerprint(model / "model.safetensors") if model else ""]
    starting_point(out, config, identity)
    split = split_synonyms(found.by_concept(), config.held_names, config.held_concepts, config.seed)
    reseed(config.seed, 0, 0)
    text = _tower(config, split, model, corpus)
    pretrained = model is not None or bool(config.text.folder)
    if pretrained and config.lr > 1e-4:
        shown.warn(f"lr={config.lr} is high for a pretrained tower; SapBERT uses 2e-5")
    batches = SynonymBatches(split.training, config.batch_size, config.seed, rank(), world_size())
    check = _Check(config, split)
    before = check.ranks(_embedder(text)) if rank() == 0 else {}
    if rank() == 0:
        dump_config(config, out / "config.yaml")
        write_quarantine(out / "quarantine.parquet", found.quarantine)
    done = fit(SynonymObjective(text, config.synonyms), batches, config, out, console, identity=identity)
    if rank() != 0:
        return {}
    ranks = {"before": before, "after": check.ranks(_embedder(text)), _LEXICAL: check.ranks(_ngrams(split))}
    results, differences = check.results(ranks)
    write_metrics(out / "metrics.json", results, [], library_versions(), fingerprints={"terms": mark})
    card = {
        "licence": inherited(config.licence, licences),
        "summary": "Trained so that synonyms lie close (SapBERT, arXiv 2010.11784).",
        "concepts": len(split.training),
        "terms": ", ".join(Path(s).name for s in sources),
        "fingerprint_of_terms": mark,
        "steps": done.steps,
    }
    save_text_tower(out, text, card)
    summary = {
        **_counts(found, split),
        "found": [{k: v for k, v in dataclasses.asdict(r).items() if k in _SHOWN} for r in results],
        "after_minus_before": differences,
        **dataclasses.asdict(done),
    }
    write_json(out / "summary.json", summary)
    return summary


_SHOWN = ("model", "split", "metric", "value", "low", "high", "n")


def _counts(found: Terminology, split: SynonymSplit) -> dict[str, Any]:
    return {
        "sources": {name: dataclasses.asdict(count) for name, count in found.counts.items()},
        "names": len(found.terms),
        "concepts": len({term.concept for term in found.terms}),
        "training_concepts": len(split.training),
        "training_names": sum(map(len, split.training.values())),
        "held_out_names": len(split.names),
        "held_out_concepts": len(split.concepts),
    }


def _tower(config: SynonymsConfig, split: SynonymSplit, model: Path | None, corpus: Path | None) -> TextEncoder:
    if model is not None:
        return load_dual(model).text
    if config.text.folder:
        return TextEncoder.from_folder(config.text)
    texts = [term.text for terms in split.training.values() for term in terms]
    if corpus is not None:
        texts += [s.report for s in Corpus.open(corpus).select(split="train", reported=True)]
    return TextEncoder(config.text, Tokenizer.train(texts, config.text.vocabulary, config.text.max_length))


Embedder = Callable[[list[str]], np.ndarray]


def _embedder(text: TextEncoder) -> Embedder:
    """Names [n] to embeddings [n, width] float32, L2-normalised, in evaluation mode."""

    def embed(names: list[str]) -> np.ndarray:
        training = text.training
        text.eval()
        with torch.no_grad():
            parts = [normalize(text(names[i : i + 256]).float(), dim=-1).cpu() for i in range(0, len(names), 256)]
        text.train(training)
        return torch.cat(parts).numpy()

    return embed


def _ngrams(split: SynonymSplit) -> Embedder:
    """The yardstick that knows no meaning: names as counts of their parts of 2 to 4 characters, weighted by rarity."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts: Any = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=2048, alternate_sign=False)
    weights: Any = TfidfTransformer(sublinear_tf=True).fit(counts.transform([t.text for t in split.candidates]))
    return lambda names: weights.transform(counts.transform(names)).toarray().astype(np.float32)


class _Check:
    """Names that were kept out, and those among which they are looked for."""

    def __init__(self, config: SynonymsConfig, split: SynonymSplit) -> None:
        self.config = config
        drawn = np.random.default_rng([config.seed, 13])
        self.queries = {
            "held-out names": _some(split.names, config.queries, drawn),
            "held-out concepts": _some(split.concepts, config.queries, drawn),
        }
        asked = {term.concept for terms in self.queries.values() for term in terms}
        right = [term for term in split.candidates if term.concept in asked]
        others = [term for term in split.candidates if term.concept not in asked]
        self.pool = right + _some(others, max(0, config.pool - len(right)), drawn)

    def ranks(self, embed: Embedder) -> dict[str, np.ndarray]:
        """Rank [n] of the first name of the right concept, by kind of query; {} where nothing was kept out."""
        asked = {kind: terms for kind, terms in self.queries.items() if terms}
        if not asked:
            return {}
        offered = embed([term.text for term in self.pool])
        concepts = [term.concept for term in self.pool]
        return {
            kind: retrieval_ranks(embed([t.text for t in terms]), offered, [t.concept for t in terms], concepts)
            for kind, terms in asked.items()
        }

    def results(self, ranks: dict[str, dict[str, np.ndarray]]) -> tuple[list[Result], list[dict[str, Any]]]:
        """Every metric with its interval over concepts, and what training changed with a paired interval."""
        rows: list[Result] = []
        differences: list[dict[str, Any]] = []
        seed, resamples = self.config.seed, self.config.resamples
        for kind in next(iter(ranks.values())):
            concepts = [term.concept for term in self.queries[kind]]
            size = np.full(len(concepts), float(len(self.pool)))
            for name in _METRICS:
                for model, found in ranks.items():
                    interval = bootstrap(METRICS[name], (found[kind], size), concepts, seed=seed, resamples=resamples)
                    fields = {"task": "synonyms", "protocol": "zero-shot", "seed": seed, "labels": 0.0}
                    rows.append(result_of(METRICS[name], interval, **fields, model=model, data="real", split=kind))
                after, before = ([(ranks[model][kind], size)] for model in ("after", "before"))
                change = paired_difference(METRICS[name], after, before, concepts, seed=seed, resamples=resamples)
                differences.append({"split": kind, "metric": name, **dataclasses.asdict(change)})
        return rows, differences


def _some(terms: Sequence[Term], most: int, drawn: np.random.Generator) -> list[Term]:
    if len(terms) <= most:
        return list(terms)
    return [terms[i] for i in sorted(drawn.choice(len(terms), most, replace=False))]


def check_sources(sources: Sequence[str], text: Path | None, model: Path | None) -> None:
    """Raises:
    UserError: no source of names, or two towers to start from.
    """
    if not sources:
        raise UserError("give --terms: MRCONSO.RRF, an RF2 description file, a CSV, or a language code such as fr")
    if text is not None and model is not None:
        raise UserError("give --text or --model, not both: the tower starts from one of them")
