"""Weights in a file beside the graph: for models above protobuf's limit of 2 GiB, and nothing else may be read that way.

ONNX lets any tensor name a file and an offset (onnx/docs/ExternalData.md). A hostile graph could so have the runtime read what
its user may read and it may not; so every location is checked before ONNX Runtime sees the file: it must be a plain name, of a
regular file inside the graph's own folder, that the graph's sealed metadata lists with its size and SHA-256. Session options
cannot give this: ONNX Runtime follows what they do not name, and versions differ in what they refuse by themselves.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from medzoo.data.download import file_checksum
from medzoo.data.errors import ExportError, OnnxFileError
from medzoo.export.files.protobuf import ModelFile

KEY = "medzoo.external"
"""Metadata entry: JSON, file name → {"bytes", "sha256"}. It is under the graph's own sum, and so the data are too."""
LIMIT = 2**31 - 2**26
"""Bytes of weights above which they leave the graph: 2 GiB, protobuf's limit of a message, less 64 MiB for nodes and metadata."""
INLINE = 1024
"""Smaller tensors stay in the graph: shape inference reads them there (as onnx.save does)."""
ALIGNMENT = 4096
"""Offsets are multiples of a memory page, so that the runtime may map the file (onnx/docs/ExternalData.md)."""


def check_external(path: Path, described: str | None, found: ModelFile) -> None:
    """Refuse external data that is anything but a sealed file beside the graph.

    Args:
        path: The graph's file.
        described: The metadata entry `medzoo.external`; None if there is none.
        found: What `medzoo.export.files.protobuf.read_model` says of the graph.

    Raises:
        OnnxFileError: One line: a location that is no plain file name or leads out of the folder, is missing, shorter or longer
            than sealed, altered, or not under the seal; or a graph that reads files in another way.
    """
    if "EPContext" in found.operators:  # names a file of a compiled graph, outside of what is checked here
        raise OnnxFileError(f"{path} holds an EPContext node, which may read any file; medzoo writes none: export it again")
    for location in sorted(found.locations):
        if location in ("", ".", "..") or any(mark in location for mark in "/\\:\0") or len(location) > 255:
            raise OnnxFileError(
                f"{path} wants to read {location[:80]!r}: external data must be a plain file name in the graph's own folder; "
                "do not use this file"
            )
    try:
        entries = {} if described is None else json.loads(described)
        sealed = {str(name): (int(e["bytes"]), str(e["sha256"])) for name, e in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OnnxFileError(f"{path} is damaged: its list of external files cannot be read; copy or export it again") from None
    if set(sealed) != found.locations:
        odd = ", ".join(sorted(set(sealed) ^ found.locations))
        raise OnnxFileError(f"{path} and its checksum do not name the same external files ({odd[:120]}); export it again")
    for name, (size, digest) in sealed.items():
        _check_file(path, name, size, digest)


def weight_bytes(model: Any) -> int:
    """Return the bytes of a model's initialisers; a serialised model is a little larger (and cannot be above 2 GiB)."""
    return sum(len(tensor.raw_data) or 8 * math.prod(tensor.dims) for tensor in model.graph.initializer)


def write_external(model: Any, data: Path, name: str) -> Any:
    """Write a model's weights into a file of their own, synced to the disk.

    Args:
        model: An `onnx.ModelProto` with its weights inside; it is not changed.
        data: The file to write.
        name: What the graph shall call it: the name it will have beside the graph.

    Returns:
        The same model without those weights, each replaced by its place in the file; the file's size and SHA-256 are in the
        metadata.

    Raises:
        ExportError: If the file cannot be written.
    """
    # Not onnx_ir.save: it writes a model of its own reading, and what was proven shall be written, field by field; it gives no
    # sum of what it writes, so that every byte would be read again; and it aligns offsets only since 1.1.
    bare = _without_initializers(model)
    digest, size = hashlib.sha256(), 0
    try:
        with data.open("wb") as file:
            for tensor in model.graph.initializer:
                content = tensor.raw_data
                kept = bare.graph.initializer.add()
                if len(content) < INLINE:
                    kept.CopyFrom(tensor)
                    continue
                padding = bytes(-size % ALIGNMENT)
                for part in (padding, content):
                    file.write(part)
                    digest.update(part)
                kept.name, kept.data_type = tensor.name, tensor.data_type
                kept.dims.extend(tensor.dims)
                kept.data_location = 1  # TensorProto.EXTERNAL
                for key, value in (("location", name), ("offset", size + len(padding)), ("length", len(content))):
                    kept.external_data.add(key=key, value=str(value))
                size += len(padding) + len(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        data.unlink(missing_ok=True)
        raise ExportError(
            f"cannot write {data}: {error.strerror or error}; see that there is space and a right to write"
        ) from error
    bare.metadata_props.add(key=KEY, value=json.dumps({name: {"bytes": size, "sha256": digest.hexdigest()}}))
    return bare


def _check_file(path: Path, name: str, size: int, digest: str) -> None:
    data = path.parent / name
    try:
        if data.resolve(strict=True).parent != path.parent.resolve(strict=True):
            raise OnnxFileError(f"{data} is a link that leads out of its folder; copy the file it points to beside {path.name}")
        if not data.is_file():
            raise OnnxFileError(f"{data} is not a regular file; copy or export {path.name} and {name} again, together")
        have = data.stat().st_size
        if have != size:
            raise OnnxFileError(
                f"{data} has {have:,} bytes, not the {size:,} that were exported; copy {path.name} and {name} again, together"
            )
        if file_checksum(data, "sha256") != digest:
            raise OnnxFileError(
                f"{data} is damaged, altered or of another export: its SHA-256 does not match; copy it again with {path.name}"
            )
    except FileNotFoundError:
        raise OnnxFileError(f"{data} is missing: {path.name} keeps its weights there; copy both files together") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, in Python below 3.13
        raise OnnxFileError(f"cannot read {data}: {getattr(error, 'strerror', None) or error}") from error


def _without_initializers(model: Any) -> Any:
    """Copy a model, field by field, but for its weights: they are never held twice."""
    bare = type(model)()
    for message, copy in ((model, bare), (model.graph, bare.graph)):
        for described, value in message.ListFields():
            if described.name in ("graph", "initializer"):
                continue
            if hasattr(value, "extend"):
                getattr(copy, described.name).extend(value)
            elif described.message_type is None:
                setattr(copy, described.name, value)
            else:
                getattr(copy, described.name).CopyFrom(value)
    return bare
