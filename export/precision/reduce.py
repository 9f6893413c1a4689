"""From a proven float32 graph to one of reduced precision that has passed its gate, or an error that says why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import onnx

from medzoo.data.errors import ConfigError, ExportError, MedzooError, UnknownNameError
from medzoo.export.files.external_data import LIMIT, weight_bytes
from medzoo.export.graph.onnx_file import ProvenGraph
from medzoo.export.precision.convert import METHODS, DynamicInt8, Feed, Half, Reduction, StaticInt8
from medzoo.export.precision.figures import Gate
from medzoo.export.precision.judges import ImageJudge, TextJudge
from medzoo.export.precision.overflow import BATCH, INPUTS, check_overflow
from medzoo.export.precision.sensitivity import Search, search_layers
from medzoo.export.settings import PRECISIONS, CalibrationConfig, ExportConfig, GateConfig

LARGEST_COST = 1e9
"""What the report says of a layer that makes the output infinite: JSON has no infinity."""
FEWEST = 100
"""Fewest validation images that a gate may be told to judge by, where there are more: on a handful nothing is lost."""
NAMED = 5
"""Costliest layers that a refusal names."""


@dataclass(frozen=True)
class Reduced:
    """A graph that has passed its gate.

    Attributes:
        model: In ONNX.
        report: JSON-ready: precision, gate, layers.
        gates: What was judged → its figures.
    """

    model: onnx.ModelProto
    report: dict[str, Any]
    gates: Mapping[str, Gate]


def reduce_graph(
    proven: ProvenGraph,
    reduction: Reduction,
    judge: ImageJudge | TextJudge,
    config: ExportConfig,
    *,
    name: str = "",
    calibrated_on: int | None = None,
) -> Reduced:
    """Reduce a graph until its gate passes.

    Args:
        proven: The float32 graph.
        reduction: What makes the reduced graphs of it.
        judge: Of the same float32 graph.
        config: The command's settings; they stand in the report.
        name: Of the graph, for messages about one of several.
        calibrated_on: Images that int8 was calibrated on.

    Raises:
        ExportError: If no graph passes, or none can be made; the message has the figure, the limit and the costliest layers. For
            fp16 also if a value could overflow, see `medzoo.export.precision.overflow`.
    """
    try:
        found = search_layers(reduction, judge, lambda: judge.costs(reduction), always=config.sensitivity)
    except MedzooError:
        raise
    except Exception as error:  # onnx, its quantiser and onnxruntime each have their own families of errors
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"{name}precision={reduction.precision} is not offered for this model: {type(error).__name__}: {reason}"
        ) from error
    if not found.passed:
        raise ExportError(name + _refusal(reduction, found))
    further: dict[str, Any] = {"judged_on": "CPUExecutionProvider"}
    if isinstance(reduction, Half):
        half = reduction.half_nodes(found.kept)
        further["overflow"] = check_overflow(proven.model, half, judge.inputs(INPUTS, BATCH), name)
    whole = proven.model.ByteSize() if weight_bytes(proven.model) <= LIMIT else weight_bytes(proven.model)
    kept = set(found.kept)
    whole += sum(len(text.encode("utf-8")) for text in proven.further.values())  # such as a tokenizer, which both files hold
    costs = {node: min(cost, LARGEST_COST) for node, cost in found.costs.items()}
    layers = [
        {"name": layer.name, "operator": layer.operator, "weights": layer.weights, "cost": costs.get(layer.node),
         "float32": fixed or layer.node in kept, "fixed": fixed}
        for fixed, group in ((False, reduction.layers), (True, reduction.fixed)) for layer in group
    ]  # fmt: skip
    # What decided the verdict: the gate's limits are among its settings, and the images there truly were.
    calibration = {**asdict(config.calibration), "images": calibrated_on} if reduction.precision == "int8" else None
    report = {
        "precision": reduction.precision, "float32_megabytes": round(whole / 1e6, 2), "layers": layers,
        "gate": {name: gate.to_dict() for name, gate in found.gates.items()}, "not_judged": judge.skipped, **further,
        "settings": {"checkpoint": config.checkpoint, "calibration": calibration, "gate": asdict(config.gate)},
    }  # fmt: skip
    return Reduced(found.model, report, found.gates)


def reduction_of(precision: str, model: onnx.ModelProto, batches: Iterable[Feed], method: str = "minmax") -> Reduction:
    """Return what reduces a float32 graph, ExportError if that is not offered; `batches` and `method`: of `StaticInt8` alone."""
    if precision == "fp16":
        return Half(model)
    return DynamicInt8(model) if precision == "int8_dynamic" else StaticInt8(model, batches, method)


def check_settings(config: ExportConfig) -> None:
    """Raise a one-line error for settings that mean nothing.

    Raises:
        ExportError: For a precision that does not exist.
        UnknownNameError: For a calibration method that does not exist.
        ConfigError: For a number out of range.
    """
    if config.precision not in PRECISIONS:
        raise ExportError(f"precision {config.precision!r} is not offered; choose {', '.join(PRECISIONS)}")
    if config.map and config.precision != "fp32":
        raise ConfigError(f"map=true is proven in float32 alone, and precision={config.precision}: leave one of them out")
    if config.calibration.method not in METHODS:
        raise UnknownNameError("calibration.method", config.calibration.method, METHODS)
    for name, value, least in (
        ("calibration.images", config.calibration.images, 1), ("gate.images", config.gate.images, FEWEST),
        ("gate.replicates", config.gate.replicates, 0), ("images", config.images, 1),
    ):  # fmt: skip
        if value is not None and value < least:
            raise ConfigError(f"{name}={value} must be at least {least}")
    if not 0 < config.gate.level < 1:
        raise ConfigError(f"gate.level={config.gate.level:g} must lie between 0 and 1")
    idle = [
        name for name, changed in (
            ("sensitivity", config.precision == "fp32" and config.sensitivity),
            ("calibration", config.precision != "int8" and config.calibration != CalibrationConfig()),
            ("gate", config.precision == "fp32" and config.gate != GateConfig()),
        ) if changed
    ]  # fmt: skip
    if idle:
        raise ConfigError(
            f"{' and '.join(idle)} has no effect on precision={config.precision}; leave it out, or choose another precision"
        )


def _refusal(reduction: Reduction, found: Search) -> str:
    names = {layer.node: layer.name for layer in reduction.layers}
    dearest = sorted(found.costs, key=lambda node: -found.costs[node])[:NAMED]
    shown = ", ".join(f"{names[node]} ({found.costs[node]:.3g})" for node in dearest)
    return (
        f"precision={reduction.precision} is refused: {_reasons(found.first)}; with the {len(found.kept)} costliest of "
        f"{len(names)} layers in float32 still: {_reasons(found.gates)}; error of a layer alone, in standard deviations of the "
        f"output: {shown}; no file was written"
    )


def _reasons(gates: Mapping[str, Gate]) -> str:
    failed = [(name, str(gate.reason)) for name, gate in gates.items() if not gate.passed]
    # Where one thing alone is judged there is nothing to tell apart.
    return "; ".join(reason if len(gates) == 1 else f"{name}: {reason}" for name, reason in failed)
