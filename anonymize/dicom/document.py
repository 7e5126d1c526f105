"""Encapsulated PDF: its text, cleaned as a report, in a new PDF that holds nothing else."""

from __future__ import annotations

import textwrap

from pydicom.dataset import Dataset

from anonymize.dicom.parts import Parts
from anonymize.readers.pdf_file import text_of_pdf
from anonymize.readers.problems import Unreadable

_LINE, _LINES = 90, 60  # characters a line and lines a page: A4, 10 points on 12


class NoText(ValueError):
    """The PDF has no text layer, or cannot be read."""


def put_document(ds: Dataset, safe: Dataset, parts: Parts) -> str:
    """Add a new PDF and what else the IOD needs (PS3.3 A.45.1) to ``safe``; pictures and metadata of the old one go.

    Returns:
        the cleaned text.

    Raises:
        NoText: there is no text to be cleaned: the pages are pictures, or the PDF is encrypted or damaged.
    """
    if str(ds.get("MIMETypeOfEncapsulatedDocument", "")) not in ("application/pdf", ""):
        raise NoText
    data = ds.EncapsulatedDocument
    length = ds.get("EncapsulatedDocumentLength")
    try:
        text = text_of_pdf(data[: int(length)] if length else data)
    except Unreadable:
        raise NoText from None
    if not text.strip():
        raise NoText
    (clean,) = parts.texts.narratives([text], parts.patient)
    title = ds.get("DocumentTitle") if parts.config.clean_descriptors else None
    made = pdf_of(clean)
    safe.Modality = "DOC"
    safe.ConversionType = safe.get("ConversionType") or "WSD"
    safe.DocumentTitle = parts.descriptor("ST", title)
    safe.ConceptNameCodeSequence = [parts.code(item) for item in ds.get("ConceptNameCodeSequence") or []]
    safe.MIMETypeOfEncapsulatedDocument = "application/pdf"
    safe.BurnedInAnnotation = "NO"
    safe.EncapsulatedDocument = made + b"\0" * (len(made) % 2)
    safe.EncapsulatedDocumentLength = len(made)
    for keyword in ("ContentDate", "ContentTime", "AcquisitionDateTime", "InstanceNumber", "SeriesNumber"):
        if keyword not in safe:
            setattr(safe, keyword, 1 if keyword.endswith("Number") else None)
    return clean


def pdf_of(text: str) -> bytes:
    """A PDF 1.4 of A4 pages in Helvetica that shows ``text``; the same text gives the same bytes.

    A sign outside Windows-1252 is shown as ``?``.
    """
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _LINE) or [""]]
    pages = [lines[start : start + _LINES] for start in range(0, len(lines), _LINES)] or [[]]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        shown = b"\n".join(b"(%s) Tj T*" % _escaped(line) for line in page)
        stream = b"BT /F1 10 Tf 12 TL 50 790 Td\n%s\nET" % shown
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (5 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))


def _escaped(line: str) -> bytes:
    coded = line.encode("cp1252", "replace")
    return coded.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
