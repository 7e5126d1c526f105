"""What every test may use. No test opens a network connection: sockets to other machines are refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import settings

from anonymize.commands import go_offline

go_offline()
os.environ.pop("ANONYMIZE_SECRET", None)

# `make test` draws the same examples each time, so that main is red for a change and not by chance;
# `make test-search` draws others at every run and keeps what fails
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("VLP_PROPERTY_TESTS", "repeatable"))

ROOT = Path(__file__).resolve().parent.parent
_connect = socket.socket.connect


def _local_only(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else "localhost"
    if str(host) not in ("localhost", "127.0.0.1", "::1"):
        raise PermissionError("a test tried to open a network connection")
    _connect(self, address)  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines (processes of a torchrun test talk over the loopback)."""
    monkeypatch.setattr(socket.socket, "connect", _local_only)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data folder beside the repository; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("VLP_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is not here (set VLP_SHARED to its path)")
    return folder
