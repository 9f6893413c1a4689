"""The index of a tar file: made once, made anew when the file changes, believed only where it fits the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from medzoo.data.errors import DatasetError
from medzoo.data.tars import index as room
from medzoo.data.tars.index import open_index
from medzoo.data.tars.scan import ABSENT
from medzoo.data.tars.write import write_shard


def write(path: Path, count: int = 3) -> Path:
    write_shard(path, ((f"s{n}", {"png": b"p" * (n + 1), **({"txt": b"film %d" % n} if n else {})}) for n in range(count)))
    return path


def test_members_are_read_by_the_index(tmp_path: Path) -> None:
    index = open_index(write(tmp_path / "x.tar"))
    assert (len(index), index.endings, index.key(2)) == (3, ("png", "txt"), "s2")
    assert [index.read(row, "png") for row in range(3)] == [b"p", b"pp", b"ppp"]
    assert index.texts("txt").to_pylist() == [None, "film 1", "film 2"]
    assert index.offsets("txt")[0] == index.offsets("never")[1] == ABSENT


def test_the_same_samples_are_the_same_bytes(tmp_path: Path) -> None:
    one, other = write(tmp_path / "x.tar").read_bytes(), write(tmp_path / "y.tar").read_bytes()
    assert one == other
    assert open_index(tmp_path / "x.tar").digest() == open_index(tmp_path / "y.tar").digest()


def test_an_index_is_made_once_and_anew_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, scans = write(tmp_path / "x.tar"), []
    scan = room.scan
    monkeypatch.setattr(room, "scan", lambda path: scans.append(path) or scan(path))
    opened = open_index(path)
    assert len(open_index(path)) == len(opened) == 3
    assert len(scans) == 1
    os.utime(path, (1, 1))
    with pytest.raises(DatasetError, match=r"x\.tar: has changed since its index was read"):
        opened.read(0, "png")
    write(path, 4)
    assert len(open_index(path)) == 4
    assert len(scans) == 2


@pytest.mark.parametrize("spoil", ["cut", "text", "outside", "kind", "format"])
def test_a_spoilt_index_is_made_anew(tmp_path: Path, spoil: str) -> None:
    path = write(tmp_path / "x.tar")
    index = open_index(path)
    content, table = index.file.read_bytes(), index.columns
    if spoil == "cut":
        index.file.write_bytes(content[: len(content) // 2])
    elif spoil == "text":
        index.file.write_bytes(b"no index")
    else:
        if spoil == "outside":
            table = table.set_column(1, "offset.png", pa.array([0, 10**6, 0]))
        elif spoil == "kind":
            table = table.set_column(1, "offset.png", pa.array(["0", "1", "2"]))
        else:
            about = json.loads(table.schema.metadata[b"medzoo.shard"]) | {"format": 0}
            table = table.replace_schema_metadata({"medzoo.shard": json.dumps(about)})
        with pa.OSFile(str(index.file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    assert [open_index(path).read(row, "png") for row in range(3)] == [b"p", b"pp", b"ppp"]
    assert index.file.read_bytes() == content


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tar")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "x.tar.index").mkdir()  # so that nothing can take this place, not even for root
    assert open_index(path).file.parent == tmp_path / "cache" / "medzoo" / "shards"
    assert open_index(path).key(0) == "s0"
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    with pytest.raises(DatasetError, match=r"x\.tar: its index cannot be saved"):
        open_index(path)


def test_a_checksum_is_compared_once(tmp_path: Path) -> None:
    import hashlib

    path = write(tmp_path / "x.tar")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    open_index(path)
    assert open_index(path, digest).about["sha256"] == digest
    with pytest.raises(DatasetError, match=rf"x\.tar: its SHA-256 is {digest}, not {'0' * 64}"):
        open_index(path, "0" * 64)
