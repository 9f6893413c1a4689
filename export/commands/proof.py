"""What an export says on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.export.graph.figures import COSINE, Parity
from medzoo.export.precision.figures import Gate, format_gate

SHOWN = 12
"""Layers listed by name on the terminal; the JSON report has them all."""


def format_parity(parity: Parity | dict[str, Any]) -> str:
    """Return the parity figures as one line."""
    p = parity.to_dict() if isinstance(parity, Parity) else parity
    if p["cosine"] is not None:
        return (
            f"parity with torch: smallest cosine {p['cosine']:.7f} (limit {COSINE}), largest difference {p['largest']:.1e}, "
            f"{p['images']} inputs, batches {', '.join(map(str, p['batches']))}"
        )
    return (
        f"parity with torch: largest logit difference {p['largest']:.1e} = {p['relative']:.1e} of the logits' standard "
        f"deviation (limit 1e-03), same class for {p['agreement']:.1%}, {p['images']} images, sizes "
        f"{', '.join('x'.join(map(str, s)) for s in p['sizes'])}, batches {', '.join(map(str, p['batches']))}"
    )


def format_proof(report: Mapping[str, Any]) -> list[str]:
    """Return a report's proof as lines; that of a reduced file says that it is the float32 graph's."""
    proof = report.get("float32", report)
    lines = ["the float32 graph it was made from:"] * ("float32" in report)
    if targets := proof.get("targets"):
        return lines + [f"{name}: {line}" for name, own in targets.items() for line in format_proof(own)]
    lines.append(format_parity(proof["parity"]))
    if (sets := proof.get("modalities")) is not None:
        lines.append(
            f"each of the {sets['sets']} sets of modalities: largest difference {sets['relative']:.1e} of the logits' standard "
            "deviation"
        )
    metric = proof["metric"]
    if "metric_not_checked" in proof:
        lines.append(f"metric not checked: {proof['metric_not_checked']}")
    elif metric is not None:
        values = f"torch {metric['torch']:.4f}, ONNX {metric['onnx']:.4f}"
        lines.append(f"{metric['name']} on {metric['images']} validation images: {values}")
    return lines


def format_reduced(report: Mapping[str, Any], gates: Mapping[str, Gate]) -> list[str]:
    """Return what a reduced file has lost and kept, as lines for a terminal.

    `report` is a written file's, see `medzoo.export.precision.reduce.reduce_graph`; `gates`: what was judged → its figures.
    """
    ratio = report["megabytes"] / report["float32_megabytes"] if report["float32_megabytes"] else 1.0
    lines = [f"{report['megabytes']} MB, {ratio:.2f} of float32's {report['float32_megabytes']} MB"]
    lines += [line for gate in gates.values() for line in format_gate(gate)]
    lines += [f"{name} were not judged: {why}" for name, why in report["not_judged"].items()]
    layers = report["layers"]
    kept = [layer["name"] for layer in layers if layer["float32"] and not layer["fixed"]]
    fixed = [layer["name"] for layer in layers if layer["fixed"]]
    lines.append(f"{sum(not layer['float32'] for layer in layers)} of {len(layers)} layers reduced")
    if kept:
        lines.append(f"left in float32 for the gate: {_listed(kept)}")
    lines.append(f"always float32: preprocessing, what follows the last layer, and {_listed(fixed) or 'no layer'}")
    if (seen := report.get("overflow")) is not None:
        lines.append(
            f"judged on the CPU provider, values checked for overflow: largest {seen['largest']:.4g} at layer {seen['layer']} on "
            f"{seen['inputs']} inputs (limit {seen['limit']:g})"
        )
    if (calls := report.get("calls")) is not None:
        turned = ", ".join(f"{rule} {found['changed']} of {found['of']}" for rule, found in calls.items())
        lines.append(f"calls at operating points that differ from float32's: {turned}")
    if report["precision"] == "fp16":
        lines.append("fp16 is for GPUs (provider=cuda or tensorrt): on a CPU it is smaller and no faster")
    costs = sorted((layer for layer in layers if layer["cost"] is not None), key=lambda layer: -layer["cost"])
    if costs:
        shown = ", ".join(f"{layer['name']} {layer['cost']:.3g}" for layer in costs[:SHOWN])
        lines.append(f"cost of a layer alone, in standard deviations of the output: {shown}")
    return lines


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
