"""Language packs: one folder per language, one YAML file per topic, word lists as text files beside them.

The core holds no word of any language. A topic is read when it is first asked for: ``load_pack("fr")["sections"]`` is
the content of ``fr/sections.yaml``. What topics exist, who reads them and what they must hold stands in
docs/language-packs.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from anonymize.config import ConfigError, read_yaml_mapping
from anonymize.languages.word_lists import WordLists

FOLDER = Path(__file__).parent


class Pack(Mapping[str, Any]):
    """Topics of one language. Raises :class:`ConfigError` for a topic the pack lacks."""

    def __init__(self, language: str, folder: Path) -> None:
        self.language = language
        self.folder = folder
        self._topics: dict[str, Any] = {}

    def __getitem__(self, topic: str) -> Any:
        if topic not in self._topics:
            path = self.folder / f"{topic}.yaml"
            if not path.is_file():
                raise ConfigError(f"language pack '{self.language}' has no {topic}.yaml; see docs/language-packs.md")
            self._topics[topic] = read_yaml_mapping(path)
        return self._topics[topic]

    def __contains__(self, topic: object) -> bool:
        return (self.folder / f"{topic}.yaml").is_file()

    def words(self, name: str) -> frozenset[str]:
        """The word list ``<name>.txt``: one entry a line; lines that start with ``#`` give its source and licence."""
        path = self.folder / f"{name}.txt"
        if not path.is_file():
            raise ConfigError(
                f"language pack '{self.language}' has no word list {name}.txt; see docs/language-packs.md"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
        return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))

    @cached_property
    def lists(self) -> WordLists:
        """Its words by what they are, folded."""
        return WordLists(self)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self.folder.glob("*.yaml")))

    def __len__(self) -> int:
        return len(list(iter(self)))


def available() -> list[str]:
    """Languages that have a pack."""
    return sorted(path.parent.name for path in FOLDER.glob("*/pack.yaml"))


@lru_cache(maxsize=16)
def load_pack(language: str) -> Pack:
    """The pack of ``language``, a two-letter ISO 639-1 code, or of a folder given by path."""
    folder = Path(language) if Path(language).joinpath("pack.yaml").is_file() else FOLDER / language
    if not (folder / "pack.yaml").is_file():
        raise ConfigError(f"no language pack '{language}'; there are: {', '.join(available())}")
    return Pack(folder.name, folder)
