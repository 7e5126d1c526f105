"""A language model on a server of the hospital: the OpenAI chat interface, as llama.cpp, vLLM and Ollama speak it."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from anonymize.config import ConfigError

_TIMEOUT = 120


class ChatServer:
    """Asks a server in this network, and no other.

    Args:
        address: ``http://localhost:8080/v1#MODEL``.
        what: the setting that errors name.
        remote: a host outside of this network that the user has named, and that may be asked all the same.

    Raises:
        ConfigError: no http address, or one outside of this network; on use: no answer, or none of the interface.
    """

    def __init__(self, address: str, what: str, remote: str = "") -> None:
        url = urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(f"{what}: needs an address such as http://localhost:8080/v1#MODEL")
        if url.hostname != remote:
            _require_private(url.hostname, what)
        self.model = url.fragment or "default"
        self._secure, self._host, self._port = url.scheme == "https", url.hostname, url.port
        self._path, self._what = url.path.rstrip("/") + "/chat/completions", what

    def ask(self, messages: Sequence[tuple[str, str]], **options: Any) -> str:
        """The answer's text to ``messages`` (role and content); ``options`` such as ``temperature`` go along."""
        listed = [{"role": role, "content": content} for role, content in messages]
        body = {"model": self.model, "messages": listed, **options}
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_TIMEOUT)
        try:
            connection.request("POST", self._path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise ConfigError(f"{self._what}: the server answered {response.status}")
            return str(json.loads(answer)["choices"][0]["message"]["content"])
        except (OSError, http.client.HTTPException) as error:
            raise ConfigError(f"{self._what}: no answer from the server: {type(error).__name__}") from None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{self._what}: the answer is not of the chat interface") from None
        finally:
            connection.close()

    def ask_json(self, messages: Sequence[tuple[str, str]], **options: Any) -> dict[str, Any]:
        """The first JSON object in the answer.

        Raises:
            ConfigError: also where there is none.
        """
        content = self.ask(messages, response_format={"type": "json_object"}, **options)
        try:
            found = json.loads(content[content.index("{") : content.rindex("}") + 1])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigError(f"{self._what}: the model's answer is not the JSON that was asked for")
        return found


def _require_private(host: str, what: str) -> None:
    """What is sent never goes to a public address."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        raise ConfigError(f"{what}: the host {host} is not known") from None
    for address in addresses:
        if not (ip := ipaddress.ip_address(str(address).split("%")[0])).is_private or ip.is_unspecified:
            raise ConfigError(f"{what}: {host} is not an address of this network; texts are sent to local servers only")
