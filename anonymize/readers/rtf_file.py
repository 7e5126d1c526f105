"""RTF: its text, by striprtf."""

from __future__ import annotations

import re

from striprtf.striprtf import rtf_to_text

from anonymize.readers.problems import Unreadable

_CODE_PAGE = re.compile(rb"\\ansicpg(\d{3,5})")


def text_of_rtf(data: bytes) -> str:
    """The text of an RTF document; page headers and footers of the format are not part of it.

    Raises:
        Unreadable: truncated_file, where its groups are not closed.
    """
    start = data.find(b"{\\rtf")
    body = data[start:].rstrip(b"\0 \r\n\t")
    if not body.endswith(b"}"):
        raise Unreadable("truncated_file")
    match = _CODE_PAGE.search(body[:2000])
    page = f"cp{match[1].decode()}" if match else "cp1252"
    try:
        raw = body.decode(page, "replace")
    except LookupError:
        page, raw = "cp1252", body.decode("cp1252", "replace")
    text = rtf_to_text(raw, encoding=page, errors="replace")
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # join \u pairs
    return text.replace("\u00a0|", "|").replace("\x0b", "\n")
