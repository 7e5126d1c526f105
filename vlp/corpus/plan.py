"""The plan of a preparation that several machines share: which images lie in which shard.

``plan.parquet`` in the corpus has one row group a shard, so that a task of an array reads only its own. It goes when the
preparation is finished: it holds the places of the source's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.console import Console, UserError
from anonymize.engines import Part
from anonymize.files import fingerprint, open_atomic
from vlp.corpus.build import Shard, build_shards
from vlp.corpus.config import PrepareConfig
from vlp.corpus.decoded import VERSION, DecodedRow, done_rows
from vlp.corpus.source import ImageFile
from vlp.corpus.store import Store

PLAN = "plan.parquet"
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("file", pa.string()),
        ("spacing_mm", pa.float64()),
        ("box", pa.list_(pa.int32())),
    ]
)


def write_plan(shards: Sequence[Shard], store: Store, config: PrepareConfig) -> dict[str, Any]:
    """Write the plan; its counts."""
    images = sum(len(shard.images) for shard in shards)
    facts = {"how": _how(config), "images": str(images)}
    with (
        store.writing(PLAN) as path,
        open_atomic(path) as stream,
        pq.ParquetWriter(stream, _SCHEMA.with_metadata(facts)) as out,
    ):
        for shard in shards:
            rows = [{name: getattr(image, name) for name in _SCHEMA.names} for image in shard.images]
            out.write_table(pa.Table.from_pylist(rows, _SCHEMA), row_group_size=config.shard_images)
    return {"images": images, "shards": len(shards)}


def work_on(part: Part, store: Store, config: PrepareConfig, console: Console) -> dict[str, Any]:
    """Make the shards of ``part`` that are not done.

    Raises:
        UserError: there is no plan, or it was made with other settings of the images.
    """
    if not store.exists(PLAN):
        raise UserError(f"{store.location} has no plan yet; run the same command with --plan first")
    with store.open(PLAN) as stream:
        file = pq.ParquetFile(stream)
        facts = file.schema_arrow.metadata
        if facts[b"how"].decode() != _how(config):
            raise UserError(f"the plan in {store.location} was made with other settings; run --plan with these first")
        mine = [number for number in range(file.num_row_groups) if part.takes(number)]
        images = sum(file.metadata.row_group(number).num_rows for number in mine)
        build_shards(_planned(file, mine), store, config, console, images)
    return {"images": images, "shards": len(mine)}


def finished_rows(shards: Sequence[Shard], store: Store, config: PrepareConfig) -> list[DecodedRow]:
    """The rows of all shards, in their order.

    Raises:
        UserError: a shard is missing, or was made of other files.
    """
    found = [done_rows(store, shard.number, shard.images, config) for shard in shards]
    missing = [shard.number for shard, rows in zip(shards, found, strict=True) if rows is None]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(shards)} shards are not done or were made of other files, the first of them is "
            f"number {missing[0]}; run the tasks (--shards) again, after --plan where the source has changed"
        )
    return [row for rows in found for row in rows or ()]


def _planned(file: pq.ParquetFile, numbers: Sequence[int]) -> Iterator[Shard]:
    for number in numbers:
        rows = file.read_row_group(number).to_pylist()
        yield Shard(
            number,
            tuple(
                ImageFile(r["image_id"], r["file"], "", "", r["spacing_mm"], tuple(r["box"]) if r["box"] else None)
                for r in rows
            ),
        )


def _how(config: PrepareConfig) -> str:
    names = {"size", "crop", "depth", "codec", "store", "shard_images"}
    return fingerprint(VERSION, config.model_dump(mode="json", include=names))
