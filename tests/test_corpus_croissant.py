from __future__ import annotations

import hashlib

import pyarrow.parquet as pq
import pytest
from public_sets import prepare, vindr_cxr
from safe_factory import make_safe

from anonymize.config import ConfigError, load_config
from anonymize.console import Console
from anonymize.files import read_json
from vlp.corpus.config import AboutConfig, PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.prepare import run_prepare

ABOUT = AboutConfig(
    name="phantom corpus",
    licence="https://spdx.org/licenses/CC0-1.0.html",
    creator="vlp",
    url="https://example.org/corpus",
    published="2026-01-31",
    citation="None.",
)


@pytest.fixture(scope="module", params=["parquet", "tar"])
def corpus(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("croissant")
    safe, _, _ = make_safe(folder / "safe")
    run_prepare(
        PrepareConfig(size=48, workers=1, shard_images=4, store=request.param, about=ABOUT),
        safe,
        folder / "corpus",
        Console("quiet"),
    )
    return folder / "corpus"


def identifiers(value) -> tuple[list[str], list[str]]:
    """Identifiers that are given in a JSON-LD tree, and those that are referred to."""
    given, named = [], []
    if isinstance(value, dict):
        if "@id" in value:
            (given if "@type" in value else named).append(value["@id"])
        value = [child for key, child in value.items() if key != "@context"]
    for child in value if isinstance(value, list) else ():
        more = identifiers(child)
        given, named = given + more[0], named + more[1]
    return given, named


def test_the_metadata_name_what_is_there(corpus):
    metadata = read_json(corpus / "croissant.json")
    assert metadata["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert (metadata["license"], metadata["datePublished"]) == (ABOUT.licence, ABOUT.published)
    assert Corpus.open(corpus).fingerprint in metadata["version"]
    given, named = identifiers(metadata)
    assert len(set(given)) == len(given)
    assert set(named) <= set(given)
    for item in metadata["distribution"]:
        if item["@type"] == "cr:FileObject":
            data = (corpus / item["contentUrl"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == item["sha256"]
    columns = set(pq.read_schema(corpus / "manifest.parquet").names)
    studies = next(r for r in metadata["recordSet"] if r["name"] == "studies")
    used = {field["source"]["extract"]["column"] for field in studies["field"]}
    assert columns - used == {"labels"}
    assert used <= columns
    text = (corpus / "croissant.json").read_text()
    assert "S000" not in text
    assert "P000" not in text


def test_the_checksums_cover_every_shard(corpus):
    lines = (corpus / "checksums.sha256").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    shards = {f"images/{p.name}" for p in (corpus / "images").iterdir() if p.suffix in (".parquet", ".tar")}
    assert shards
    assert set(listed) == shards | {"manifest.parquet", "quarantine.parquet"}
    for name, checksum in listed.items():
        assert hashlib.sha256((corpus / name).read_bytes()).hexdigest() == checksum


def test_the_reference_library_accepts_and_reads_them(corpus, tmp_path, monkeypatch):
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (pip install mlcroissant)")
    from etils import epath

    # it unpacks by relative name, so that one corpus would get the files of another
    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(tmp_path))
    dataset = croissant.Dataset(str(corpus / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    opened = Corpus.open(corpus)
    read = list(dataset.records("studies"))
    assert [row["studies/study_id"].decode() for row in read] == [study.study_id for study in opened.studies]
    assert [row["studies/images_height"][0] for row in read] == [study.images[0].height for study in opened.studies]
    pictures = {row["images/image_id"].decode(): row["images/image"] for row in dataset.records("images")}
    assert {name: picture.size for name, picture in pictures.items()} == {
        ref.image_id: (ref.width, ref.height) for study in opened.studies for ref in study.images
    }


def test_the_reference_library_reads_where_boxes_are(tmp_path, monkeypatch):
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (pip install mlcroissant)")
    from etils import epath

    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(tmp_path))
    _, opened = prepare(tmp_path, "vindr-cxr", vindr_cxr)
    dataset = croissant.Dataset(str(tmp_path / "corpus/croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    read = [(row["studies/images_boxes_label"], row["studies/images_boxes_x0"]) for row in dataset.records("studies")]
    expected = [[(box.label, box.x0) for box in study.images[0].boxes[:1]] for study in opened.studies]
    found = [[(label.decode(), x0)] if label else [] for (label,), (x0,) in read]
    assert found == expected
    assert any(expected)


def test_what_is_not_known_is_left_out(tmp_path):
    safe, _, _ = make_safe(tmp_path / "safe")
    run_prepare(PrepareConfig(size=32, workers=1), safe, tmp_path / "corpus", Console("quiet"))
    metadata = read_json(tmp_path / "corpus" / "croissant.json")
    assert not {"license", "url", "creator", "datePublished", "citeAs"} & set(metadata)
    assert "none granted" in (tmp_path / "corpus" / "card.md").read_text()
    with pytest.raises(ConfigError, match="published"):
        load_config(PrepareConfig, None, ["about.published=yesterday"])
