"""Sealed files: AES-256-GCM under keys derived from the secret, so that no clear text of an original stays on disk.

Each purpose has its own key (HKDF-SHA256, RFC 5869). A nonce is the HMAC of header and content, cut to 96 bits: equal
content gives equal bytes, and two contents never share a nonce but by a collision of the HMAC (the construction of
SIV modes, RFC 8452, over plain GCM, which every OpenSSL has).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anonymize.console import UserError
from anonymize.keys import Keys

_MAGIC = b"anonymize-sealed\n"
_NONCE = 12
_LENGTH = struct.Struct(">I")


class SealError(UserError):
    """A sealed file cannot be opened: another secret, or bytes that were changed. Holds no text of the file."""


class Sealer:
    """Seals and opens with the key of one purpose. Its ``repr`` shows no key."""

    def __init__(self, keys: Keys, purpose: str) -> None:
        derived = HKDF(SHA256(), 64, salt=None, info=f"anonymize {purpose} 1".encode()).derive(keys.secret)
        self._cipher, self._nonce_key = AESGCM(derived[:32]), derived[32:]
        self._identifier, self._purpose = keys.identifier, purpose

    def seal(self, content: bytes, header: dict[str, Any]) -> bytes:
        """A whole file: a readable, authenticated header line, the nonce, the ciphertext."""
        head = {"purpose": self._purpose, "key": self._identifier, **header}
        line = _MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n"
        return line + self._sealed(content, line)

    def open(self, data: bytes) -> tuple[bytes, dict[str, Any]]:
        """Content and header of :meth:`seal`'s bytes.

        Raises:
            SealError: not such a file, another secret, or changed bytes.
        """
        end = data.find(b"\n", len(_MAGIC))
        if not data.startswith(_MAGIC) or end < 0:
            raise SealError("this is not a sealed file of anonymize")
        line, body = data[: end + 1], data[end + 1 :]
        try:
            header = json.loads(line[len(_MAGIC) :])
        except ValueError:
            raise SealError("the header of the sealed file was changed") from None
        if header.get("key") != self._identifier:
            raise SealError(
                f"the secret is not the one that sealed this file (it has key {header.get('key')}, the secret given is "
                f"{self._identifier}); give the secret of that run with --secret-file"
            )
        return self._opened(body, line), header

    def append(self, stream: IO[bytes], content: bytes, label: str) -> None:
        """Append one sealed frame to ``stream``; ``label`` is authenticated, not written."""
        frame = self._sealed(content, label.encode())
        stream.write(_LENGTH.pack(len(frame)) + frame)

    def frames(self, stream: IO[bytes], label: str) -> Iterator[bytes]:
        """The contents that :meth:`append` wrote, in order.

        Raises:
            SealError: another secret, or a frame that was changed or cut off.
        """
        while head := stream.read(_LENGTH.size):
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
            frame = stream.read(size) if size >= 0 else b""
            if len(frame) != size:
                raise SealError("a sealed file is cut off; remove it and run the command again")
            yield self._opened(frame, label.encode())

    def _sealed(self, content: bytes, header: bytes) -> bytes:
        mac = hmac.new(self._nonce_key, len(header).to_bytes(8, "big") + header, hashlib.sha256)
        mac.update(content)
        nonce = mac.digest()[:_NONCE]
        return nonce + self._cipher.encrypt(nonce, content, header)

    def _opened(self, sealed: bytes, header: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], header)
        except (InvalidTag, ValueError):
            raise SealError("a sealed file was changed, or the secret is another one") from None
