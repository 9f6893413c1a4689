"""What the gate of a reduced precision measures: losses with their intervals, likeness, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_ROUNDING = 1e-9
"""A loss of 0.900 − 0.895 is 0.005, not the 0.0050000000000000044 that float64 makes of it."""
_TITLES = {
    "auroc": "AUROC", "kappa": "quadratic kappa", "mae": "MAE", "agreement": "agreement with the float32 model",
    "cosine": "mean cosine with the float32 model", "probability_change": "mean change of probability from the float32 model",
    "overlap": "overlap of calls with the float32 model's",
    "mean_change": "mean change of a value from the float32 model, in standard deviations of the targets,",
}  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """One metric of both models.

    Attributes:
        metric: `auroc`, `kappa` or `mae`.
        name: The class, concept or output; None for the macro mean and for metrics of the whole.
        reference: The float32 model's value; MAE in the output's unit.
        reduced: The reduced model's value.
        loss: How much worse the reduced model is, below 0 where it is better; MAE in standard deviations of the targets.
        low: Lower end of the paired interval of the loss; None without one (one group, no replicates, mostly undefined).
        high: Upper end.
        limit: Most that the loss may be; None where it is shown and not judged.
    """

    metric: str
    name: str | None
    reference: float
    reduced: float
    loss: float
    low: float | None
    high: float | None
    limit: float | None

    @property
    def passed(self) -> bool:
        """Whether the loss is within the limit; NaN never is."""
        return self.limit is None or self.loss <= self.limit + _ROUNDING


@dataclass(frozen=True)
class Likeness:
    """How alike the outputs of both models are, whatever the labels say.

    Attributes:
        metric: `agreement`, `overlap`, `cosine` (mean), `smallest_cosine`, `probability_change` or `mean_change`.
        value: The figure; for equal outputs 1, and 0 for a change.
        limit: Least it may be, most for a change; None where it is shown and not judged.
        name: The class or finding it is of, where the worst one counts.
    """

    metric: str
    value: float
    limit: float | None
    name: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the figure keeps to the limit; NaN never does."""
        if self.limit is None:
            return True
        if self.metric.endswith("_change"):
            return self.value <= self.limit + _ROUNDING
        return self.value >= self.limit - _ROUNDING


@dataclass(frozen=True)
class Gate:
    """Figures and verdict.

    Attributes:
        subject: What a name stands for: `class`, `concept`, `output` (regression) or `embedding`.
        samples: Validation samples.
        groups: Groups that are redrawn for the intervals; None for embeddings.
        level: Coverage of the intervals; None for embeddings.
        problem: Why nothing could be measured; None if it could.
        losses: Every metric, the macro mean first.
        likeness: Agreement, cosines, changes of the values.
        not_judged: Class → its samples, too few for a limit of its own. It is in the macro mean if it has both kinds.
        left_out: Soft targets that AUROC cannot use (no single largest class; a finding that is neither 0 nor 1).
    """

    subject: str
    samples: int
    groups: int | None = None
    level: float | None = None
    problem: str | None = None
    losses: tuple[Loss, ...] = ()
    likeness: tuple[Likeness, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0

    @property
    def passed(self) -> bool:
        """Whether the model may be written."""
        return self.reason is None

    @property
    def reason(self) -> str | None:
        """Why the model is refused, in one line with figure and limit; of several classes the worst. None if it passed."""
        if self.problem is not None:
            return self.problem
        found = []
        for metric in ("auroc", "kappa", "mae"):
            failed = [row for row in self.losses if row.metric == metric and not row.passed]
            named = sorted((row for row in failed if row.name is not None), key=lambda row: -row.loss)
            for row in [row for row in failed if row.name is None] + named[:1]:
                whole = "macro " if metric == "auroc" else ""
                what = f"{whole}{_TITLES[metric]}" if row.name is None else f"{_TITLES[metric]} of {self.subject} {row.name!r}"
                verb, unit = ("grows", " standard deviations") if metric == "mae" else ("falls", "")
                found.append(f"{what} {verb} by {_against(row.loss, row.limit)}{unit} "
                             f"({row.reference:.4f} to {row.reduced:.4f}), limit {row.limit:g}")  # fmt: skip
            if len(named) > 1:
                found[-1] += f", and {len(named) - 1} more beyond it"
        found += [f"{_TITLES[alike.metric]}{_of(alike)} is {_against(alike.value, alike.limit)}, limit {alike.limit:g}"
                  for alike in self.likeness if not alike.passed]  # fmt: skip
        return "; ".join(found) or None

    def to_dict(self) -> dict[str, Any]:
        """Return figures, `passed` and `reason`, JSON-ready: never NaN, None where there is no number."""
        return {"passed": self.passed, "reason": self.reason, **asdict(self)}


def format_gate(gate: Gate) -> list[str]:
    """Return the figures as lines for a terminal, the verdict first."""
    among = f"{gate.samples} validation samples" + ("" if gate.groups is None else f" in {gate.groups} groups")
    lines = [f"{gate.subject} gate on {among}: " + ("passed" if gate.passed else f"FAILED: {gate.reason}")]
    for row in gate.losses:
        bounds = "" if row.low is None or gate.level is None else f" [{row.low:.4f}, {row.high:.4f}] at {gate.level:.0%}"
        what = "growth in standard deviations" if row.metric == "mae" else "loss"
        limit = "not judged on its own" if row.limit is None else f"limit {row.limit:g}" + ("" if row.passed else " FAILED")
        label = f"{'macro ' if row.metric == 'auroc' else ''}{row.metric}" if row.name is None else f"  {row.metric} {row.name}"
        lines.append(f"  {label:<26} {row.reference:.4f} → {row.reduced:.4f}, {what} {row.loss:.4f}{bounds}, {limit}")
    for alike in gate.likeness:
        limit = "" if alike.limit is None else f", limit {alike.limit:g}" + ("" if alike.passed else " FAILED")
        lines.append(f"  {alike.metric + _of(alike):<26} {alike.value:.4f}{limit}")
    if gate.not_judged:
        lines.append("  not judged on their own: " + "; ".join(f"{name} ({why})" for name, why in gate.not_judged.items()))
    if gate.left_out:
        lines.append(f"  {gate.left_out} soft targets left out: AUROC needs one class, or 0 or 1")
    return lines


def _of(alike: Likeness) -> str:
    return "" if alike.name is None else f" ({alike.name})"


def _against(value: float, limit: float | None) -> str:
    """Return a figure with as many digits as tell it from its limit."""
    return next((text for d in (4, 6, 9) if float(text := f"{value:.{d}f}") != limit), f"{value:.12f}")
