"""What of a report the text tower reads in a step: a section, the whole, or a few sentences of it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from anonymize.config import Config
from vlp.study import Study

# a full stop between digits is a decimal point; titles and abbreviations cost a sentence too many, which does no harm
_SENTENCE_END = re.compile(r"(?<=[.!?;:])(?<!\d[.:])\s+|\s*\n+\s*")
STATEMENTS = 24  # of a report that are compared; longer ones are cut


class TextSampling(Config):
    """Relative chances of what is read. A section that a report lacks gives its chance to the others."""

    results: float = Field(default=1.0, ge=0)
    conclusion: float = Field(default=1.0, ge=0)
    whole: float = Field(default=1.0, ge=0)  # results and conclusion
    sentences: float = Field(default=2.0, ge=0)  # one to `most` sentences of the whole
    most: int = Field(default=3, ge=1)


def split_statements(text: str) -> list[tuple[int, int]]:
    """Where the sentences of ``text`` stand, in order, without empty ones and without the blanks around them."""
    found: list[tuple[int, int]] = []
    start = 0
    for stop, after in [*(match.span() for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        part = text[start:stop]
        if any(c.isalnum() for c in part):
            left = start + len(part) - len(part.lstrip())
            found.append((left, left + len(part.strip())))
        start = after
    return found


def statements(text: str) -> list[str]:
    """The sentences of ``text``, in order, without empty ones."""
    return [text[start:end] for start, end in split_statements(text)]


def whole(study: Study) -> str:
    """Results and conclusion; where a report has neither, all of it."""
    return "\n".join(part for part in (study.results, study.conclusion) if part.strip()) or study.report


def sample(study: Study, config: TextSampling, rng: np.random.Generator) -> str:
    """A text that is true of ``study``."""
    options = {
        "results": (study.results, config.results),
        "conclusion": (study.conclusion, config.conclusion),
        "whole": (whole(study), config.whole),
        "sentences": (whole(study), config.sentences),
    }
    usable = {name: text for name, (text, chance) in options.items() if text.strip() and chance > 0}
    if not usable:
        return whole(study)
    chances = np.array([options[name][1] for name in usable])
    name = list(usable)[rng.choice(len(usable), p=chances / chances.sum())]
    if name != "sentences":
        return usable[name]
    parts = statements(usable[name])
    if not parts:
        return usable[name]
    count = int(rng.integers(1, min(config.most, len(parts)) + 1))
    # by lines: a sentence that lost its full stop must not run into the next
    return "\n".join(parts[i] for i in sorted(rng.choice(len(parts), count, replace=False)))


def keys(texts: Sequence[str], most: int = STATEMENTS) -> Tensor:
    """A number for every statement of each text: [B, most] int64, 0 for none. Case, accents' form and marks do not count."""
    rows = torch.zeros(len(texts), most, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        for column, part in enumerate(statements(text)[:most]):
            row[column] = key(part)
    return rows


def key(statement: str) -> int:
    """A positive 63-bit number that equal statements share."""
    words = re.findall(r"\w+", unicodedata.normalize("NFC", statement).casefold())
    return int.from_bytes(hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest(), "big") >> 1 or 1
