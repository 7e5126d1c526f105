"""One report cleaned, step by step: characters, pages, letterhead, signature, boilerplate, line wrap, abbreviations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pydantic import Field

from anonymize.cleaning.abbreviations import compile_abbreviations, expansions
from anonymize.cleaning.characters import repairs
from anonymize.cleaning.layout import layout_of
from anonymize.cleaning.offsets import Edit, Edited
from anonymize.cleaning.wraps import joins
from anonymize.config import Config
from anonymize.languages import Pack
from anonymize.text import fold


class Steps(Config):
    """Which steps are done, in this order."""

    characters: bool = Field(default=True, description="repair wrongly decoded letters and odd blanks")
    pages: bool = Field(default=True, description="remove page numbers and headers that stand again")
    letterhead: bool = Field(default=True, description="remove the lines before the body, but not the examination")
    signature: bool = Field(default=True, description="remove closing and signature")
    boilerplate: bool = Field(default=True, description="remove lines of the pack and lines that many reports share")
    wraps: bool = Field(default=True, description="join words and lines broken at a width")
    abbreviations: bool = Field(default=False, description="write the pack's abbreviations out")


@dataclass(frozen=True)
class Cleaned:
    """A cleaned report: its text with the map to the safe text, and how many edits each step made."""

    edited: Edited
    counts: dict[str, int]


class Cleaner:
    """Cleans reports of one language.

    Args:
        pack: the language pack.
        steps: which steps are done.
        repeated: keys of lines that many reports share, from :meth:`LineCounts.repeated`.

    Raises:
        ConfigError: the pack has no usable ``cleaning.yaml``.
    """

    def __init__(self, pack: Pack, steps: Steps | None = None, repeated: Collection[bytes] = frozenset()) -> None:
        topic, layout = pack["cleaning"], layout_of(pack)
        short = compile_abbreviations(topic["abbreviations"], f"language pack '{pack.language}', cleaning.yaml")
        hyphens = frozenset(fold(str(word)) for word in topic["keep_hyphen"])
        every: dict[str, Callable[[str], Iterable[Edit]]] = {
            "characters": repairs,
            "pages": layout.pages,
            "letterhead": layout.letterhead,
            "signature": layout.signature,
            "boilerplate": lambda text: layout.boilerplate(text, repeated),
            "wraps": lambda text: joins(text, keep_hyphen_before=hyphens),
            "abbreviations": lambda text: expansions(text, short),
        }
        chosen = steps or Steps()
        self._steps = {name: step for name, step in every.items() if getattr(chosen, name)}

    def clean(self, text: str) -> Cleaned:
        """``text`` after every step, with the map of offsets back to ``text``."""
        edited, counts = Edited.unchanged(text), Counter[str]()
        for name, step in self._steps.items():
            edits = list(step(edited.text))
            if edits:
                edited = edited.edit(edits)
                counts[name] = len(edits)
        return Cleaned(edited, dict(counts))
