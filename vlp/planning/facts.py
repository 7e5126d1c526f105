"""What a corpus holds, as far as a plan for training depends on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from anonymize.console import UserError
from vlp.corpus.dataset import Corpus, no_training
from vlp.encoders.tokenizer import Tokenizer
from vlp.study import SPLITS, Study
from vlp.training.texts import statements, whole

_READ = 20_000  # reports whose tokens and statements are counted


@dataclass(frozen=True)
class TextFacts:
    """The reports of training studies with images. Lengths are in tokens of a tokenizer trained on them."""

    reports: int
    patients: int
    repeated: float  # share of reports that are word for word the report of another study
    repeated_statements: float  # share of statements that stand in more than one report
    vocabulary: int  # of the tokenizer that counted
    median_tokens: int
    p99_tokens: int
    longest_tokens: int


@dataclass(frozen=True)
class CorpusFacts:
    """Counts by split (``train``, ``validation``, ``test``), and what the images and reports are like."""

    fingerprint: str
    studies: dict[str, int]
    patients: dict[str, int]
    images: dict[str, int]
    reported: dict[str, int]  # studies with images and a report
    languages: dict[str, int]  # training reports
    anatomies: dict[str, int]  # training studies
    labels: dict[str, int]  # training studies that have a value
    working_size: int  # long side in pixels at which images are stored
    median_long_side: int  # of the training images as they are stored
    text: TextFacts | None  # None without training reports
    near_duplicates: dict[str, int] = field(default_factory=dict)  # pairs of images, as `vlp prepare` counted them


def look_at_corpus(corpus: Corpus, tokenizer: Tokenizer | None = None) -> CorpusFacts:
    """Count what is in ``corpus``. No pixel is read.

    Args:
        tokenizer: counts tokens; None trains one on the reports, as ``vlp align`` does.

    Raises:
        UserError: the training split has no image.
    """
    by_split = {split: [s for s in corpus.studies if s.split == split and s.images] for split in SPLITS}
    train = by_split["train"]
    if not train:
        raise UserError(no_training(corpus))
    reported = {split: [s for s in studies if whole(s).strip()] for split, studies in by_split.items()}
    sides = [max(ref.height, ref.width) for study in train for ref in study.images]
    return CorpusFacts(
        fingerprint=corpus.fingerprint,
        studies={split: len(studies) for split, studies in by_split.items()},
        patients={split: len({s.patient_id for s in studies}) for split, studies in by_split.items()},
        images={split: sum(len(s.images) for s in studies) for split, studies in by_split.items()},
        reported={split: len(studies) for split, studies in reported.items()},
        languages=dict(Counter(study.language or "unknown" for study in reported["train"]).most_common()),
        anatomies=dict(Counter(study.anatomy for study in train).most_common()),
        labels=dict(Counter(name for study in train for name in study.labels).most_common()),
        working_size=corpus.size,
        median_long_side=int(np.median(sides)),
        text=_text_facts(reported["train"], tokenizer) if reported["train"] else None,
        near_duplicates=dict(corpus.info.get("near_duplicates", {})),
    )


def vocabulary_for(reports: int) -> int:
    """Size of a tokenizer for so many reports: it doubles with every tenfold, from 4,000."""
    return 4000 if reports < 5_000 else 8000 if reports < 50_000 else 16_000 if reports < 500_000 else 32_000


def _text_facts(studies: list[Study], tokenizer: Tokenizer | None) -> TextFacts:
    texts = [whole(study) for study in studies]
    read = texts[:: max(1, len(texts) // _READ)][:_READ]
    counter = tokenizer or Tokenizer.train(read, vocabulary_for(len(texts)), max_length=2**15)
    lengths = _lengths(counter, read)
    said = Counter(part for text in read for part in set(statements(text)))
    hashes = Counter(study.report_hash or text for study, text in zip(studies, texts, strict=True))
    return TextFacts(
        reports=len(texts),
        patients=len({study.patient_id for study in studies}),
        repeated=round(sum(n for n in hashes.values() if n > 1) / len(texts), 4),
        repeated_statements=round(sum(n for n in said.values() if n > 1) / max(1, sum(said.values())), 4),
        vocabulary=len(counter),
        median_tokens=int(np.median(lengths)),
        p99_tokens=int(np.ceil(np.quantile(lengths, 0.99))),
        longest_tokens=int(lengths.max()),
    )


def _lengths(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """Tokens of each text, a few texts at a time: a batch is padded to its longest."""
    parts = [tokenizer(texts[i : i + 64])[1].sum(dim=1).numpy() for i in range(0, len(texts), 64)]
    return np.concatenate(parts)
