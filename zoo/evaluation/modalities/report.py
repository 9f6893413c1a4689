"""What each modality brings: the metric without it and with it alone, each against all of them on the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import Estimate, Interval, value_text
from medzoo.evaluation.calibration.calibrator import Calibrator
from medzoo.evaluation.comparison.difference import described_difference, with_holm
from medzoo.evaluation.comparison.setting import Setting, mean_estimate
from medzoo.evaluation.metrics import WITH_UNIT
from medzoo.evaluation.modalities.variants import ONLY, SHUFFLED, WITHOUT, Variants
from medzoo.evaluation.monitor import METRICS, higher_is_better
from medzoo.evaluation.predictions import Predictions


def modalities_report(
    predictions: Predictions, variants: Variants, interval: Interval, calibrator: Calibrator | None = None
) -> dict[str, Any]:
    """Return the JSON-ready part on modalities.

    Args:
        predictions: Of the model with all modalities, uncalibrated.
        variants: Of one of its splits.
        interval: How intervals are made; patients are redrawn for all variants together.
        calibrator: What the report calibrates answers by, and so each variant's; None: nothing.

    Raises:
        EvaluationError: If the variants are of other samples.
    """
    whole = predictions.of_split(variants.split)
    if list(map(str, whole.sample_id)) != list(map(str, variants.sample_id)) or whole.labels.names != variants.classes:
        raise EvaluationError("what each modality brings was measured on other samples; make it again with medzoo evaluate")
    metric = METRICS[whole.labels.kind][0]
    if metric in WITH_UNIT and not whole.labels.one_unit and whole.labels.kind == "regression":
        metric = "r2"  # of quantities of several units there is no mean error

    def estimate(name: str, logits: Any) -> Estimate:
        logits = logits if calibrator is None else calibrator.logits(logits)
        part = replace(whole, logits=logits, probabilities=logits)
        return Setting(name, "", (name,), (part,), (), interval).estimate(metric)

    full = estimate("all", whole.logits)
    better = higher_is_better(metric)
    names = list(dict.fromkeys((kind, name) for kind, name, _ in variants.logits))
    parts = []
    for kind, name in names:
        repeats = [estimate(name, found) for key, found in variants.logits.items() if key[:2] == (kind, name)]
        told = described_difference(full, mean_estimate(repeats), interval, None, higher_is_better=better)
        own = mean_estimate(repeats).described(interval)
        parts.append({"kind": kind, "name": name, "repeats": len(repeats), "metric": own, **told})
    kept = ("low", "high", "p", "p_holm", "verdict", "replicates", "no_interval")
    described = [
        {
            **{key: part[key] for key in ("kind", "name", "repeats", "metric")},
            "difference": {"value": part["difference"], **{key: part[key] for key in kept if key in part}},
        }
        for part in with_holm(parts)
    ]
    return {
        "split": variants.split, "metric": metric, "samples": len(whole), "all": full.described(interval),
        "there": {name: int(np.asarray(shown).sum()) for name, shown in variants.there.items()},
        "variants": described,
    }  # fmt: skip


def modalities_lines(part: Mapping[str, Any]) -> list[str]:
    """Return the part as lines for a terminal; none of an empty one."""
    if not part:
        return []
    counts = ", ".join(f"{name} {count}" for name, count in part["there"].items())
    lines = [f"what each modality brings on {part['split']} ({part['samples']} samples; {counts}), by {part['metric']}:"]
    lines.append(f"  {'all':<28} {_text(part['all'])}")
    said = {WITHOUT: "without {}", ONLY: "{} alone", SHUFFLED: "{} shuffled"}
    for one in part["variants"]:
        lines.append(
            f"  {said[one['kind']].format(one['name']):<28} {_text(one['metric'])}  difference {_text(one['difference'])}"
        )
    return lines


def _text(metric: Mapping[str, Any]) -> str:
    return value_text(metric["value"], metric["low"], metric["high"])
