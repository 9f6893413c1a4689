"""A SHA-256 that travels inside an ONNX file: against accidents, not against an adversary (it is no signature).

The file is written with 64 zeros in place of the sum; the sum is over those bytes and then takes the zeros' place. Checking
needs plain Python alone: find the sum, put the zeros back, hash again. Weights in a file of their own are covered too: their
size and SHA-256 are metadata of the graph (`medzoo.export.files.external_data`).
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path

from medzoo.data.errors import OnnxFileError
from medzoo.export.files.external_data import KEY as EXTERNAL
from medzoo.export.files.external_data import check_external
from medzoo.export.files.protobuf import Content, MalformedError, ModelFile, read_model

KEY = "medzoo.sha256"
PREFIX = b"sha256:"
PLACEHOLDER = PREFIX.decode() + "0" * 64


def seal(content: bytes) -> bytes:
    """Replace the placeholder in a serialised model by the sum of the whole; OnnxFileError unless it is there exactly once."""
    place = content.find(PLACEHOLDER.encode())
    if place < 0 or content.count(PLACEHOLDER.encode()) != 1:
        raise OnnxFileError("the model to seal must hold the placeholder of its sum exactly once")
    digest = hashlib.sha256(content).hexdigest().encode()
    start = place + len(PREFIX)
    return content[:start] + digest + content[start + 64 :]


def check(path: Path) -> None:
    """Check a file against the sum inside it, and the files it reads its weights from, before anything opens them.

    Raises:
        OnnxFileError: One line, if the file is missing, truncated, altered or not medzoo's; or if it names external data that
            is not a sealed file in its own folder.
    """
    with _mapped(path) as content:
        try:
            found = read_model(content)
        except MalformedError as error:
            raise OnnxFileError(f"{path} is truncated, damaged or no ONNX file ({error}); copy or export it again") from None
        _check_sum(path, content, found)
        external = found.metadata.get(EXTERNAL)
        described = None if external is None else bytes(content[slice(*external)]).decode("utf-8", "replace")
    check_external(path, described, found)


def read_metadata(path: Path, key: str) -> str | None:
    """Return an entry of a file's metadata; None if it has none, or is no ONNX file. It is not checked: see `check`."""
    with _mapped(path) as content, contextlib.suppress(MalformedError):
        if (place := read_model(content).metadata.get(key)) is not None:
            return bytes(content[slice(*place)]).decode("utf-8", "replace")
    return None


def weight_files(path: Path) -> set[str]:
    """Return the names of the files that a graph reads its weights from; none if there is no such graph."""
    if path.is_file():
        with _mapped(path) as content, contextlib.suppress(MalformedError):
            return read_model(content).locations
    return set()


def files_of(path: Path) -> list[Path]:
    """Return a graph's file and the files its weights are in."""
    return [path, *(path.parent / name for name in sorted(weight_files(path)))]


def _check_sum(path: Path, content: Content, found: ModelFile) -> None:
    first, last = found.metadata.get(KEY, (0, 0))
    if last - first != len(PLACEHOLDER) or bytes(content[first : first + len(PREFIX)]) != PREFIX:
        raise OnnxFileError(f"{path} is truncated or was not exported by medzoo (it holds no checksum); export it again")
    start = first + len(PREFIX)
    with memoryview(content) as view, view[:start] as before, view[last:] as after:
        digest = hashlib.sha256(before)
        digest.update(b"0" * 64)
        digest.update(after)
    if digest.hexdigest().encode() != bytes(content[start:last]):
        raise OnnxFileError(f"{path} is damaged or was altered: its SHA-256 does not match; copy or export it again")


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[Content]:
    """Give a file's bytes without reading it into memory: a graph may hold up to 2 GiB of weights."""
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:  # cannot be mapped
                yield b""
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield content
    except OSError as error:
        raise OnnxFileError(f"cannot read {path}: {error.strerror}") from error
