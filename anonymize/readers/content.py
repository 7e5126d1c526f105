"""The text of a document that stands in a file or inside another record, by what its bytes are."""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile

from anonymize.readers.detect import kind_of_bytes
from anonymize.readers.encoding import decode
from anonymize.readers.problems import Unreadable


def text_of(data: bytes, kind: str = "") -> str:
    """Text of a plain, HTML, RTF, PDF, Word or CDA document.

    Raises:
        Unreadable: with the reason.
    """
    if not data.strip():
        return ""
    kind = kind or kind_of_bytes(data)
    if kind == "rtf":
        from anonymize.readers.rtf_file import text_of_rtf

        return text_of_rtf(data)
    if kind == "pdf":
        from anonymize.readers.pdf_file import text_of_pdf

        return text_of_pdf(data)
    if kind == "html":
        from anonymize.readers.markup import text_of_html

        return text_of_html(data)
    if kind == "cda":
        from anonymize.readers.cda_file import body_of_cda

        return body_of_cda(data)
    if kind in ("zip", "docx"):
        return _text_of_office(data)
    if kind == "ole":
        raise Unreadable("old_office_format")
    if kind == "image":
        raise Unreadable("scanned_page")
    if kind in ("text", "hl7", "fhir", "jsonl"):
        text = decode(data)[0]
        if "\0" in text:
            raise Unreadable("nul_byte")
        return text
    raise Unreadable("unknown_format")


def from_base64(value: str) -> bytes:
    """The bytes of a Base64 value, with or without line breaks, of either alphabet (RFC 4648).

    Raises:
        Unreadable: damaged_file.
    """
    clean = re.sub(r"\s+", "", value).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(clean + "=" * (-len(clean) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("damaged_file") from None


def _text_of_office(data: bytes) -> str:
    from anonymize.readers.docx_file import text_of_docx

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            known = "word/document.xml" in archive.namelist()
    except zipfile.BadZipFile:
        raise Unreadable("truncated_file") from None
    except ValueError:
        raise Unreadable("damaged_file") from None
    if not known:
        raise Unreadable("unknown_format")
    return text_of_docx(io.BytesIO(data), len(data))
