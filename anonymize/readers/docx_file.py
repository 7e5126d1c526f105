"""Word documents (.docx, ECMA-376): every text that a person sees, in reading order."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml import parse_xml
from docx.oxml.ns import qn

from anonymize.readers.problems import Unreadable
from anonymize.readers.zips import check_zip

_SKIPPED = frozenset(
    (qn("w:del"), qn("w:moveFrom"), "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback")
)
_BREAKS = frozenset((qn("w:br"), qn("w:cr")))
_HEADERS = ("first_page_header", "header", "even_page_header")
_FOOTERS = ("footer", "first_page_footer", "even_page_footer")


def text_of_docx(source: Path | IO[bytes], size: int) -> str:
    """Page headers, body (paragraphs, tables, text boxes, content controls, inserted text), notes and page footers.

    Raises:
        Unreadable: zip_bomb, truncated_file, damaged_file.
    """
    check_zip(source, size)
    try:
        document = docx.Document(str(source) if isinstance(source, Path) else source)
        parts = [
            *_margins(document, _HEADERS),
            _text(document.element.body),
            *_notes(document),
            *_margins(document, _FOOTERS),
        ]
    except (PackageNotFoundError, KeyError, ValueError, SyntaxError, zipfile.BadZipFile, OSError):
        raise Unreadable("damaged_file") from None
    return "\n".join(part for part in dict.fromkeys(parts) if part.strip())


def _margins(document: Any, names: tuple[str, ...]) -> list[str]:
    """Headers or footers, each text once however many sections show it."""
    found = []
    for section in document.sections:
        for name in names:
            margin = getattr(section, name)
            if not margin.is_linked_to_previous:
                found.append(_text(margin._element))
    return list(dict.fromkeys(found))


def _notes(document: Any) -> list[str]:
    """Footnotes and endnotes."""
    found = []
    for relation in document.part.rels.values():
        if relation.reltype.rpartition("/")[2] in ("footnotes", "endnotes") and not relation.is_external:
            found.append(_text(parse_xml(relation.target_part.blob)))
    return found


def _text(root: Any) -> str:
    """Text below ``root``: a line per paragraph and row, a tab between cells; boxes follow their paragraph."""
    lines: list[str] = []
    _collect(root, lines)
    return "\n".join(line.rstrip() for line in lines)


def _collect(node: Any, lines: list[str]) -> None:
    for child in node:
        if child.tag == qn("w:p"):
            line, boxes = _paragraph(child)
            lines.append(line)
            for box in boxes:
                _collect(box, lines)
        elif child.tag == qn("w:tr"):
            cells = []
            for cell in child.iter(qn("w:tc")):
                if next(cell.iterancestors(qn("w:tr")), None) is child:
                    inner: list[str] = []
                    _collect(cell, inner)
                    cells.append("\n".join(inner).strip())
            lines.append("\t".join(cells))
        elif child.tag not in _SKIPPED:
            _collect(child, lines)


def _paragraph(paragraph: Any) -> tuple[str, list[Any]]:
    """The paragraph's own text, and the text boxes that hang on it."""
    out: list[str] = []
    boxes: list[Any] = []
    stack = list(reversed(list(paragraph)))
    while stack:
        node = stack.pop()
        if node.tag == qn("w:t"):
            out.append(node.text or "")
        elif node.tag == qn("w:tab"):
            out.append("\t")
        elif node.tag in _BREAKS:
            out.append("\n")
        elif node.tag == qn("w:noBreakHyphen"):
            out.append("-")
        elif node.tag == qn("w:txbxContent"):
            boxes.append(node)
        elif node.tag not in _SKIPPED and node.tag != qn("w:pPr"):
            stack.extend(reversed(list(node)))
    return "".join(out), boxes
