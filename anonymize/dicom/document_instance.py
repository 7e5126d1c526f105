"""One structured report or PDF: its header, its content, its row of the index of documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from anonymize.dicom import header
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.content import put_content
from anonymize.dicom.document import NoText, put_document
from anonymize.dicom.objects import Kind
from anonymize.dicom.parts import Parts
from anonymize.dicom.refusal import Refused
from anonymize.files import open_atomic
from anonymize.keys import Keys

DOCUMENT_SCHEMA = pa.schema(
    [
        *[(n, pa.string()) for n in ("document_id", "patient", "study", "series", "path", "kind", "sop_class", "date")],
        ("age_months", pa.int32()),
        *[(n, pa.string()) for n in ("sex", "title", "text")],
    ]
)


@dataclass(frozen=True)
class Document:
    """One row of the index of documents (SAFE/documents/index). Images have an index of their own."""

    document_id: str
    patient: str
    study: str
    series: str
    path: str  # relative to SAFE/documents
    kind: str  # report, document
    sop_class: str
    date: str  # ISO 8601, as retain_longitudinal says
    age_months: int | None
    sex: str
    title: str  # meaning of the root concept, or the title of the PDF
    text: str  # all cleaned text of the instance


def process_document(
    ds: Dataset, kind: Kind, linked: header.Linked, folder: Path, part: str, config: DicomConfig, keys: Keys
) -> Document:
    """Clean and write ``ds`` below ``folder`` under the temporary name ``<patient>/<study>/<part>``.

    Raises:
        Refused: structured_content, no_content, no_text_layer.
    """
    parts = Parts(ds, config, keys)
    if kind == "report" and not config.clean_structured_content:
        raise Refused("structured_content")
    if kind == "report" and not ds.get("ContentSequence"):
        raise Refused("no_content")
    if kind == "document" and not ds.get("EncapsulatedDocument"):
        raise Refused("no_text_layer")
    safe = header.clean_header(ds, linked, config, keys, masked=False, parts=parts)
    try:
        text = put_content(ds, safe, parts) if kind == "report" else put_document(ds, safe, parts)
    except NoText:
        raise Refused("no_text_layer") from None
    safe.file_meta = header.clean_meta(safe, ExplicitVRLittleEndian)
    safe.preamble = b"\0" * 128
    with open_atomic(folder / linked.patient / linked.study / part) as stream:
        safe.save_as(stream, enforce_file_format=True)
    titles = safe.get("ConceptNameCodeSequence") or []
    identifier = keys.pseudonym("document", str(ds.SOPInstanceUID))
    return Document(
        document_id=identifier,
        patient=linked.patient,
        study=linked.study,
        series=linked.series,
        path=f"{linked.patient}/{linked.study}/{identifier}.dcm",
        kind=kind,
        sop_class=str(safe.SOPClassUID),
        date=linked.date,
        age_months=linked.age_months,
        sex=linked.sex,
        title=str(safe.get("DocumentTitle") or (titles[0].CodeMeaning if titles else "")),
        text=text,
    )
