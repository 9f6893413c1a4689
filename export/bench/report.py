"""What `medzoo bench` prints, draws and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from medzoo.store.figures import figure_png
from medzoo.store.storage import write_file

BUSY = 0.1
"""Share of the processor used by others above which a timing is noise."""


def batch_report(
    seconds: Mapping[str, Sequence[float]],
    ratios: Mapping[str, float],
    agreements: Mapping[str, Any],
    batch_size: int,
    others: float | None,
    absent: Mapping[str, str],
) -> dict[str, Any]:
    """Return the JSON-ready results of one batch size.

    Args:
        seconds: Contestant → seconds a call, one value a round.
        ratios: Contestant → times faster than the reference.
        agreements: Contestant → `Agreement` with the reference.
        batch_size: Inputs a call.
        others: Share of the machine that other processes used meanwhile, 0..1; None if unknown.
        absent: Contestant → why it did not take part.
    """
    return {
        "batch_size": batch_size,
        "others": others,
        "absent": dict(absent),
        "results": [
            {
                "name": name,
                "ratio": ratios[name],
                "median_seconds": median(rounds),
                "inputs_per_second": batch_size / median(rounds),
                "rounds_seconds": list(rounds),
                "agreement": agreements[name].to_dict(),
            }
            for name, rounds in seconds.items()
        ],
    }


def format_batch(batch: Mapping[str, Any], *, rounds: bool) -> list[str]:
    """Return one batch size, of `batch_report`, as lines for a terminal, ratios first; with `rounds` every round too."""
    lines = [f"batch {batch['batch_size']}" + ("" if batch["others"] is None else f"  (others used {batch['others']:.0%})")]
    lines.append(f"  {'':<26} {'ratio':>6} {'ms a batch':>11} {'inputs/s':>9}  agreement")
    for result in batch["results"]:
        lines.append(
            f"  {result['name']:<26} {result['ratio']:>6.2f} {1e3 * result['median_seconds']:>11.1f} "
            f"{result['inputs_per_second']:>9.1f}  {_agreement(result['agreement'])}"
        )
        if rounds:
            lines.append(f"  {'':<26} rounds, ms: {'  '.join(f'{1e3 * s:.1f}' for s in result['rounds_seconds'])}")
    if (batch["others"] or 0) > BUSY:
        lines.append(f"  warning: other processes took {batch['others']:.0%} of the processor; measure again on a quiet machine")
    return lines + [f"  {name:<26} did not take part: {reason}" for name, reason in batch["absent"].items()]


def markdown_table(reports: Sequence[Mapping[str, Any]], *, rounds: bool = True) -> str:
    """Return reports as one Markdown table, a row for each graph, batch size and contestant; with `rounds` every round too.

    They are of `medzoo.export.commands.bench.bench_subject`.
    """
    head = ["model", "batch", "engine", "ratio", "ms a batch", "inputs/s", "agrees"] + ["rounds, ms"] * rounds
    rows = [head, ["---", "---:", "---", "---:", "---:", "---:", "---"] + ["---"] * rounds]
    for report in reports:
        for batch in report["batches"]:
            start = [report["name"], str(batch["batch_size"])]
            for result in batch["results"]:
                cells = [
                    result["name"], f"{result['ratio']:.2f}", f"{1e3 * result['median_seconds']:.1f}",
                    f"{result['inputs_per_second']:.1f}", _agreement(result["agreement"]),
                ]  # fmt: skip
                rows.append([*start, *cells] + [" ".join(f"{1e3 * s:.1f}" for s in result["rounds_seconds"])] * rounds)
            for name, reason in batch["absent"].items():
                rows.append([*start, name, "–", "–", "–", reason.replace("|", "/")] + [""] * rounds)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def plot_ratios(path: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """Draw times faster than torch eager as a PNG, a panel a graph and batch size, each round a point."""
    from matplotlib.figure import Figure

    panels = [(report["name"], batch) for report in reports for batch in report["batches"]]
    tallest = max(len(batch["results"]) for _, batch in panels)
    figure = Figure(figsize=(7, (0.5 + 0.35 * tallest) * len(panels) + 0.5), layout="constrained")
    for axes, (name, batch) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        results = batch["results"][::-1]  # the first at the top
        axes.barh([r["name"] for r in results], [r["ratio"] for r in results], color="tab:blue", alpha=0.5)
        reference = batch["results"][0]["rounds_seconds"]
        for place, result in enumerate(results):
            points = [theirs / ours for theirs, ours in zip(reference, result["rounds_seconds"], strict=True)]
            axes.plot(points, [place] * len(points), ".", color="black", markersize=3)
        axes.axvline(1, color="grey", linestyle=":")
        axes.set(title=f"{name}, batch {batch['batch_size']}", xlabel="times faster than torch eager")
    write_file(path, figure_png(figure))


def _agreement(agreement: Mapping[str, Any]) -> str:
    shown = f"{agreement['relative']:.0e} of spread, cosine {agreement['cosine']:.4f}"
    return shown if agreement["passed"] else f"DISAGREES with torch eager ({shown}, limit {agreement['limit']:g})"
