"""Office documents are zip archives: look before unpacking."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from anonymize.readers.problems import MAXIMUM_FILE, Unreadable

_RATIO = 100
_FREE = 32 * 1024 * 1024  # bytes that any archive may unpack to


def check_zip(source: Path | IO[bytes], size: int) -> None:
    """Refuse an archive of ``size`` bytes that unpacks to far more, by the sizes it declares.

    zipfile reads no more of a member than its declared size, so that a false declaration gains nothing.

    Raises:
        Unreadable: zip_bomb, damaged_file, truncated_file.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
    except zipfile.BadZipFile:
        raise Unreadable("truncated_file") from None
    except (OSError, ValueError, NotImplementedError):
        raise Unreadable("damaged_file") from None
    if unpacked > max(_FREE, _RATIO * size) or unpacked > 8 * MAXIMUM_FILE:
        raise Unreadable("zip_bomb")


def ole_reason(path: Path) -> str:
    """Why a compound file (Office before 2007, or a protected document of any version) is not read."""
    with path.open("rb") as stream:
        start = stream.read(1024 * 1024)
        stream.seek(max(0, path.stat().st_size - 1024 * 1024))
        end = stream.read()
    marker = "EncryptedPackage".encode("utf-16-le")
    return "encrypted" if marker in start or marker in end else "old_office_format"
