"""Where a corpus lies: a folder, or any location that fsspec knows (``s3://bucket/corpus``, ``memory://``, ``zip://``).

Object stores cannot rename. There a file is made whole on this machine and then put as one object; whoever lists the
location sees all of it or none. In a folder, files take their names by renaming (``anonymize.files.open_atomic``).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fsspec.core import url_to_fs

from anonymize.console import UserError

# Path("s3://bucket") says "s3:/bucket": commands take paths, so one slash must do
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/]|$)")


class Store:
    """The files of one corpus by their names relative to it, such as ``images/shard-00000.parquet``.

    Pickled copies, and copies in forked processes, open the location anew: connections do not cross processes.
    """

    def __init__(self, location: str | Path) -> None:
        """Raises:
        UserError: no installed package of fsspec reads such locations.
        """
        text = os.fspath(location)
        found = _URL.match(text)
        self.folder: Path | None = None
        if "::" not in text and (found is None or found[1] in ("file", "local")):
            self.folder = Path(text[found.end() - 1 :] if found else text)
            self.location = str(self.folder)
            return
        self.location = f"{found[1]}://{text[found.end() :]}" if found and "::" not in text else text
        self._process = -1
        try:
            self._open()
        except (ImportError, ValueError) as error:
            raise UserError(f"{self.location} cannot be opened ({error})") from None

    def _open(self) -> tuple[Any, str]:
        if self._process != os.getpid():
            self._fs, root = url_to_fs(self.location)
            self._root = root.rstrip("/")
            self._process = os.getpid()
        return self._fs, self._root

    def _at(self, name: str) -> tuple[Any, str]:
        fs, root = self._open()
        return fs, f"{root}/{name}" if root else name

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.folder is not None:
            return (self.folder / name).is_file()
        fs, path = self._at(name)
        return bool(fs.isfile(path))

    def open(self, name: str) -> IO[bytes]:
        """A file to be read at any place; over a network every read is one request for that range.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if self.folder is not None:
            return (self.folder / name).open("rb")
        fs, path = self._at(name)
        return fs.open(path, "rb", cache_type="none")

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if self.folder is not None:
            return (self.folder / name).read_bytes()
        fs, path = self._at(name)
        return bytes(fs.cat_file(path))

    def read_json(self, name: str) -> Any:
        """The value in a JSON file."""
        return json.loads(self.read(name))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
            return
        fs, path = self._at(name)
        if fs.exists(path):
            fs.rm_file(path)

    def names(self, folder: str) -> list[str]:
        """Names of the files in ``folder``, sorted; none where there is no such folder."""
        if self.folder is not None:
            here = self.folder / folder
            return sorted(f"{folder}/{p.name}" for p in here.iterdir() if p.is_file()) if here.is_dir() else []
        fs, path = self._at(folder)
        fs.invalidate_cache(path)
        try:
            found = fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return sorted(
            f"{folder}/{item['name'].rstrip('/').rpartition('/')[2]}" for item in found if item["type"] == "file"
        )

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path on this machine to write the file to (atomically); it is in the store when the block ends."""
        if self.folder is not None:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="vlp-") as scratch:
            path = Path(scratch) / name.rpartition("/")[2]
            yield path
            fs, target = self._at(name)
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.put_file(str(path), target)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """A path on this machine to read a small file from.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if self.folder is not None:
            yield self.folder / name
            return
        with tempfile.TemporaryDirectory(prefix="vlp-") as scratch:
            path = Path(scratch) / name.rpartition("/")[2]
            path.write_bytes(self.read(name))
            yield path

    def address(self, name: str) -> str:
        """The file's full name, as a person would type it."""
        return f"{self.location.rstrip('/')}/{name}"

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"])

    def __repr__(self) -> str:
        return f"Store({self.location!r})"
