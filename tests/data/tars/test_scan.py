"""Tar files read strictly: what is there, and one line for whatever is not as it must be."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medzoo.data.errors import DatasetError
from medzoo.data.tars.names import are_keys, key_and_ending
from medzoo.data.tars.scan import ABSENT, scan

Edit = Callable[[tarfile.TarInfo], None]


def write(path: Path, members: list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT, edit: Edit = lambda info: None) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            edit(info)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/0001.seg.PNG", ("a/0001", "seg.png")), ("./b.json", ("b", "json")), ("x.y/0.txt", ("x.y/0", "txt")),
        ("README", None), (".hidden.png", None), ("a/._0001.png", None), ("__meta__", None),
        ("__meta__/x.png", None), ("a.", None),
    ],
)  # fmt: skip
def test_names_are_parted_as_webdataset_does(name: str, parts: tuple[str, str] | None) -> None:
    assert key_and_ending(name) == parts


def test_which_names_can_be_keys() -> None:
    assert are_keys(["a/b-1", "p 2(3)"])
    for name in ("a.b", "", "/a", "a//b", "../a", "__x__", "é", "a" * 91, " a"):
        assert not are_keys([name]), name


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_lie_where_it_says(tmp_path: Path, form: int) -> None:
    long = "é" * 60 + "/" + "k" * 70 if form != tarfile.USTAR_FORMAT else "k" * 70
    members = [("0.png", b"first"), ("0.json", b'{"a": 1}'), (f"{long}.png", b"second picture"), ("2.png", b"")]
    path = write(tmp_path / "x.tar", members, form)
    found = scan(path)
    assert found.keys == ["0", long, "2"]
    content = path.read_bytes()
    at = [content[o : o + s] for o, s in zip(found.offsets["png"], found.sizes["png"], strict=True)]
    assert at == [b"first", b"second picture", b""]
    assert list(found.offsets["json"])[1:] == [ABSENT, ABSENT]
    assert found.texts == {"json": ['{"a": 1}', None, None]}


def test_what_is_of_no_sample_is_passed_over_and_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("README", "a/._1.png", "a/1.png", "a/.DS_Store", "a/1.cls"):
            tar.addfile(tarfile.TarInfo(name))
    found = scan(tmp_path / "x.tar")
    assert (found.keys, found.strays, found.passed_over) == (["a/1"], 3, ["README", "a/._1.png", "a/.DS_Store"])


ONE = [("0.png", b"x" * 900), ("0.txt", b"a film"), ("1.png", b"y" * 700)]
CONTENTS: list[tuple[list[tuple[str, bytes]], str]] = [
    ([("0.png", b"a"), ("0.png", b"b")], "sample '0' has two members .png"),
    ([("0.png", b"a"), ("0.PNG", b"b")], "sample '0' has two members .png"),
    ([("0.png", b"a"), ("1.png", b"b"), ("0.txt", b"c")], "members of sample '0' do not stand together"),
    ([("../0.png", b"a")], "'../0.png' has a path that leaves the shard"),
    ([("/etc/0.png", b"a")], "has a path that leaves the shard"),
    ([("C:\\0.png", b"a")], "has a path that leaves the shard"),
    ([("0\n.png", b"a")], "has a name that is no text"),
    ([("0.txt", b"\xff\xfe")], "'0.txt' is no text in UTF-8"),
    ([("0.json", b" " * (2**20 + 1))], "a member of words has at most 1,048,576"),
    ([("README", b"a")], "holds no sample"),
    ([(f"{n}.{n}x", b"a") for n in range(70)], "more than 64 kinds of members"),
]


@pytest.mark.parametrize(("members", "message"), CONTENTS)
def test_wrong_members_are_one_line(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    refused(write(tmp_path / "x.tar", members), message)


def refused(path: Path, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        scan(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_links_devices_and_sparse_members_are_one_line(tmp_path: Path) -> None:
    for kind, message in ((tarfile.SYMTYPE, "is a link to"), (tarfile.LNKTYPE, "is a link to"), (tarfile.FIFOTYPE, "is no file")):

        def edit(info: tarfile.TarInfo, kind: bytes = kind) -> None:
            info.type, info.linkname = kind, "/etc/passwd"

        refused(write(tmp_path / "x.tar", [("0.png", b"")], edit=edit), message)
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "0.png", "GNU.sparse.realsize": "9"}

    def edit_sparse(info: tarfile.TarInfo) -> None:
        info.pax_headers = sparse

    content = b"1\n0\n1\n".ljust(512, b"\0") + b"a"
    refused(write(tmp_path / "y.tar", [("0.png", content)], tarfile.PAX_FORMAT, edit_sparse), "sparse")


def test_a_file_cut_anywhere_is_one_line(tmp_path: Path) -> None:
    content = write(tmp_path / "x.tar", ONE).read_bytes()
    end = len(content.rstrip(b"\0"))  # of the last picture
    end += -end % 512
    for size in (1, 300, 512, 700, 1024, 1536, 2000, 2048, 3100, end, end + 512, end + 1023):
        (tmp_path / "cut.tar").write_bytes(content[:size])
        with pytest.raises(DatasetError, match=r"cut\.tar: (is no tar file|is damaged|is cut short)"):
            scan(tmp_path / "cut.tar")
    (tmp_path / "whole.tar").write_bytes(content[: end + 1024])
    assert scan(tmp_path / "whole.tar").keys == ["0", "1"]


def test_other_files_are_one_line(tmp_path: Path) -> None:
    content = write(tmp_path / "x.tar", ONE).read_bytes()
    for name, data, message in (
        ("packed.tar", gzip.compress(content), "is compressed (gzip)"),
        ("zip.tar", b"PK\x03\x04" + bytes(600), "is compressed (zip)"),
        ("empty.tar", b"", "is no tar file"), ("zero.tar", bytes(10240), "holds no sample"),
        ("text.tar", b"no tar at all " * 99, "is no tar file"), ("two.tar", content + content, "more follows its end mark"),
        ("spoilt.tar", content[:1536] + b"\x07" * 512 + content[2048:], "is damaged"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, message)
    refused(tmp_path / "absent.tar", "there is no such shard")
    refused(tmp_path, "cannot be read")
