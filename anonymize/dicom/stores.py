"""What a safe export of DICOM files holds, kind by kind: a folder of files, and the index that describes them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from anonymize.dicom.document_instance import DOCUMENT_SCHEMA
from anonymize.dicom.judge import RECORD_SCHEMA

INDEX_SCHEMA = pa.schema(
    [
        *[
            (n, pa.string())
            for n in ("image_id", "patient", "study", "series", "path", "modality", "body_part", "view")
        ],
        *[(n, pa.string()) for n in ("laterality", "photometric")],
        *[(n, pa.int32()) for n in ("rows", "columns", "bits_stored")],
        ("spacing_mm", pa.float64()),
        ("age_months", pa.int32()),
        *[(n, pa.string()) for n in ("sex", "date", "manufacturer", "model", "burned_in", "description")],
    ]
)


@dataclass(frozen=True)
class Store:
    """One kind of file in the export, or of records of them."""

    folder: str  # below SAFE: <patient>/<study>/<identifier>.dcm, and index/part-NNNNN.parquet
    key: str  # column of the index with the identifier
    schema: pa.Schema
    optional: bool = False  # a shard without such files has no part of the index

    @property
    def name(self) -> str:
        """For names of files."""
        return self.folder.replace("/", "-")

    @property
    def table(self) -> pa.Schema:
        """Of the shards' own tables: the index, the ordinal of the source file, and the digest of the written one."""
        return self.schema.append(pa.field("position", pa.int64())).append(pa.field("digest", pa.string()))


IMAGES = Store("images", "image_id", INDEX_SCHEMA)
DOCUMENTS = Store("documents", "document_id", DOCUMENT_SCHEMA, optional=True)
STORES = (IMAGES, DOCUMENTS)
RECORDS = Store(
    "dicom/pixels", "image_id", RECORD_SCHEMA
)  # what was found in the pixels; describes no files of its own


def store_of(row: object) -> Store:
    """Where the file that ``row`` (a row of an index) describes belongs."""
    return next(store for store in STORES if hasattr(row, store.key))
