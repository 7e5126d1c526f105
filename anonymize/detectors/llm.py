"""A language model on a server of the hospital as a further detector. Only when asked for; loopback or private address only.

The server speaks the OpenAI chat interface (``/v1/chat/completions``), as llama.cpp, vLLM and Ollama do. What the model
names is searched in the text; what is not there is dropped, so that it cannot invent a span.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from anonymize.config import ConfigError
from anonymize.detectors import Detector
from anonymize.languages import FOLDER, Pack
from anonymize.report import KINDS, Span
from anonymize.text import View

_TIMEOUT = 120


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
        url = urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError("ner=llm: needs an address such as llm:http://localhost:8080/v1#MODEL")
        _require_private(url.hostname)
        self._secure, self._host, self._port = url.scheme == "https", url.hostname, url.port
        self._path = url.path.rstrip("/") + "/chat/completions"
        self._model = url.fragment or "default"
        self._prompt = (FOLDER / "llm_prompt.txt").read_text(encoding="utf-8")

    def find(self, view: View) -> Iterable[Span]:
        """All places of the texts that the model names, at word edges."""
        for text, kind in self._ask(view.text):
            for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", view.text):
                yield Span(match.start(), match.end(), kind, 0.9, "ner.llm")

    def _ask(self, text: str) -> list[tuple[str, str]]:
        body = {
            "model": self._model,
            "temperature": 0,
            "response_format": {"type": "json_object"},
            "messages": [{"role": "system", "content": self._prompt}, {"role": "user", "content": text}],
        }
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_TIMEOUT)
        try:
            connection.request("POST", self._path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise ConfigError(f"ner=llm: the server answered {response.status}")
            content = json.loads(answer)["choices"][0]["message"]["content"]
            found = json.loads(content[content.index("{") : content.rindex("}") + 1])["found"]
            pairs = [(str(item["text"]).strip(), str(item["kind"])) for item in found]
        except (OSError, http.client.HTTPException) as error:
            raise ConfigError(f"ner=llm: no answer from the server: {type(error).__name__}") from None
        except (ValueError, KeyError, TypeError, IndexError):
            raise ConfigError("ner=llm: the model's answer is not the JSON that was asked for") from None
        finally:
            connection.close()
        return [(piece, name if name in KINDS else "id") for piece, name in pairs if len(piece) > 1]


def _require_private(host: str) -> None:
    """Reports never go to a public address."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        raise ConfigError(f"ner=llm: the host {host} is not known") from None
    for address in addresses:
        if not (ip := ipaddress.ip_address(str(address).split("%")[0])).is_private or ip.is_unspecified:
            raise ConfigError(
                f"ner=llm: {host} is not an address of this network; reports are sent to local servers only"
            )
