"""Inputs of a graph beside the image: those that must be given, and those that may be left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from medzoo.data.regions.evidence import PLACES, REGION
from medzoo.export.files.model_files import check_model


@dataclass(frozen=True)
class ExtraInput:
    """An input of a graph beside the image.

    Attributes:
        name: Its name.
        example: What the graph is traced and proven with.
        dims: A name for each dynamic dimension, None for a fixed one.
        default: What it is when it is left out, stored in the file; None: it must be given.
    """

    name: str
    example: torch.Tensor
    dims: tuple[str | None, ...]
    default: torch.Tensor | None = None


def optional_inputs(graph: Any) -> list[ExtraInput]:
    """Return the inputs a graph may be run without, with examples to trace and prove it on.

    Values span 0..1 in each row; in the first row of a mask the first, third, ... entry is 1. Images have sides of any length; of
    regions a corner is taken away, so that something is left. Token ids cannot be made up: the graph gives its `examples`.
    """
    found, own = [], getattr(graph, "examples", {})
    for name, default in getattr(graph, "optional_inputs", {}).items():
        if name in own:
            found.append(ExtraInput(name, own[name], ("batch", None), default))
            continue
        if name == REGION:
            further = _further_image(name, default)
            found.append(replace(further, example=_corner(further.example, (slice(None), *[slice(3)] * (default.ndim - 2)))))
            continue
        if name == PLACES:
            fixed = default.ndim - 1
            two = default.repeat(2, *[1] * fixed)
            corner = _corner(two, (slice(None), slice(None, None, 2), *[0] * (default.ndim - 2)))
            found.append(ExtraInput(name, corner, ("batch", *[None] * fixed), default))
            continue
        if default.ndim > 2:
            found.append(_further_image(name, default))
            continue
        places = torch.arange(default.shape[1], dtype=torch.float32)
        rows = (places / max(1, len(places) - 1), torch.ones_like(places))
        if name.endswith("_mask"):
            rows = (1 - places % 2, places % 2)
        found.append(ExtraInput(name, torch.stack(rows), ("batch", None), default))
    return found


def _further_image(name: str, default: torch.Tensor) -> ExtraInput:
    """Return images beside the first, (N, H, W, C) or (N, D, H, W, C), with an example of sides that are no constants."""
    sides = [side + 2 * place + 1 for place, side in enumerate(default.shape[1:-1])]
    values = torch.rand((2, *sides, default.shape[-1]), generator=torch.Generator().manual_seed(0))
    example = values if default.dtype == torch.float32 else (values * 255).to(default.dtype)
    axes = ("depth", "height", "width")[3 - len(sides) :]
    return ExtraInput(name, example, ("batch", *(f"{name}_{axis}" for axis in axes), None), default)


def _corner(like: torch.Tensor, where: tuple[Any, ...]) -> torch.Tensor:
    """Return a tensor of that shape and type, 0 but where it is 1."""
    corner = torch.zeros_like(like)
    corner[where] = 1
    return corner


def make_optional(model: onnx.ModelProto, extra: ExtraInput) -> None:
    """Let an input of the batch's rows be left out, or given as one row for all.

    An input with an initialiser of its name may be omitted (ONNX, overridable initialisers). Its one row is expanded to the batch
    by a node of its own, so that shapes behind it stay what they were traced as.
    """
    assert extra.default is not None
    rows = f"{extra.name}_rows"
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == extra.name:
                node.input[place] = rows
    given = next(value for value in model.graph.input if value.name == extra.name)
    given.type.tensor_type.shape.dim[0].dim_param = rows
    width = f"{extra.name}_width"
    model.graph.initializer.append(numpy_helper.from_array(extra.default.numpy(), extra.name))
    nodes = [helper.make_node("Shape", ["image"], [f"{extra.name}_batch"], start=0, end=1)]
    if extra.default.ndim == 2:
        model.graph.initializer.append(numpy_helper.from_array(np.array([extra.default.shape[1]], dtype=np.int64), width))
    else:
        nodes.append(helper.make_node("Shape", [extra.name], [width], start=1))
    nodes += [
        helper.make_node("Concat", [f"{extra.name}_batch", width], [f"{extra.name}_shape"], axis=0),
        helper.make_node("Expand", [extra.name, f"{extra.name}_shape"], [rows]),
    ]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    check_model(model)
