"""From a task to one ONNX file: exported, checked, proven, sealed; or no file at all."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from medzoo.data.errors import ExportError
from medzoo.evaluation.monitor import METRICS, monitor_value
from medzoo.export.integrity import KEY, PLACEHOLDER, seal
from medzoo.export.parity import Parity, check_parity
from medzoo.tasks.task import Deployable, Task
from medzoo.train.storage import write_file

OPSET = 20
FORMAT = "1"
METRIC_LOSS = 1e-3
"""Most that the task's own metric may change from torch to a float32 graph; for an error, in spreads of the targets."""


def export_onnx(
    task: Task, path: Path, images: Sequence[NDArray[Any]], targets: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """Write a task as one verified ONNX file.

    Args:
        task: With trained weights.
        path: The file to write; an older one is replaced only by a proven one.
        images: Real validation images, (H, W, C) or (D, H, W, C), of the preprocess's type.
        targets: (len(images), K) to hold the task's own metric on; None: parity alone.

    Returns:
        A JSON-ready report: parity, the metric in torch and in ONNX, sizes.

    Raises:
        ExportError: If the export, the checker or a proof fails; nothing is written.
    """
    graph = task.deploy()
    assert isinstance(graph, Deployable)
    graph.to("cpu").eval()
    model = _to_onnx(graph)
    session = onnxruntime.InferenceSession(_serialise(model), providers=["CPUExecutionProvider"])
    parity = check_parity(graph, session, images)
    metric = None if targets is None else _check_metric(graph, session, images, targets)
    report = {"precision": "fp32", "opset": OPSET, "parity": parity.to_dict(), "metric": metric}
    _describe(model, graph, report)
    content = seal(_serialise(model))
    write_file(path, content)
    return {**report, "file": path.name, "megabytes": round(len(content) / 1e6, 2)}


def format_parity(parity: Parity | dict[str, Any]) -> str:
    """Return the parity figures as one line."""
    p = parity.to_dict() if isinstance(parity, Parity) else parity
    return (
        f"parity with torch: largest logit difference {p['largest']:.1e} = {p['relative']:.1e} of the logits' standard "
        f"deviation (limit 1e-03), same class for {p['agreement']:.1%}, {p['images']} images, sizes "
        f"{', '.join('x'.join(map(str, s)) for s in p['sizes'])}, batches {', '.join(map(str, p['batches']))}"
    )


def _to_onnx(graph: Any) -> onnx.ModelProto:
    preprocess = graph.spec.preprocess
    side = [max(8, s) for s in preprocess.size]
    # Not square and not the model's size, so that no dimension is mistaken for a constant.
    shape = (2, *side[:-2], side[-2] + 3, side[-1] + 5, preprocess.channels)
    example = torch.zeros(shape, dtype=torch.uint8 if preprocess.dtype == "uint8" else torch.float32)
    dims = ("batch", "depth", "height", "width")[: len(shape) - 1] if preprocess.is_volume else ("batch", "height", "width")
    dynamic = dict.fromkeys(range(len(dims)), torch.export.Dim.DYNAMIC)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _quiet_logging():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph, (example,), dynamo=True, opset_version=OPSET, input_names=["image"],
                output_names=list(graph.outputs), dynamic_shapes=({**dynamic},), external_data=False, verbose=False,
            )  # fmt: skip
        assert program is not None
        model: onnx.ModelProto = program.model_proto
        for place, name in enumerate(dims):
            model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = name
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # torch.export, onnxscript and the checker each have their own families of errors
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"cannot export {graph.spec.architecture}: {type(error).__name__}: {reason}") from error
    return model


def _check_metric(graph: Any, session: Any, images: Sequence[NDArray[Any]], targets: NDArray[np.float32]) -> dict[str, Any]:
    labels = graph.spec.labels
    name = METRICS[labels.kind][0]
    ours, theirs = [], []
    for image in images:
        with torch.no_grad():
            ours.append(graph.forward(torch.from_numpy(image[None]))[0].numpy())
        theirs.append(session.run([graph.outputs[0]], {"image": image[None]})[0])
    in_torch = monitor_value(labels, targets, np.concatenate(ours), name)
    in_onnx = monitor_value(labels, targets, np.concatenate(theirs), name)
    limit = METRIC_LOSS
    if labels.kind == "regression":  # an error in the labels' units: their spread is the scale
        limit *= float(np.nanmean(np.nanstd(targets, axis=0))) or 1.0
    if in_torch is not None and in_onnx is not None and abs(in_torch - in_onnx) > limit:
        raise ExportError(f"the graph's {name} is {in_onnx:.4g}, torch's {in_torch:.4g} (limit {limit:.2g}); no file was written")
    return {"name": name, "torch": in_torch, "onnx": in_onnx}


def _describe(model: onnx.ModelProto, graph: Any, report: dict[str, Any]) -> None:
    spec = graph.spec
    entries = {
        "medzoo.format": FORMAT,
        "medzoo.version": version("medzoo"),
        "medzoo.spec": spec.to_json(),
        "medzoo.labels": json.dumps(None if spec.labels is None else spec.labels.to_dict(), ensure_ascii=False),
        "medzoo.preprocess": json.dumps(spec.preprocess.to_dict()),
        "medzoo.outputs": json.dumps(list(graph.outputs)),
        "medzoo.licence": str(spec.data.get("licence", "")),
        "medzoo.report": json.dumps(report),
        KEY: PLACEHOLDER,
    }
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)


def _serialise(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content


@contextlib.contextmanager
def _quiet_logging() -> Any:
    """Silence what the exporter logs: it speaks of itself, and failures come as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
