"""A language model on a server of the hospital as a further detector. Only when asked for; loopback or private address only.

What the model names is searched in the text; what is not there is dropped, so that it cannot invent a span.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.chat import ChatServer
from anonymize.config import ConfigError
from anonymize.detectors import Detector
from anonymize.languages import FOLDER, Pack
from anonymize.report import KINDS, Span
from anonymize.text import View


class LocalLlm(Detector):
    """Spans that the model names.

    Args:
        pack: the language.
        address: ``http://localhost:8080/v1#MODEL``.

    Raises:
        ConfigError: no http address, or one outside of the hospital's network; on use: no or no usable answer.
    """

    kinds = KINDS

    def __init__(self, pack: Pack, address: str) -> None:
        super().__init__(pack)
        self._server = ChatServer(address, "ner=llm")
        self._prompt = (FOLDER / "llm_prompt.txt").read_text(encoding="utf-8")

    def find(self, view: View) -> Iterable[Span]:
        """All places of the texts that the model names, at word edges."""
        for text, kind in self._ask(view.text):
            for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", view.text):
                yield Span(match.start(), match.end(), kind, 0.9, "ner.llm")

    def _ask(self, text: str) -> list[tuple[str, str]]:
        answer = self._server.ask_json([("system", self._prompt), ("user", text)], temperature=0)
        try:
            pairs = [(str(item["text"]).strip(), str(item["kind"])) for item in answer["found"]]
        except (KeyError, TypeError):
            raise ConfigError("ner=llm: the model's answer is not the JSON that was asked for") from None
        return [(piece, name if name in KINDS else "id") for piece, name in pairs if len(piece) > 1]
