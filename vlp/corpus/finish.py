"""The files of a corpus beside its shards, and the marker that says that it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anonymize.files import fingerprint, write_json, write_table, write_text_atomic
from anonymize.quarantine import Quarantined, write_quarantine
from vlp.corpus.card import write_card
from vlp.corpus.config import PrepareConfig
from vlp.corpus.croissant import croissant
from vlp.corpus.decoded import DecodedRow, shard_checksums
from vlp.corpus.source import Origin
from vlp.corpus.store import Store
from vlp.study import MANIFEST_SCHEMA, Study

_COUNTED = ("studies", "images", "reports", "splits", "anatomies", "near_duplicates")


def write_corpus(
    store: Store,
    studies: Sequence[Study],
    images: Sequence[DecodedRow],
    refused: Sequence[Quarantined],
    shards: int,
    summary: dict[str, Any],
    config: PrepareConfig,
    origin: Origin | None = None,
) -> None:
    """Write manifest, quarantine, data card, checksums, Croissant metadata, summary and, last, ``corpus.json``.

    Args:
        images: of the studies, in their order.
        shards: their number; they are in the store already.
        origin: the public set that the corpus was made from.
    """
    rows = [study.row() for study in studies]
    checksums = {
        "manifest.parquet": put(store, "manifest.parquet", lambda path: write_table(path, rows, MANIFEST_SCHEMA)),
        "quarantine.parquet": put(store, "quarantine.parquet", lambda path: write_quarantine(path, refused)),
    }
    depth = [config.depth] if config.depth != 8 else []
    mark = fingerprint(rows, [(row.image_id, row.digest) for row in images], *depth)
    write_card(store, studies, images, summary, mark, config)
    put(store, "summary.json", lambda path: write_json(path, summary))
    info = {
        "fingerprint": mark,
        "size": config.size,
        "depth": config.depth,
        "codec": config.codec,
        "store": config.store,
        "shards": shards,
        **{key: summary[key] for key in _COUNTED},
        **({"source": dataclasses.asdict(origin)} if origin else {}),
    }
    images_in = shard_checksums(store, shards, config)
    lines = "".join(
        f"{checksum}  {name}\n" for name, checksum in {**checksums, **images_in}.items()
    )  # `sha256sum --check` reads it
    checksums["checksums.sha256"] = put(store, "checksums.sha256", lambda path: write_text_atomic(path, lines))
    metadata = croissant(studies, checksums, images_in, info, config)
    put(store, "croissant.json", lambda path: write_json(path, metadata))
    put(store, "corpus.json", lambda path: write_json(path, info))


def put(store: Store, name: str, write: Callable[[Path], None]) -> str:
    """Have ``write`` make the file ``name``; its SHA-256."""
    with store.writing(name) as path:
        write(path)
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
