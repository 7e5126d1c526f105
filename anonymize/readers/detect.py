"""What a file is, by its content; its name only where the content leaves it open."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

HEAD = 64 * 1024
SYSTEM_NAMES = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"))
_HL7 = re.compile(rb"[\x0b\s]*(?:\xef\xbb\xbf)?[\x0b\s]*(?:MSH|FHS|BHS)[^\w\s]")
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"BM")
_FHIR_KEY = re.compile(r'"resourceType"\s*:\s*"[A-Z]\w+"')


def is_system_file(path: Path) -> bool:
    """Files that operating systems and Office leave in folders: hidden ones, thumbnails, lock files."""
    return path.name.startswith((".", "~$")) or path.name.lower() in SYSTEM_NAMES


def kind_of(path: Path, head: bytes | None = None) -> str:
    """The kind of a file: parquet, gzip, xlsx, docx, zip, ole, pdf, rtf, dicom, hl7, fhir, jsonl, cda, html, xml,
    image, binary, text or empty. ``head`` are its first bytes where they are known already.

    Raises:
        OSError: the file cannot be opened.
    """
    if head is None:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    return _magic(head, path) or _text_kind(head)


def kind_of_bytes(data: bytes) -> str:
    """:func:`kind_of` of a document that stands inside another one."""
    return _magic(data, None) or _text_kind(data[:HEAD])


def _magic(head: bytes, path: Path | None) -> str:
    if not head:
        return "empty"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(path)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "ole"
    if head[128:132] == b"DICM":
        return "dicom"
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{\\rtf"):
        return "rtf"
    if _HL7.match(head):
        return "hl7"
    return "image" if head.startswith(_IMAGES) else ""


def _zip_kind(path: Path | None) -> str:
    """docx, xlsx, or zip; a zip that cannot be opened keeps the kind of its suffix."""
    suffix = path.suffix.lower().lstrip(".") if path is not None else ""
    try:
        with zipfile.ZipFile(path) if path is not None else _no_zip() as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return suffix if suffix in ("docx", "xlsx") else "zip"
    if "word/document.xml" in names:
        return "docx"
    return "xlsx" if "xl/workbook.xml" in names else "zip"


def _no_zip() -> zipfile.ZipFile:
    raise zipfile.BadZipFile


def _text_kind(head: bytes) -> str:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    text = head[: len(head) // 2 * 2].decode(encoding, "replace").lstrip("\ufeffï»¿ \r\n\t\x0b")
    if encoding == "latin-1" and "\0" in text:
        half = head[:2000].count(0)
        if not 0.3 * len(head[:2000]) < half < 0.6 * len(head[:2000]):
            # single NUL bytes stand in damaged tables, many in binary files
            return "binary" if half > max(4, 0.02 * len(head[:2000])) else "text"
        return "text"  # UTF-16 without its mark
    if text.startswith(("{", "[")):
        return "fhir" if _FHIR_KEY.search(text) else "jsonl" if text.startswith("{") else "text"
    if text.startswith("<"):
        root = re.search(r"<(?![?!])(?:\w+:)?(\w+)", text)
        name = root[1] if root else ""
        if name == "ClinicalDocument":
            return "cda"
        return "html" if name.lower() in ("html", "body", "div", "p") else "xml"
    if encoding == "latin-1":
        control = sum(char < " " and char not in "\t\n\r\x0b\x0c\x1c\x1b\x1a" for char in text[:4000])
        if control > 0.05 * max(1, len(text[:4000])):
            return "binary"
    return "text"
