"""A SHA-256 that travels inside an ONNX file: against accidents, not against an adversary (it is no signature).

The file is written with 64 zeros in place of the sum; the sum is over those bytes and then takes the zeros' place. Checking
needs plain Python alone: find the sum, put the zeros back, hash again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from medzoo.data.errors import OnnxFileError

KEY = "medzoo.sha256"
PREFIX = b"sha256:"
PLACEHOLDER = PREFIX.decode() + "0" * 64


def seal(content: bytes) -> bytes:
    """Replace the placeholder in a serialised model by the sum of the whole.

    Raises:
        OnnxFileError: If the placeholder is not there exactly once.
    """
    place = content.find(PLACEHOLDER.encode())
    if place < 0 or content.count(PLACEHOLDER.encode()) != 1:
        raise OnnxFileError("the model to seal must hold the placeholder of its sum exactly once")
    digest = hashlib.sha256(content).hexdigest().encode()
    start = place + len(PREFIX)
    return content[:start] + digest + content[start + 64 :]


def check(path: Path) -> None:
    """Check a file against the sum inside it.

    Raises:
        OnnxFileError: One line, if the file is missing, truncated, altered or not medzoo's.
    """
    try:
        content = bytearray(path.read_bytes())
    except OSError as error:
        raise OnnxFileError(f"cannot read {path}: {error.strerror}") from error
    # The key stands right before its value in the protobuf; weights can hold the prefix by chance, the key cannot.
    place = content.rfind(KEY.encode())
    start = content.find(PREFIX, place) + len(PREFIX) if place >= 0 else -1
    digest = bytes(content[start : start + 64])
    if place < 0 or start < len(PREFIX) or start - place > len(KEY) + 32 or len(digest) < 64:
        raise OnnxFileError(f"{path} is truncated or was not exported by medzoo (it holds no checksum); export it again")
    content[start : start + 64] = b"0" * 64
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise OnnxFileError(f"{path} is damaged or was altered: its SHA-256 does not match; copy or export it again")
