"""Proven files as a model repository of Triton Inference Server: folders, `config.pbtxt`, the names of the labels."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medzoo.data.errors import ExportError, OnnxFileError
from medzoo.export.files.integrity import files_of, read_metadata
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.limits import SCALES_BY_BATCH, Limits

CONFIG, LABELS, VERSION = "config.pbtxt", "labels.txt", "1"
FIXED = "_fixed"
"""Ends the name of the model that takes images of one size alone."""
OF_LABELS = ("logits", "probabilities")
"""Outputs whose entries are labels."""
_TYPES = {
    "tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32", "tensor(float16)": "TYPE_FP16", "tensor(int64)": "TYPE_INT64",
    "tensor(bool)": "TYPE_BOOL",
}  # fmt: skip


def write_repository(files: Sequence[Path], folder: Path, *, gpu: bool = False) -> list[str]:
    """Write a repository; what stands in it under other names stays.

    Triton batches requests of one shape alone, and a medzoo file takes images of any. So a file of images becomes two models of
    the same graph: NAME takes any size and batches those that happen to be alike; NAME_fixed takes the size that the network
    sees, for which the resizing in the graph changes nothing, and batches all.

    Args:
        files: Files of `medzoo export`, whose names without `.onnx` the models get, points as `_`.
        folder: The repository.
        gpu: Whether instances run on GPUs.

    Returns:
        The models' names.

    Raises:
        OnnxFileError: If a file takes class vectors, which are one set a request, not one an image; or bags or several
            modalities, whose inputs are not one row an image.
        ExportError: If the folder cannot be written.
    """
    written = []
    for file in files:
        model, name = OnnxModel(file, threads=1), file.name.removesuffix(".onnx").replace(".", "_")
        if "class_embeddings" in model.inputs:
            raise OnnxFileError(f"{file} takes class vectors, which Triton cannot batch; serve it with medzoo serve")
        if kind := beyond_images(model):
            raise OnnxFileError(f"{file} takes {kind}, which Triton cannot batch; serve it with medzoo serve")
        sizes = {name: None, f"{name}{FIXED}": model.spec["preprocess"]["size"]} if "image" in model.inputs else {name: None}
        for called, size in sizes.items():
            try:
                _write(folder / called, file, config(called, file, model, size, gpu=gpu), model)
            except OSError as error:
                raise ExportError(f"cannot write {folder / called}: {error.strerror or error}") from error
            written.append(called)
    return written


def beyond_images(model: OnnxModel) -> str | None:
    """Return what a file takes in place of single images, in words; None: it takes images, or texts."""
    if model.modalities is not None:
        return "several modalities a sample"
    return "bags of any number of members" if model.takes_bags else None


def config(name: str, file: Path, model: OnnxModel, size: Sequence[int] | None, *, gpu: bool) -> str:
    """Return a model's `config.pbtxt`.

    Args:
        name: The model's.
        file: Its file.
        model: The same, opened.
        size: Of the images it takes; None: any.
        gpu: Whether instances run on GPUs.
    """
    limits, precision = Limits(), json.loads(read_metadata(file, "medzoo.report") or "{}").get("precision")
    inputs = [_tensor(given, size) for given in model.takes]
    inputs += [
        {"name": name, "data_type": "TYPE_FP32", "dims": [len(model.concepts)], "optional": True}
        for name in ("concept_values", "concept_mask")
        if model.concepts
    ]
    outputs = [_tensor(found, None) for found in model.gives]
    for output in outputs:
        if model.labels is not None and output["name"] in OF_LABELS:
            output["label_filename"] = LABELS
    seen = [*model.spec["preprocess"]["size"], model.spec["preprocess"]["channels"]]
    needed = [given for given in inputs if not given.get("optional")]
    shapes = {given["name"]: seen if given["name"] == "image" else given["dims"] for given in needed}
    warm = [
        {"key": given["name"], "value": {"data_type": given["data_type"], "dims": shapes[given["name"]], "zero_data": True}}
        for given in needed
    ]
    most = 1 if precision == SCALES_BY_BATCH else limits.batch
    told: dict[str, Any] = {
        "name": name,
        "platform": "onnxruntime_onnx",
        "default_model_filename": file.name,
        "max_batch_size": most,
        "input": inputs,
        "output": outputs,
        "dynamic_batching": {
            "max_queue_delay_microseconds": int(1000 * limits.wait),
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": int(1e6 * limits.seconds),
                "max_queue_size": limits.queue,
            },
        },
        "instance_group": [{"count": 1, "kind": "KIND_GPU" if gpu else "KIND_CPU"}],
        "model_warmup": [{"name": f"{count} blank", "batch_size": count, "inputs": warm} for count in sorted({1, most})],
        "parameters": [
            {"key": f"medzoo.{key}", "value": {"string_value": read_metadata(file, f"medzoo.{key}") or ""}}
            for key in ("sha256", "version", "licence")
        ],
    }
    return "\n".join(_lines(told, "")) + "\n"


_WORDS = ("data_type", "kind", "timeout_action")
"""Fields whose text is a name of the schema's and stands without quotes."""


def _lines(told: dict[str, Any], indent: str) -> list[str]:
    """Return a message in protobuf's text form."""
    lines = []
    for key, value in told.items():
        for one in value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]:
            if isinstance(one, dict):
                lines += [f"{indent}{key} {{", *_lines(one, indent + "  "), f"{indent}}}"]
            else:
                lines.append(f"{indent}{key}: {one if key in _WORDS else json.dumps(one, ensure_ascii=False)}")
    return lines


def _tensor(given: Any, size: Sequence[int] | None) -> dict[str, Any]:
    """Return an input or output without its first dimension, the batch; of images of the given size."""
    dims = [side if isinstance(side, int) else -1 for side in given.shape[1:]]
    if size is not None and given.name == "image":
        dims = [*size, dims[-1]]
    return {"name": given.name, "data_type": _TYPES[given.type], "dims": dims}


def _write(folder: Path, file: Path, text: str, model: OnnxModel) -> None:
    version = folder / VERSION
    version.mkdir(parents=True, exist_ok=True)
    for part in files_of(file):
        target = version / part.name
        target.unlink(missing_ok=True)
        try:
            os.link(part, target)  # the same bytes once, where the file system can
        except OSError:
            shutil.copyfile(part, target)
    if model.labels is not None:
        (folder / LABELS).write_text("".join(f"{name}\n" for name in model.labels.names), encoding="utf-8")
    (folder / CONFIG).write_text(text, encoding="utf-8")
