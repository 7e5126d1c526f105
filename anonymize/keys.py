"""The secret, and everything derived from it: pseudonyms, DICOM UIDs, date offsets, random choices.

All derivations are HMAC-SHA256 (RFC 2104) over a purpose and a value, so they are the same in every run and every
worker, and cannot be recomputed without the secret (EDPB Guidelines 01/2025 on pseudonymisation).
"""

from __future__ import annotations

import base64
import hmac
import os
import random
import secrets
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from anonymize.files import write_bytes_atomic

ENVIRONMENT_VARIABLE = "ANONYMIZE_SECRET"
MINIMUM_BYTES = 16


class SecretError(ValueError):
    """The secret cannot be used. The message never holds the secret."""


@dataclass(frozen=True)
class Keys:
    """Derives pseudonyms from a secret. Its ``repr`` does not show the secret."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < MINIMUM_BYTES:
            raise SecretError(f"the secret is too short: give at least {MINIMUM_BYTES} bytes")

    def digest(self, purpose: str, value: str) -> bytes:
        """32 bytes that depend on the secret, the purpose and the value."""
        return hmac.digest(self.secret, f"{purpose}\0{value}".encode(), "sha256")

    def pseudonym(self, kind: str, value: str) -> str:
        """``kind``'s initial in upper case and 16 letters or digits, such as ``P7Q2...`` for kind ``patient``.

        ``value`` is trimmed and NFC-normalised first, so that header and report agree. 80 bits: no collision is to be
        expected below 10^11 values.
        """
        digest = self.digest(kind, normalise_identifier(value))
        return kind[0].upper() + base64.b32encode(digest[:10]).decode()

    def uid(self, value: str) -> str:
        """A DICOM UID below 2.25 (PS3.5 B.2), at most 44 characters."""
        return f"2.25.{int.from_bytes(self.digest('uid', value.strip())[:16], 'big')}"

    def date_offset_days(self, patient: str, maximum: int = 1000) -> int:
        """The days by which every date of ``patient`` (identifier, not pseudonym) moves: within ±``maximum``, never 0."""
        draw = int.from_bytes(self.digest("date offset", normalise_identifier(patient))[:8], "big") % (2 * maximum)
        return draw - maximum if draw < maximum else draw - maximum + 1

    def random(self, purpose: str, value: str) -> random.Random:
        """A generator whose draws depend only on the secret, the purpose and the value."""
        return random.Random(self.digest(purpose, value))

    @property
    def identifier(self) -> str:
        """8 hex digits that tell one secret from another and give nothing away (for audit lines)."""
        return self.digest("key identifier", "")[:4].hex()


def normalise_identifier(value: str) -> str:
    """Identifiers as compared across header and report: NFC, no surrounding blanks or DICOM padding."""
    return unicodedata.normalize("NFC", value).strip(" \0\t\r\n")


def private_folder(out: Path, *, create: bool = True) -> Path:
    """The folder beside ``out`` (never inside) for what must not travel with the safe export. Mode 0700."""
    folder = out.resolve().parent / f"{out.resolve().name}.private"
    if create:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    return folder


def load_keys(secret_file: Path | None, out: Path, *, create: bool = True) -> tuple[Keys, Path | None]:
    """Keys from ``secret_file``, else from ANONYMIZE_SECRET, else from ``private_folder(out)/secret.key``.

    The last is made (32 random bytes as hex, mode 0600) when it does not exist yet and ``create`` is true.

    Returns:
        the keys, and the path of the secret's file (None when it came from the environment).

    Raises:
        SecretError: the file is missing, empty, or lies inside ``out``; or there is no secret to be found.
    """
    if secret_file is not None:
        if secret_file.resolve().is_relative_to(out.resolve()):
            raise SecretError(f"{secret_file} lies inside the safe export {out}; move it outside")
        if not secret_file.is_file():
            raise SecretError(f"{secret_file}: no such secret file")
        return Keys(secret_file.read_bytes().strip()), secret_file
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if from_environment:
        return Keys(from_environment.encode()), None
    path = private_folder(out, create=create) / "secret.key"
    if not path.is_file() and not create:
        raise SecretError(f"no secret was given and {path} is not there; give the run's secret with --secret-file")
    if not path.is_file():
        write_bytes_atomic(path, secrets.token_hex(32).encode(), permissions=0o600)
    return Keys(path.read_bytes().strip()), path
