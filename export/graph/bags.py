"""The graph of a model of bags: members of all bags in one tensor, and how many each has; proven on batches and on whole bags.

Ragged, not padded: `image` (M, H, W, C) or `members` (M, F), bag after bag, and `counts` (N,) int64; where the model reads what
members show, `views` (M,) int64. No absent member is computed, and M, N and the sizes are dynamic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.errors import ExportError
from medzoo.evaluation.monitor import METRICS, monitor_value, monitorable
from medzoo.export.files.model_files import open_model
from medzoo.export.graph.figures import TOLERANCE
from medzoo.export.graph.onnx_file import METRIC_LOSS, OPSET, ProvenGraph, traced
from medzoo.export.graph.parity import check_parity

VIEWS = "views"
COUNTS = {1: [1], 2: [2], 3: [1, 2], 7: [4, 3]}
"""How batches of the proof are shared out among bags: members → members a bag."""


def prove_bags(
    graph: Any, name: str, bags: Sequence[Sequence[NDArray[Any]]], targets: NDArray[np.float32] | None = None,
    beside: Sequence[Mapping[str, NDArray[Any]]] = ()
) -> ProvenGraph:  # fmt: skip
    """Export a graph of bags and prove it equal to torch, without writing it.

    Args:
        graph: See `medzoo.tasks.bags.BagGraph`.
        name: Of the input of members.
        bags: Real ones; each a list of members, (H, W, C), (D, H, W, C) or (F,).
        targets: (len(bags), K) to hold the task's own metric on; None: parity alone.
        beside: What each bag has beside its members: `views`, a code each, where the graph reads them.

    Raises:
        ExportError: If the export, the checker or a proof fails.
    """
    graph.to("cpu").eval()
    dims: dict[str, tuple[str | None, ...]] = {name: _dims(graph, name), "counts": ("cases",)}
    extras: dict[str, Any] = {"counts": lambda batch: torch.tensor(COUNTS[batch])}
    further: tuple[torch.Tensor, ...] = (torch.tensor([2, 3]),)
    if known := len(getattr(graph, "views", ())):
        dims[VIEWS], further = ("batch",), (*further, torch.arange(5) % (known + 1))
        extras[VIEWS] = lambda batch: torch.arange(batch) % (known + 1)
    model = traced(graph, (_example(graph, name), *further), dims)
    session = open_model(model)
    members = [member for bag in bags for member in bag]
    parity = check_parity(graph, session, members, extras=extras, name=name)
    # Whole bags, as they are: members of several sizes are in no one tensor.
    whole = [place for place, bag in enumerate(bags) if len({member.shape for member in bag}) == 1]
    ours, theirs = [], []
    for place in whole:
        given = np.stack(bags[place])
        feed = {name: given, "counts": np.array([len(given)], dtype=np.int64)}
        if known:
            feed[VIEWS] = beside[place][VIEWS]
        with torch.no_grad():
            ours.append(graph(*map(torch.from_numpy, feed.values()))[0].numpy())
        theirs.append(session.run([graph.outputs[0]], feed)[0])
    report: dict[str, Any] = {
        "precision": "fp32", "opset": OPSET, "parity": parity.to_dict(), "metric": None,
        "bags": {"checked": len(whole), "largest": max((len(bags[place]) for place in whole), default=0)},
    }  # fmt: skip
    if whole:
        a, b = np.concatenate(ours), np.concatenate(theirs)
        difference = float(np.abs(a - b).max() / (float(a.std()) or 1.0))
        if difference > TOLERANCE:
            raise ExportError(
                f"the graph differs from torch by {difference:.2e} of the logits' spread on whole bags; no file was written"
            )
        report["bags"]["difference"] = difference
        report |= _metric(graph, a, b, None if targets is None else targets[whole])
    else:
        report["metric_not_checked"] = "no bag has members of one size"
    return replace(ProvenGraph(graph, model, report), further=dict(getattr(graph, "metadata", {})))


def _example(graph: Any, name: str) -> torch.Tensor:
    preprocess = graph.spec.preprocess
    if name == "members":
        return torch.zeros(5, preprocess.size[-1])
    side = [max(8, s) for s in preprocess.size]
    # Not square and not the model's size, so that no dimension is mistaken for a constant.
    shape = (5, *side[:-2], side[-2] + 3, side[-1] + 5, preprocess.channels)
    return torch.zeros(shape, dtype=torch.uint8 if preprocess.dtype == "uint8" else torch.float32)


def _dims(graph: Any, name: str) -> tuple[str | None, ...]:
    if name == "members":
        return ("batch", None)
    return ("batch", "depth", "height", "width") if graph.spec.preprocess.is_volume else ("batch", "height", "width")


def _metric(graph: Any, ours: NDArray[Any], theirs: NDArray[Any], targets: NDArray[np.float32] | None) -> dict[str, Any]:
    """Return the task's own metric in torch and in ONNX, or why there is none; ExportError if they differ."""
    if targets is None:
        return {"metric_not_checked": "no labels to check it on"}
    labels = graph.spec.labels
    name = METRICS[labels.kind][0]
    in_torch, in_onnx = (monitor_value(labels, targets, logits, name) for logits in (ours, theirs))
    if in_torch is None or in_onnx is None:
        why = monitorable(labels, targets, name) or "the outputs do not allow it"
        return {"metric_not_checked": f"{name} is undefined on these {len(targets)} validation bags: {why}"}
    limit = METRIC_LOSS * ((float(np.nanmean(np.nanstd(targets, axis=0))) or 1.0) if labels.kind == "regression" else 1.0)
    if abs(in_torch - in_onnx) > limit:
        raise ExportError(f"the graph's {name} is {in_onnx:.4g}, torch's {in_torch:.4g} (limit {limit:.2g}); no file was written")
    return {"metric": {"name": name, "images": len(targets), "torch": in_torch, "onnx": in_onnx}}
