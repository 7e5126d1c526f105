"""HTML, XHTML and narrative blocks to lines of text."""

from __future__ import annotations

import re
from typing import Any

from lxml import html

from anonymize.readers.problems import Unreadable

# HTML's block elements and those of CDA narrative blocks (StrucDoc)
_BLOCKS = frozenset(
    (
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "item",
        "li",
        "list",
        "main",
        "nav",
        "ol",
        "p",
        "paragraph",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "title",
        "tr",
        "ul",
    )
)  # fmt: skip
_CELLS = frozenset(("td", "th"))
_SKIPPED = frozenset(("script", "style", "head", "template", "renderMultiMedia"))
_DOCTYPE = re.compile(r"<!ENTITY", re.IGNORECASE)


def text_of_html(data: bytes | str) -> str:
    """The visible text of an HTML document or fragment.

    Raises:
        Unreadable: entity_in_xml, damaged_file.
    """
    from anonymize.readers.encoding import decode

    text = decode(data)[0] if isinstance(data, bytes) else data
    if _DOCTYPE.search(text[:4096]):
        raise Unreadable("entity_in_xml")
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff"))
    if not text.strip():
        return ""
    try:
        root = html.document_fromstring(text, parser=html.HTMLParser(no_network=True, huge_tree=False))
    except Exception:  # lxml raises its own errors, ValueError and AssertionError
        raise Unreadable("damaged_file") from None
    return lines_of_tree(root)


def lines_of_tree(root: Any) -> str:
    """Text of an element tree: a line per block and row, cells side by side, runs of blanks as one."""
    out: list[str] = []
    _walk(root, out)
    lines = [" ".join(line.split(" ")).strip() for line in re.sub(r"[ \t\r\f]+", " ", "".join(out)).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _walk(root: Any, out: list[str]) -> None:
    """Depth first without recursion: hostile documents nest thousands deep."""
    stack: list[tuple[Any, bool]] = [(root, True)]
    while stack:
        node, entering = stack.pop()
        tag = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
        if not entering:
            if tag in _BLOCKS and out and not out[-1].endswith("\n"):
                out.append("\n")
            if node is not root and (node.tail or "").strip():
                out.append(re.sub(r"\s+", " ", node.tail))
            elif node is not root and node.tail and out and not out[-1].endswith("\n"):
                out.append(" ")
            continue
        stack.append((node, False))
        if not tag or tag in _SKIPPED:
            continue
        if tag in _BLOCKS and out and not out[-1].endswith("\n"):
            out.append("\n")
        if tag in _CELLS and out and not out[-1].endswith("\n"):
            out.append("\t")
        if tag == "br":
            out.append("\n")
        text = node.text or ""
        if text.strip():
            out.append(text if tag == "pre" else re.sub(r"\s+", " ", text))
        stack.extend((child, True) for child in reversed(list(node)))
