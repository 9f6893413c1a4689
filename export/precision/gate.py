"""The gate before a model of reduced precision (fp16, int8) is written: what it loses against the float32 model, on validation.

Both models see the same images; the metrics are the library's (`medzoo.evaluation.metrics`). Each loss stands with a paired
percentile interval (Efron and Tibshirani 1993, chapter 13): the same redrawn groups for both models, so that what makes a
group hard cancels. **The verdict uses the point estimate**: to ask that the interval lie below the limit would refuse
harmless models wherever the validation split is small. How alike the outputs are is asked too, since a metric can stay equal
while single patients change class, and so is how much the values change, since ranks and decisions stay equal while every
probability moves. The default limits are the project's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ExportError
from medzoo.data.labels import LabelSpace, probabilities
from medzoo.evaluation.bootstrap import DEFAULT_INTERVAL, Interval, bootstrap
from medzoo.evaluation.metrics import Floats, all_metrics, macro_means, scored
from medzoo.evaluation.monitor import monitorable
from medzoo.export.precision.figures import Gate, Likeness, Loss
from medzoo.export.settings import GateLimits

DEFAULT_LIMITS = GateLimits()
TIE = 1e-6
"""Logits of the float32 model that are closer than this are a tie: a reduced model may break it either way."""


def check_gate(
    labels: LabelSpace,
    targets: NDArray[np.float32],
    groups: Sequence[str],
    reference: NDArray[np.float32],
    reduced: NDArray[np.float32],
    *,
    limits: GateLimits = DEFAULT_LIMITS,
    interval: Interval = DEFAULT_INTERVAL,
    subject: str | None = None,
) -> Gate:
    """Judge a reduced model by its validation outputs; the verdict uses the point estimate of each loss, not its interval.

    Multiclass, ordinal and multilabel: one-vs-rest AUROC, the macro mean over the classes where it is defined and every class
    with enough samples; ordinal: quadratic kappa (Cohen 1968) as well; regression: the MAE of every output. A metric that is
    undefined on these targets fails: a loss that cannot be measured is not a loss of 0.

    Args:
        labels: The label space, K wide.
        targets: (N, K) float32; NaN where missing.
        groups: (N,) text, the patient or whatever the split keeps together.
        reference: (N, K) logits (values for regression) of the float32 model, finite.
        reduced: (N, K) of the reduced model, on the same samples in the same order.
        limits: What is allowed.
        interval: How intervals are made; without replicates there are none (a search over layers needs the verdict alone).
        subject: What a name stands for, where the names are a bottleneck's `concept`s, judged as independent findings; where no
            concept has targets of both kinds, none can be judged and the gate fails. None: `class`, of quantities `output`.

    Raises:
        ExportError: If the shapes do not agree or the float32 model's outputs are not finite.
    """
    ours, theirs = _outputs(reference, reduced)
    if not np.shape(targets) == ours.shape == (len(groups), labels.width):
        raise ExportError(
            f"the gate needs (N, {labels.width}) targets and outputs and N groups; got targets {np.shape(targets)}, "
            f"outputs {ours.shape}, {len(groups)} groups"
        )
    kind = "output" if labels.kind == "regression" else "class"
    gate = Gate(subject or kind, len(ours), len(set(groups)), interval.level)
    problem = _not_finite(theirs) or _undefined(labels, targets)
    if problem:
        return replace(gate, problem=problem if subject is None else f"{subject}s: {problem}")
    pair = (scored(labels, targets, reference), scored(labels, targets, reduced))
    truth, observed = pair[0].truth, pair[0].observed
    plain = [all_metrics(data, np.ones((1, len(ours)))) for data in pair]
    # One seed and one set of groups: both models meet the same replicates.
    drawn = [bootstrap(data, groups, interval) for data in pair]

    def compared(metric: str, limit: float | None, k: int | None = None, scale: float = 1.0) -> Loss:
        a, b = (_values(part, metric, k) for part in plain)
        # Adding 0.0 takes the minus sign from a zero.
        differences = (_values(drawn[0], metric, k) - _values(drawn[1], metric, k)) / scale + 0.0 if drawn[0][0] else None
        low, high = interval.bounds(differences)
        name = None if k is None else labels.names[k]
        return Loss(metric, name, float(a[0]), float(b[0]), float((a[0] - b[0]) / scale) + 0.0, low, high, limit)

    if labels.kind == "regression":
        spreads = [float(truth[observed[:, k], k].std()) for k in range(labels.width)]
        # The sign turns round: an error that grows is a loss. Replicates keep the spread of all targets, as the limit does.
        errors = tuple(compared("mae", limits.error_growth, k, -s) for k, s in enumerate(spreads))
        changed = float((np.abs(ours - theirs).mean(axis=0) / np.array(spreads)).max())  # of the output that changes most
        return replace(gate, losses=errors, likeness=(Likeness("mean_change", changed, limits.mean_change),))
    losses, not_judged = [compared("auroc", limits.loss)], {}
    for k, name in enumerate(labels.names):
        positives = int(truth[observed[:, k], k].sum())
        fewest = min(positives, int(observed[:, k].sum()) - positives)
        if fewest < limits.support:
            not_judged[name] = f"{positives} positive, {int(observed[:, k].sum()) - positives} negative"
        if fewest:
            losses.append(compared("auroc", limits.loss if fewest >= limits.support else None, k))
    if labels.kind == "ordinal":
        losses.append(compared("kappa", limits.kappa_loss))
    likeness = _class_likeness(labels, ours, theirs, limits)
    return replace(gate, losses=tuple(losses), likeness=likeness, not_judged=not_judged, left_out=pair[0].tied)


def check_embeddings(
    reference: NDArray[np.float32], reduced: NDArray[np.float32], *, limits: GateLimits = DEFAULT_LIMITS
) -> Gate:
    """Judge embeddings by their cosine with the float32 model's: the mean is judged, the smallest shown.

    Args:
        reference: (N, E) of the float32 model, finite and not of length 0; of any length otherwise.
        reduced: (N, E) of the reduced model. A vector of length 0 has lost its direction: cosine 0.
        limits: What is allowed.

    Raises:
        ExportError: If the shapes do not agree, or the float32 model's embeddings are not finite or of length 0.
    """
    ours, theirs = _outputs(reference, reduced)
    lengths = np.linalg.norm(ours, axis=1)
    if not lengths.all():
        raise ExportError(f"{int((lengths == 0).sum())} embeddings of the float32 model have length 0; check the trained model")
    problem = _not_finite(theirs) or (None if len(ours) else "cosine is undefined on an empty validation split; give it images")
    if problem:
        return Gate("embedding", len(ours), problem=problem)
    product = lengths * np.linalg.norm(theirs, axis=1)
    cosines = np.divide((ours * theirs).sum(axis=1), product, out=np.zeros(len(ours)), where=product > 0)
    likeness = (Likeness("cosine", float(cosines.mean()), limits.cosine), Likeness("smallest_cosine", float(cosines.min()), None))
    return Gate("embedding", len(ours), likeness=likeness)


def _outputs(reference: NDArray[np.float32], reduced: NDArray[np.float32]) -> tuple[Floats, Floats]:
    ours, theirs = np.asarray(reference, np.float64), np.asarray(reduced, np.float64)
    if ours.ndim != 2 or ours.shape != theirs.shape:
        raise ExportError(f"the gate needs two outputs of one shape (N, K); got {ours.shape} and {theirs.shape}")
    bad = int((~np.isfinite(ours)).any(axis=1).sum())
    if bad:
        raise ExportError(f"{bad} of {len(ours)} outputs of the float32 model are not finite; check the trained model")
    return ours, theirs


def _not_finite(reduced: Floats) -> str | None:
    bad = int((~np.isfinite(reduced)).any(axis=1).sum())
    where = f"{bad} of {len(reduced)} samples"
    return f"the reduced model's outputs are NaN or infinite for {where} (limit 0); keep more layers in float32" if bad else None


def _undefined(labels: LabelSpace, targets: NDArray[np.float32]) -> str | None:
    """Return why the metric is undefined on these targets, or None. A regression output has no macro mean to vouch for it."""
    if labels.kind != "regression":
        what, why = "AUROC", monitorable(labels, targets, "auroc")
    else:
        known = {name: column[~np.isnan(column)] for name, column in zip(labels.names, targets.T, strict=True)}
        flat = [repr(name) for name, values in known.items() if len(np.unique(values)) < 2]
        what = f"MAE of {', '.join(flat)} in standard deviations of the targets"
        why = "fewer than two different targets" if flat else None
    remedy = "its loss cannot be measured; give the validation split more labelled images"
    return f"{what} is undefined on the validation split ({why}): {remedy}" if why else None


def _values(metrics: tuple[dict[str, Floats], dict[str, Floats]], metric: str, k: int | None) -> Floats:
    """Return (B,): a metric of class k, of the whole, or the mean over the classes that are defined in a replicate."""
    classes, overall = metrics
    if k is not None:
        return np.asarray(classes[metric][:, k])
    if metric in overall:
        return overall[metric]
    # Whether AUROC is defined depends on targets and weights alone: the same classes for both models.
    return macro_means(classes[metric])


def _class_likeness(labels: LabelSpace, ours: Floats, theirs: Floats, limits: GateLimits) -> tuple[Likeness, ...]:
    """Compare decisions and probabilities; every sample counts, labelled or not.

    A share over all entries hides what happens to a rare finding, whose entries are nearly all negative, and a mean over many
    classes hides a change of the few that have any probability: so the calls of each class are compared among themselves, and the
    change is the worst finding's, or the total variation distance of a sample's distribution.
    """
    mine, others = _calls(labels, ours, theirs)
    names = (None,) if labels.exclusive else labels.names
    change = np.abs(probabilities(ours, labels) - probabilities(theirs, labels))
    if labels.exclusive:
        agreement, changed = float((mine == others).all(axis=1).mean()), change.sum(axis=1).mean(keepdims=True) / 2
    else:
        agreement, changed = float((mine == others).mean()), change.mean(axis=0)
    worst = int(changed.argmax())
    found = [
        Likeness("agreement", agreement, limits.agreement),
        Likeness("probability_change", float(changed[worst]), limits.probability_change, names[worst]),
    ]
    either, both = (mine | others).sum(axis=0), (mine & others).sum(axis=0)
    if not labels.exclusive:  # findings too rare to be judged one by one still count together
        either, both = np.append(either, either.sum()), np.append(both, both.sum())
    # Dice's coefficient: twice what both call, of all calls of either; |A| + |B| = |A or B| + |A and B|.
    overlap = np.where(either >= limits.support, 2 * both / (either + both).clip(min=1), np.inf)
    if np.isfinite(overlap).any():
        worst = int(overlap.argmin())
        found.append(Likeness("overlap", float(overlap[worst]), limits.overlap, (*labels.names, "all findings")[worst]))
    return tuple(found)


def _calls(labels: LabelSpace, ours: Floats, theirs: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (N, K) what each model calls: its top class, or every finding above probability 0.5.

    Where the float32 model holds a tie, the reduced one may break it either way: its call is then taken for both.
    """
    if not labels.exclusive:
        others = theirs > 0
        return np.where(np.abs(ours) < TIE, others, ours > 0), others
    chosen, rows = theirs.argmax(axis=1), np.arange(len(ours))
    tied = ours.max(axis=1) - ours[rows, chosen] < TIE  # a third class, which float32 holds for worse, is no tie
    mine = np.where(tied, chosen, ours.argmax(axis=1))
    classes = np.arange(ours.shape[1])
    return mine[:, None] == classes, chosen[:, None] == classes
