"""What a tar file holds, read once from end to end by its headers; strict, because a member that is misread is a wrong label.

Nothing is unpacked, no link is followed. Pixels are passed over; members of words are kept.
"""

from __future__ import annotations

import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from medzoo.data.errors import DatasetError
from medzoo.data.tars.names import TEXT, key_and_ending, last_part, leaves_tar

LARGEST_TEXT = 2**20
"""Bytes of a member of words."""
MOST_ENDINGS = 64
"""Above which names are taken for ones with dots in them, such as DICOM's numbers."""
ABSENT = -1
_BLOCK = tarfile.BLOCKSIZE
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


@dataclass
class Contents:
    """The samples of a tar file, in its order.

    Attributes:
        keys: Of the samples.
        offsets: Ending → where each sample's member of it begins, `ABSENT` where it has none.
        sizes: Ending → its bytes.
        texts: Ending → the words of each sample's member, None where it has none; of the endings of words.
        passed_over: Members that are of no sample, by name, some of them; the count of all is `strays`.
        strays: How many.
    """

    keys: list[str] = field(default_factory=list)
    offsets: dict[str, array[int]] = field(default_factory=dict)
    sizes: dict[str, array[int]] = field(default_factory=dict)
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    strays: int = 0

    def begin(self, key: str) -> None:
        """Begin a sample."""
        self.keys.append(key)
        for ending, offsets in self.offsets.items():
            offsets.append(ABSENT)
            self.sizes[ending].append(ABSENT)
        for texts in self.texts.values():
            texts.append(None)

    def add(self, ending: str, offset: int, size: int) -> bool:
        """Give the last sample a member; False if it has one of that ending already."""
        if ending not in self.offsets:
            self.offsets[ending] = array("q", [ABSENT]) * len(self.keys)
            self.sizes[ending] = array("q", [ABSENT]) * len(self.keys)
        if self.offsets[ending][-1] != ABSENT:
            return False
        self.offsets[ending][-1], self.sizes[ending][-1] = offset, size
        return True


def scan(path: Path) -> Contents:
    """Return what a tar file holds.

    Raises:
        DatasetError: One line naming the file and the member: no tar file, compressed, cut short, damaged, or holding links,
            sparse members, names that leave it, a sample in two places, a member twice, or words that are none.
    """
    try:
        with path.open("rb") as file:
            return _scan(path, file)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such shard; set data.root and data.urls") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None


def _scan(path: Path, file: BinaryIO) -> Contents:
    head = file.read(_BLOCK)
    for mark, kind in _PACKED.items():
        if head.startswith(mark):
            raise DatasetError(
                f"{path}: is compressed ({kind}), and a sample in it cannot be reached by its offset; unpack it once to a plain "
                ".tar (images do not shrink by it)"
            )
    found, at = Contents(), ""
    for member in _members(path, file):
        name = member.name
        if member.isdir():
            continue
        _refuse_what_is_no_file(path, member)
        parts = key_and_ending(name)
        if parts is None:
            found.strays += 1
            found.passed_over += [name] if len(found.passed_over) < 3 else []
            continue
        key, ending = parts
        if key != at or not found.keys:
            found.begin(key)
            at = key
        if not found.add(ending, member.offset_data, member.size):
            raise DatasetError(f"{path}: sample {key!r} has two members .{ending}; keep one")
        if len(found.offsets) > MOST_ENDINGS:
            raise DatasetError(
                f"{path}: has more than {MOST_ENDINGS} kinds of members, such as .{ending} of {key!r}; the key of a "
                "sample is its name up to the first dot: write names without dots"
            )
        if last_part(ending) in TEXT:
            texts = found.texts.setdefault(ending, [None] * len(found.keys))
            texts[-1] = _text(path, name, file, member)
    if not found.keys:
        raise DatasetError(f"{path}: holds no sample: no member named <key>.<ending>")
    _refuse_split_samples(path, found.keys)
    return found


def _members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the members up to the end mark, which must be there with nothing behind it."""
    file.seek(0)
    name = ""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps them all otherwise
                name = member.name
                yield member
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError) as error:
        if not name:
            raise DatasetError(f"{path}: is no tar file, or damaged at its start ({error})") from None
        raise DatasetError(f"{path}: is damaged or cut short after {name!r} ({error}); fetch or write it again") from None
    file.seek(end)
    mark = file.read(2 * _BLOCK)
    if len(mark) < 2 * _BLOCK:
        raise DatasetError(f"{path}: is cut short after {name!r}: the end mark of a tar file is missing; fetch or write it again")
    if mark.strip(b"\0"):
        raise DatasetError(f"{path}: is damaged after {name!r}; fetch or write it again")
    while more := file.read(2**20):
        if more.strip(b"\0"):
            raise DatasetError(f"{path}: more follows its end mark, as in tar files put one behind the other; keep them apart")


def _refuse_what_is_no_file(path: Path, member: tarfile.TarInfo) -> None:
    name = member.name
    if leaves_tar(name):
        raise DatasetError(f"{path}: member {name[:200]!r} has a path that leaves the shard; write relative names")
    if "\0" in name or not name.isprintable():
        raise DatasetError(f"{path}: member {name[:200]!r} has a name that is no text; write names in UTF-8")
    if member.islnk() or member.issym():
        raise DatasetError(f"{path}: member {name!r} is a link to {member.linkname[:99]!r}; write the file (tar --dereference)")
    if member.issparse():
        raise DatasetError(f"{path}: member {name!r} is sparse; write it whole (tar without --sparse)")
    if not member.isreg() or member.size < 0:
        raise DatasetError(f"{path}: member {name!r} is no file; write files alone")


def _text(path: Path, name: str, file: BinaryIO, member: tarfile.TarInfo) -> str:
    if member.size > LARGEST_TEXT:
        raise DatasetError(f"{path}: {name!r} has {member.size:,} bytes; a member of words has at most {LARGEST_TEXT:,}")
    file.seek(member.offset_data)
    try:
        return file.read(member.size).decode("utf-8")
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: {name!r} is no text in UTF-8") from None


def _refuse_split_samples(path: Path, keys: list[str]) -> None:
    if len(set(keys)) < len(keys):
        key = next(key for key, count in Counter(keys).items() if count > 1)
        raise DatasetError(
            f"{path}: the members of sample {key!r} do not stand together; write a sample's members one behind the other, or "
            "give samples keys of their own"
        )
