"""From a task to one ONNX file: exported, checked, proven, sealed; or no file at all."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from medzoo.data.columns import places_of
from medzoo.data.errors import ExportError
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.evaluation.monitor import METRICS, monitor_value, monitorable
from medzoo.export.files.integrity import KEY, PLACEHOLDER
from medzoo.export.files.model_files import check_model, open_model, write_model
from medzoo.export.graph.extra_inputs import ExtraInput, make_optional, optional_inputs
from medzoo.export.graph.parity import check_parity, check_text_parity
from medzoo.export.graph.planes.rewrite import on_planes
from medzoo.export.graph.subsets import Row, check_subsets, logits_of, spread_of
from medzoo.quiet import quiet_library
from medzoo.tasks.task import Deployable, Task

OPSET = 20
FORMAT = "1"
SOURCES = "pkg.torch.onnx.stack_trace"
PROOF = ("parity", "metric", "metric_not_checked", "modalities", "targets")
"""What a report says of torch and the float32 graph alone."""
METRIC_LOSS = 1e-3
"""Most that the task's own metric may change from torch to a float32 graph; for an error, in spreads of the targets."""


@dataclass(frozen=True)
class ProvenGraph:
    """A float32 graph that was found equal to torch and is not yet written.

    Attributes:
        graph: The deployable form it was traced from.
        model: In ONNX.
        report: JSON-ready: parity, the metric in torch and in ONNX, or `metric_not_checked`, why there is none.
        extras: Inputs beside the image that must be given, with what the graph was proven with.
        further: Metadata beside what every file has.
    """

    graph: Any
    model: onnx.ModelProto
    report: dict[str, Any]
    extras: tuple[ExtraInput, ...] = ()
    further: Mapping[str, str] = field(default_factory=dict)


def export_onnx(
    task: Task, path: Path, images: Sequence[NDArray[Any]], targets: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """Write a task as one verified ONNX file; see `export_graph`, which gets the task's own deployable form."""
    return export_graph(task.deploy(), path, images, targets)


def export_graph(
    graph: Any, path: Path, images: Sequence[NDArray[Any]], targets: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """Write a deployable graph as one verified ONNX file.

    Args:
        graph: See `medzoo.tasks.task.Deployable`; `extra_inputs`, if it has any, are `ExtraInput`s.
        path: The file to write; an older one is replaced only by a proven one.
        images: Real validation images, (H, W, C) or (D, H, W, C), of the preprocess's type.
        targets: (len(images), K) to hold the task's own metric on; None: parity alone.

    Returns:
        A JSON-ready report: parity, the metric in torch and in ONNX, sizes.

    Raises:
        ExportError: If the export, the checker or a proof fails; nothing is written.
    """
    return write_graph(prove_graph(graph, images, targets, minimal=True), path)


def prove_graph(
    graph: Any, images: Sequence[NDArray[Any]], targets: NDArray[np.float32] | None = None, *, minimal: bool = False,
    beside: Sequence[Mapping[str, NDArray[Any]]] | None = None
) -> ProvenGraph:  # fmt: skip
    """Export a graph and prove it equal to torch, without writing it; see `export_graph`.

    `beside` is what each image's sample has in other modalities: the graph is then proven for every set of them. A graph of
    several targets (`by_target`) is proven for each; `targets` are then those of all side by side.
    `minimal` makes 3D networks faster in float32 and coarser in int8: for a graph that is written as it is; see
    `medzoo.export.graph.planes.rewrite.on_planes`.
    """
    assert isinstance(graph, Deployable)
    graph.to("cpu").eval()  # type: ignore[attr-defined]
    extras = (*getattr(graph, "extra_inputs", ()), *optional_inputs(graph))
    model, planes = on_planes(_to_onnx(graph, extras), minimal)
    optional = [extra for extra in extras if extra.default is not None]
    for extra in optional:
        make_optional(model, extra)
    session = open_model(model)
    # An optional input is proven by one row for the whole batch, as its default is, and by the default; the metric by that too.
    given = [{e.name: e.example if e.default is None else e.example[:1] for e in extras}]
    if optional:
        given.append({e.name: e.example if e.default is None else e.default for e in extras})
    views = graph.by_target() if hasattr(graph, "by_target") else {}
    places = places_of(graph.spec.targets)
    proofs = {
        name: _proof(view, session, images, None if targets is None else targets[:, places[name]], given, beside)
        for name, view in views.items()
    }
    report: dict[str, Any] = {"precision": "fp32", "opset": OPSET}
    if proofs:
        worst = max((proof["parity"] for proof in proofs.values()), key=lambda found: float(found["relative"]))
        report |= {"parity": worst, "metric": None, "metric_not_checked": "it is, target by target", "targets": proofs}
    else:
        report |= _proof(graph, session, images, targets, given, beside)
    if planes is not None:
        report["planes"] = planes.to_dict()
    asked = tuple(extra for extra in extras if extra.default is None)
    return ProvenGraph(graph, model, report, asked, dict(getattr(graph, "metadata", {})))


def _proof(
    graph: Any, session: Any, images: Sequence[NDArray[Any]], targets: NDArray[np.float32] | None,
    given: Sequence[Mapping[str, torch.Tensor]], beside: Sequence[Mapping[str, NDArray[Any]]] | None
) -> dict[str, Any]:  # fmt: skip
    """Return what shows that a graph of one target says in ONNX what it says in torch, JSON-ready; ExportError if it does not."""
    rows: list[Row] = [{} for _ in images] if beside is None else list(beside)
    least: NDArray[np.float64] | float = 0.0
    sets: dict[str, Any] = {}
    if beside is not None:
        least, sets = (
            spread_of(graph, logits_of(graph, images, rows)),
            {"modalities": check_subsets(graph, session, images, rows)},
        )
    proofs = [check_parity(graph, session, images, extras=values, least=least) for values in given]
    parity = max(proofs, key=lambda found: found.relative)
    metric = None if targets is None else _check_metric(graph, session, images, targets, rows)
    report: dict[str, Any] = {"parity": parity.to_dict(), "metric": metric, **sets}
    if metric is None or targets is None:
        report["metric_not_checked"] = "no labels to check it on"
    elif metric["torch"] is None or metric["onnx"] is None:
        labels: Any = graph.spec.labels
        why = monitorable(labels, targets, metric["name"]) or "the outputs do not allow it"
        report["metric_not_checked"] = f"{metric['name']} is undefined on these {len(images)} validation images: {why}"
    return report


def export_text_tower(graph: Any, path: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Any]:
    """Write a text tower, its tokenizer inside the file, as one verified ONNX file.

    Args:
        graph: (N, L) int64 tokens → unit vectors; see `medzoo.export.graph.clip_graphs.TextTower`.
        path: The file to write.
        tokenizer: The model's.
        texts: What the graph is proven on.

    Raises:
        ExportError: If the export, the checker or a proof fails; nothing is written.
    """
    return write_graph(prove_text_tower(graph, tokenizer, texts), path)


def prove_text_tower(graph: Any, tokenizer: Tokenizer, texts: Sequence[str]) -> ProvenGraph:
    """Export a text tower and prove it equal to torch, without writing it; see `export_text_tower`."""
    tokens = torch.from_numpy(tokenizer(list(texts)))
    model = traced(graph, (tokens[:2],), {"tokens": ("batch",)})
    parity = check_text_parity(graph, open_model(model), tokens)
    report = {"precision": "fp32", "opset": OPSET, "parity": parity.to_dict(), "metric": None}
    further = {"medzoo.tokenizer": json.dumps(tokenizer.to_dict(), ensure_ascii=False)}
    return ProvenGraph(graph, model, report, further=further)


def write_graph(
    proven: ProvenGraph, path: Path, reduced: onnx.ModelProto | None = None, further: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a proven graph, or what a gate has passed as its reduced form.

    Args:
        proven: The float32 graph.
        path: The file to write.
        reduced: What is written in its place.
        further: What else the report says; of `reduced`, its `precision` among them.

    Returns:
        The report with `file` and `megabytes`. The proof is that of the float32 graph: with `reduced` it stands under `float32`.

    Raises:
        ExportError: If the file cannot be written.
    """
    report = dict(proven.report)
    if reduced is not None:
        report["float32"] = {key: report.pop(key) for key in PROOF if key in report}
    report |= further or {}
    model = proven.model if reduced is None else reduced
    _describe(model, proven.graph, report, proven.further)
    return {**report, **write_model(model, path)}


def _to_onnx(graph: Any, extras: Sequence[ExtraInput]) -> onnx.ModelProto:
    preprocess = graph.spec.preprocess
    side = [max(8, s) for s in preprocess.size]
    # Not square and not the model's size, so that no dimension is mistaken for a constant.
    shape = (2, *side[:-2], side[-2] + 3, side[-1] + 5, preprocess.channels)
    example = torch.zeros(shape, dtype=torch.uint8 if preprocess.dtype == "uint8" else torch.float32)
    dims = ("batch", "depth", "height", "width")[: len(shape) - 1] if preprocess.is_volume else ("batch", "height", "width")
    inputs = (example, *(extra.example for extra in extras))
    return traced(graph, inputs, {"image": dims, **{extra.name: extra.dims for extra in extras}})


def traced(graph: Any, inputs: tuple[torch.Tensor, ...], named: Mapping[str, tuple[str | None, ...]]) -> onnx.ModelProto:
    """Trace a graph; `named` are its inputs, each with a name for every dynamic dimension and None for a fixed one."""
    dynamic = tuple({place: torch.export.Dim.DYNAMIC for place, name in enumerate(dims) if name} for dims in named.values())
    try:
        with quiet_library(output=True):
            program = torch.onnx.export(
                _taking(graph, list(named)), inputs, dynamo=True, opset_version=OPSET, input_names=list(named),
                output_names=list(graph.outputs), dynamic_shapes=dynamic, external_data=False, verbose=False,
            )  # fmt: skip
        assert program is not None
        model: onnx.ModelProto = program.model_proto
        for given, shown in zip(model.graph.input, named.values(), strict=True):
            for place, name in enumerate(shown):
                if name:
                    given.type.tensor_type.shape.dim[place].dim_param = name
        _forget_sources(model.graph)
        check_model(model)
    except Exception as error:  # torch.export, onnxscript and the checker each have their own families of errors
        cause = error.__cause__ or error  # torch's exporter wraps what went wrong into a page of advice
        reason = " ".join(str(cause).split())[:300]
        raise ExportError(f"cannot export {graph.spec.architecture}: {type(cause).__name__}: {reason}") from error
    return model


def _taking(graph: Any, names: Sequence[str]) -> Any:
    """Return a graph, one of `*further` inputs within a module whose code calls it with a name for each.

    What torch 2.9 notes of an input goes by its name in that code; of inputs without names it is lost.
    """
    if not any(given.kind is given.VAR_POSITIONAL for given in inspect.signature(graph.forward).parameters.values()):
        return graph
    code = torch.fx.Graph()
    code.output(code.call_module("inner", tuple(code.placeholder(name) for name in names)))
    return torch.fx.GraphModule({"inner": graph}, code).eval()


def _forget_sources(graph: onnx.GraphProto) -> None:
    """Remove the lines of source that the exporter notes of each node: they hold paths of this machine."""
    for node in graph.node:
        for entry in [entry for entry in node.metadata_props if entry.key == SOURCES]:
            node.metadata_props.remove(entry)
        for attribute in node.attribute:
            if attribute.HasField("g"):  # a branch or a loop's body
                _forget_sources(attribute.g)


def _check_metric(
    graph: Any, session: Any, images: Sequence[NDArray[Any]], targets: NDArray[np.float32], beside: Sequence[Row]
) -> dict[str, Any]:
    labels = graph.spec.labels
    name = METRICS[labels.kind][0]
    theirs = [
        session.run([graph.outputs[0]], {"image": image[None], **{other: value[None] for other, value in row.items()}})[0]
        for image, row in zip(images, beside, strict=True)
    ]
    found = (logits_of(graph, images, beside), np.concatenate(theirs))
    in_torch, in_onnx = (monitor_value(labels, targets, logits, name) for logits in found)
    limit = METRIC_LOSS
    if labels.kind == "regression":  # an error in the labels' units: their spread is the scale
        limit *= float(np.nanmean(np.nanstd(targets, axis=0))) or 1.0
    if in_torch is not None and in_onnx is not None and abs(in_torch - in_onnx) > limit:
        raise ExportError(f"the graph's {name} is {in_onnx:.4g}, torch's {in_torch:.4g} (limit {limit:.2g}); no file was written")
    return {"name": name, "images": len(images), "torch": in_torch, "onnx": in_onnx}


def licences(card: Mapping[str, Any]) -> list[str]:
    """Return the licences of all data that a network or its teacher has learnt from, each once, those of its own training first.

    `card` is `data` of a spec; see `medzoo.data.dataset.data_card`.
    """
    others = [*card.get("learnt_from", ()), *card.get("taught_by", ())]
    earlier = (name for learnt in others for name in licences(learnt))
    return [name for name in dict.fromkeys([str(card.get("licence", "")), *earlier]) if name]


def _describe(model: onnx.ModelProto, graph: Any, report: dict[str, Any], further: Mapping[str, str]) -> None:
    spec = graph.spec
    entries = {
        "medzoo.format": FORMAT,
        "medzoo.version": version("medzoo"),
        "medzoo.spec": spec.to_json(),
        "medzoo.labels": json.dumps(None if spec.labels is None else spec.labels.to_dict(), ensure_ascii=False),
        "medzoo.preprocess": json.dumps(spec.preprocess.to_dict()),
        "medzoo.outputs": json.dumps(list(graph.outputs)),
        "medzoo.licence": "; ".join(licences(spec.data)),
        "medzoo.report": json.dumps(report, allow_nan=False),
        **further,
        KEY: PLACEHOLDER,
    }
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
