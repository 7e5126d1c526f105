from __future__ import annotations

import http.server
import io
import json
import multiprocessing
import os
import pickle
import tarfile
import threading
import uuid
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
from corpus_factory import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from safe_factory import make_safe
from typer.testing import CliRunner

from anonymize.console import Console, UserError
from anonymize.files import read_json
from vlp.cli import app
from vlp.corpus import build, decoded
from vlp.corpus.cache import SquareCache
from vlp.corpus.codec import decode
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square, to_square
from vlp.corpus.prepare import run_prepare
from vlp.corpus.store import Store
from vlp.corpus.tar import TarRow, TarShards, key_of, write_index, write_tar

QUIET = Console("quiet")
TIMES = ("summary.json", "config.yaml")  # hold times, or the number of workers


def config(**values) -> PrepareConfig:
    return PrepareConfig(**{"size": 48, "workers": 1, "shard_images": 4, **values})


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    return make_safe(tmp_path_factory.mktemp("safe"), studies=10)[0]


@pytest.fixture
def memory():
    location = f"memory://{uuid.uuid4().hex}/corpus"
    yield location
    fsspec.filesystem("memory").rm(location.rpartition("/")[0], recursive=True)


def files(location: str | Path) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(str(location))
    names = {path.removeprefix(root.rstrip("/") + "/"): path for path in fs.find(root)}
    return {name: fs.cat_file(path) for name, path in names.items() if name not in TIMES}


def pixels_of(corpus: Corpus) -> list[np.ndarray]:
    return [corpus.pixels(ref) for study in corpus.studies for ref in study.images]


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_an_object_store_gets_what_a_folder_gets(safe, tmp_path, memory, kind):
    run_prepare(config(store=kind), safe, tmp_path / "corpus", QUIET)
    run_prepare(config(store=kind), safe, memory, QUIET)
    assert files(memory) == files(tmp_path / "corpus")
    here, there = Corpus.open(tmp_path / "corpus"), Corpus.open(memory)
    assert there.studies == here.studies
    assert there.card == here.card
    copy = pickle.loads(pickle.dumps(there))  # noqa: S301 - as a worker gets it
    for a, b, c in zip(pixels_of(here), pixels_of(there), pixels_of(copy), strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)


def test_a_killed_preparation_goes_on_in_an_object_store(safe, tmp_path, memory, monkeypatch):
    original, seen = build.prepare_image, []

    def killed(image, *how):
        seen.append(image.image_id)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return original(image, *how)

    monkeypatch.setattr(build, "prepare_image", killed)
    with pytest.raises(KeyboardInterrupt):
        run_prepare(config(), safe, memory, QUIET)
    with pytest.raises(UserError, match="vlp prepare"):
        Corpus.open(memory)
    run_prepare(config(), safe, memory, QUIET)
    assert seen[7:] == [f"I{n:03d}" for n in range(4, 10)]
    run_prepare(config(), safe, tmp_path / "corpus", QUIET)
    assert files(memory) == files(tmp_path / "corpus")


def test_a_kill_between_shard_and_index_vouches_for_nothing(safe, tmp_path, monkeypatch):
    """The former index once stayed beside a shard of other settings, and the next run with the old ones believed it."""
    out = tmp_path / "corpus"
    run_prepare(config(), safe, out, QUIET)
    expected = files(out)

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(decoded, "write_table", kill)
        with pytest.raises(KeyboardInterrupt):
            run_prepare(config(size=40), safe, out, QUIET)
    run_prepare(config(), safe, out, QUIET)
    assert files(out) == expected


def test_nothing_of_another_kind_or_size_is_left(safe, tmp_path):
    out = tmp_path / "corpus"
    run_prepare(config(store="tar", shard_images=2, card_examples=1), safe, out, QUIET)
    assert (out / "card" / "examples.png").is_file()
    run_prepare(config(), safe, out, QUIET)
    run_prepare(config(), safe, tmp_path / "fresh", QUIET)
    assert files(out) == files(tmp_path / "fresh")


def test_tar_shards_are_webdataset_samples(safe, tmp_path):
    run_prepare(config(store="tar", codec="png"), safe, tmp_path / "corpus", QUIET)
    corpus = Corpus.open(tmp_path / "corpus")
    refs = {ref.image_id: ref for study in corpus.studies for ref in study.images}
    seen = 0
    for path in sorted((tmp_path / "corpus" / "images").glob("*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}
            for picture, facts in zip(members[::2], members[1::2], strict=True):
                key = picture.name.removesuffix(".png")
                assert facts.name == f"{key}.json"
                told = json.load(archive.extractfile(facts))
                ref = refs[told["image_id"]]
                assert (told["height"], told["width"]) == (ref.height, ref.width)
                assert np.array_equal(decode(archive.extractfile(picture).read()), corpus.pixels(ref))
                seen += 1
    assert seen == len(refs) == 10


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=8),
    sizes=st.lists(st.integers(0, 1600), min_size=8, max_size=8),
)
def test_any_identifier_is_one_webdataset_key(tmp_path_factory, ids, sizes):
    folder = tmp_path_factory.mktemp("tar")
    rows = [TarRow(i, bytes(size), b"{}") for i, size in zip(ids, sizes, strict=False)]
    write_index(folder / "images/shard-00000.index.npy", write_tar(folder / "images/shard-00000.tar", rows, "png"))
    reader = TarShards(Store(folder))
    assert [reader.encoded(0, n) for n in range(len(rows))] == [row.data for row in rows]
    with tarfile.open(folder / "images/shard-00000.tar") as archive:
        names = archive.getnames()
    assert names == [f"{key_of(i)}.{ending}" for i in ids for ending in ("png", "json")]
    assert len({name.partition(".")[0] for name in names}) == len(ids)
    assert not any("/" in name for name in names)
    for row in (-1, len(rows)):
        with pytest.raises(IndexError):
            reader.encoded(0, row)
    with pytest.raises(FileNotFoundError):
        reader.encoded(1, 0)


def test_a_zip_is_read_where_it_lies(tmp_path):
    folder = make_corpus(tmp_path / "corpus", studies=6)
    with zipfile.ZipFile(tmp_path / "corpus.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    here, there = Corpus.open(folder), Corpus.open(f"zip://::{tmp_path / 'corpus.zip'}")
    for a, b in zip(pixels_of(here), pixels_of(there), strict=True):
        assert np.array_equal(a, b)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Files by range, as an object store gives them; counts the bytes of shards that it sent."""

    sent = 0

    def do_HEAD(self):
        self._answer(False)

    def do_GET(self):
        self._answer(True)

    def _answer(self, body):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, wanted = path.read_bytes(), self.headers.get("Range")
        size = len(data)
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            data = data[start:stop]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
            if "shard" in path.name:
                type(self).sent += len(data)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_over_a_network_only_the_asked_range_is_read(tmp_path, kind):
    pytest.importorskip("aiohttp", reason="fsspec reads http locations with aiohttp, which is not installed")
    folder = make_corpus(tmp_path / "corpus", studies=40, size=256)
    if kind == "tar":
        _as_tar(folder)
    whole = sum(path.stat().st_size for path in (folder / "images").iterdir())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _Ranges.sent = 0
        there, here = Corpus.open(f"http://127.0.0.1:{server.server_port}"), Corpus.open(folder)
        for study in (here.studies[31], here.studies[2]):
            assert np.array_equal(there.pixels(study.images[0]), here.pixels(study.images[0]))
        assert 0 < _Ranges.sent < whole / 3
    finally:
        server.shutdown()
        server.server_close()


def _as_tar(folder: Path) -> None:
    """The corpus of the factory, its shard as a tar."""
    corpus = Corpus.open(folder)
    refs = sorted((ref for study in corpus.studies for ref in study.images), key=lambda ref: ref.row)
    rows = [TarRow(ref.image_id, bytes(corpus._images._shards.encoded(ref.shard, ref.row)), b"{}") for ref in refs]
    write_index(folder / "images/shard-00000.index.npy", write_tar(folder / "images/shard-00000.tar", rows, "tif"))
    (folder / "images/shard-00000.parquet").unlink()
    info = read_json(folder / "corpus.json")
    (folder / "corpus.json").write_text(json.dumps({**info, "store": "tar"}))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs forked workers")
@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_forked_workers_do_not_share_the_parents_files(tmp_path, kind):
    folder = make_corpus(tmp_path / "corpus", studies=24)
    if kind == "tar":
        _as_tar(folder)
    corpus = Corpus.open(f"zip://::{_zipped(folder)}")
    expected = pixels_of(corpus)  # opens the shard here, before the fork
    # leaving a multiprocessing.Pool sends SIGTERM, which another test of this process may have left caught
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        found = list(pool.map(partial(_all_pixels, corpus), range(2)))
    for images in found:
        assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))


def _zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    return target


def _all_pixels(corpus: Corpus, _: int) -> list[np.ndarray]:
    return pixels_of(corpus)


def test_where_commands_find_a_location(tmp_path, memory):
    """Commands take paths, and pathlib makes one slash of two."""
    assert Store(Path("s3://bucket/corpus".replace("s3", "memory"))).location == "memory://bucket/corpus"
    assert Store(f"file://{tmp_path}").folder == tmp_path
    assert Store(tmp_path / "a").address("card.md") == str(tmp_path / "a" / "card.md")
    with pytest.raises(UserError, match="cannot be opened"):
        Store("nosuch://place")
    safe, _, _ = make_safe(tmp_path / "safe")
    done = CliRunner().invoke(app, ["prepare", str(safe), "--out", memory, "size=32", "workers=1", "depth=16"])
    assert done.exit_code == 0, done.output
    corpus = Corpus.open(Path(memory))
    deep = [corpus.deep_pixels(ref) for study in corpus.studies for ref in study.images]
    assert any(len(np.unique(image)) > 256 for image in deep)
    for image, flat in zip(deep, pixels_of(corpus), strict=True):
        assert np.abs(image / 257 - flat).max() <= 0.5


def test_squares_are_decoded_once_by_all_processes(tmp_path, monkeypatch):
    folder = make_corpus(tmp_path / "corpus", studies=8)
    plain = Corpus.open(folder)
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    first = Corpus.open(folder)
    square = Square(24)
    refs = [ref for study in plain.studies for ref in study.images]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(partial(_squares, first, square), [refs[:8], refs[4:]])
    again = pickle.loads(pickle.dumps(first))  # noqa: S301
    monkeypatch.setattr(again, "pixels", lambda _: pytest.fail("decoded again"))
    for ref in refs:
        found = again.square(ref, square)
        assert np.array_equal(found, plain.square(ref, square))
        assert found.flags.writeable
    assert not np.array_equal(first.square(refs[0], Square(24, "squash")), plain.square(refs[0], square))
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "cache").iterdir())


def _squares(corpus: Corpus, square: Square, refs) -> None:
    for ref in refs:
        corpus.square(ref, square)


def test_a_square_that_was_half_written_is_not_read(tmp_path):
    cache = SquareCache(tmp_path, "f", Square(8), 3)
    images = [np.full((8, 8), value, np.uint8) for value in (7, 0, 9)]
    for position, image in enumerate(images):
        assert cache.get(position) is None
        cache.put(position, image)
    pixels = next(tmp_path.glob("*.pixels"))
    data = bytearray(pixels.read_bytes())
    data[130:192] = bytes(62)  # as after a crash of the machine: the checksum came to the disk, its square did not
    pixels.write_bytes(data)
    again = SquareCache(tmp_path, "f", Square(8), 3)
    assert [found is not None for found in map(again.get, range(3))] == [True, True, False]
    assert np.array_equal(again.get(1), images[1])
    assert SquareCache(tmp_path, "other corpus", Square(8), 3).get(0) is None


def test_a_full_disk_ends_the_keeping_not_the_run(tmp_path, monkeypatch):
    cache = SquareCache(tmp_path, "f", Square(8), 3)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    cache.put(0, np.ones((8, 8), np.uint8))
    assert cache.get(0) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="another folder"):
        SquareCache(tmp_path / "file", "f", Square(8), 3)


def test_an_image_in_a_shard_opens_with_pillow_alone(safe, tmp_path):
    """What docs/prepare.md tells others to write."""
    import pyarrow.parquet as pq
    from PIL import Image

    run_prepare(config(), safe, tmp_path / "corpus", QUIET)
    row = pq.read_table(tmp_path / "corpus/images/shard-00000.parquet").slice(0, 1).to_pylist()[0]
    corpus = Corpus.open(tmp_path / "corpus")
    ref = next(ref for study in corpus.studies for ref in study.images if ref.image_id == row["image_id"])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["image"]))), corpus.pixels(ref))
    assert to_square(corpus.pixels(ref), Square(32)).shape == (32, 32)
