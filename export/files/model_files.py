"""From a model in memory to files and sessions, whatever its size: protobuf cannot serialise more than 2 GiB."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from medzoo.data.errors import ExportError
from medzoo.export.files.external_data import LIMIT, weight_bytes, write_external
from medzoo.export.files.integrity import seal, weight_files
from medzoo.store.storage import sync_folder, write_file


def write_model(model: onnx.ModelProto, path: Path, limit: int | None = None) -> dict[str, Any]:
    """Seal a described model and write it, its weights in `<name>.data` beside it where they are too large for one file.

    The weights' file is complete on the disk before the graph's takes its place, and the graph seals it: of a pair that was
    interrupted in the middle, the graph does not pass its check.

    Args:
        model: With its metadata, the placeholder of its sum among them.
        path: The file to write; an older one, and its weights' file, are replaced.
        limit: Bytes of weights above which they leave the graph; None: `medzoo.export.files.external_data.LIMIT`.

    Returns:
        JSON-ready: `file`, `megabytes` (of both), and `external` if there is a second file.

    Raises:
        ExportError: If the weights cannot be written, or the graph without them is still too large.
        TrainingError: If the graph cannot be written.
    """
    data = path.with_name(f"{path.name}.data")
    if data.is_dir():
        raise ExportError(f"{data} is a folder; the weights' file goes there")
    if weight_bytes(model) <= (LIMIT if limit is None else limit):
        content, stale = seal(serialise(model)), data.name in weight_files(path)
        write_file(path, content)
        if stale:  # it belonged to the graph that stood here before, not to one that was given another name
            data.unlink(missing_ok=True)
        return {"file": path.name, "megabytes": round(len(content) / 1e6, 2)}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names of their own: two exports at once do not meet, and no link planted under a known name is followed.
    waiting_data, waiting_graph = _new_file(path.parent, data.name), _new_file(path.parent, path.name)
    try:
        content = seal(serialise(write_external(model, waiting_data, data.name)))
        write_file(waiting_graph, content)
        size = waiting_data.stat().st_size
        waiting_data.replace(data)
        waiting_graph.replace(path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        waiting_data.unlink(missing_ok=True)
        waiting_graph.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a system that cannot open folders makes renames last by itself
        sync_folder(path.parent)
    return {"file": path.name, "megabytes": round((len(content) + size) / 1e6, 2), "external": data.name}


def _new_file(folder: Path, name: str) -> Path:
    path = folder / f".{name}.{secrets.token_hex(8)}"
    path.open("xb").close()  # not mkstemp, whose files nobody else may read whatever the umask says
    return path


def open_model(model: onnx.ModelProto, limit: int | None = None) -> Any:
    """Return a CPU `onnxruntime.InferenceSession` of a model, by way of a temporary folder where it is too large for bytes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of initialisers that may be overridden, which is what they are for
    with _given(model, limit) as given:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def check_model(model: onnx.ModelProto, limit: int | None = None) -> None:
    """Run ONNX's own full check, types and shapes included; its ValidationError or InferenceError if it fails."""
    with _given(model, limit) as given:
        onnx.checker.check_model(given, full_check=True)


def serialise(model: onnx.ModelProto) -> bytes:
    """Return a model's bytes; ExportError if it is above protobuf's limit of 2 GiB."""
    try:
        return bytes(model.SerializeToString())
    except Exception as error:  # google.protobuf.message.EncodeError, without importing protobuf for its name
        raise ExportError(f"the graph itself, without its weights' file, is too large for protobuf ({error})") from error


@contextlib.contextmanager
def _given(model: onnx.ModelProto, limit: int | None) -> Iterator[bytes | str]:
    """Give a model's bytes, or where it is too large for these the path of its file, for as long as the context lasts."""
    if weight_bytes(model) <= (LIMIT if limit is None else limit):
        yield serialise(model)
        return
    # Windows keeps a mapped file: what cannot be removed then is left to the system's own cleaning.
    with tempfile.TemporaryDirectory(prefix="medzoo-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(serialise(write_external(model, path.with_name("model.onnx.data"), "model.onnx.data")))
        yield str(path)
