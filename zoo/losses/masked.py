"""Losses that mask what is missing (NaN) and say how much they are over.

A loss maps (N, K) float32 outputs and (N, K) float32 targets, NaN where missing, to the mean over what is observed and how
much that is (a number of rows, entries or their weight). With nothing observed the mean is 0, joined to the graph, so that the
gradient is 0 and not NaN. Each takes `sample_weights` (N,), too: a sample then counts so many times as much.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
SMALLEST = 1e-8
"""Least base of a focusing power: the slope of 0 to a power below 1 is infinite."""


def cross_entropy(
    logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0,
    offsets: Tensor | None = None, sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Cross-entropy against one-hot or soft targets.

    Args:
        logits: (N, K); log-probabilities will do.
        targets: (N, K) distributions; a row with any NaN is unlabelled.
        class_weights: (K,); a row counts as much as its target's classes weigh.
        label_smoothing: Share of each target spread over all classes (Szegedy et al. 2016, section 7).
        offsets: (K,) added to the logits here alone: τ log πₖ of a long tail (Menon et al. 2021, equation 10).
        sample_weights: (N,).

    Returns:
        Weighted mean over labelled rows, and their weight (their number without `class_weights`).
    """
    labelled, filled = _labelled(targets)
    smooth = filled * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    weights = torch.ones_like(logits[0]) if class_weights is None else class_weights.to(logits, non_blocking=True)
    shifted = logits if offsets is None else logits + offsets.to(logits, non_blocking=True)
    per_row = -(weights * smooth * F.log_softmax(shifted, dim=1)).sum(dim=1)
    return _weighted_mean(per_row, labelled, (weights * filled).sum(dim=1), sample_weights)


def conditional_cross_entropy(
    log_probabilities: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The CORN loss (Shi, Cao and Raschka 2023, equation 8): the mean over conditional yes/no tasks a sample takes part in.

    A sample of grade y answers the tasks 0..min(y, K − 2); their binary cross-entropies add up to −log P(y), which is what
    `medzoo.models.heads.ordinal.CornLink` gives.

    Args:
        log_probabilities: (N, K) of the classes.
        targets: (N, K) distributions over grades; a row with any NaN is unlabelled.
        class_weights: (K,).
        sample_weights: (N,).

    Returns:
        Mean over tasks, and their number (their weight with `class_weights`).
    """
    labelled, filled = _labelled(targets)
    grades = log_probabilities.shape[1]
    weights = (
        torch.ones_like(log_probabilities[0]) if class_weights is None else class_weights.to(log_probabilities, non_blocking=True)
    )
    tasks = torch.arange(1, grades + 1, device=targets.device).clamp(max=grades - 1)
    per_row = -(weights * filled * log_probabilities).sum(dim=1)
    return _weighted_mean(per_row, labelled, (weights * filled * tasks).sum(dim=1), sample_weights)


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, positive_weights: Tensor | None = None, label_smoothing: float = 0.0,
    sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Binary cross-entropy of independent findings, entry by entry.

    Args:
        logits: (N, K).
        targets: (N, K) in 0..1; NaN entries are missing.
        positive_weights: (K,) factors on the positive part.
        label_smoothing: How far each target moves towards one half: 1 becomes 1 − s / 2.
        sample_weights: (N,).

    Returns:
        Mean over observed entries, and their number.
    """
    observed, filled = _observed(targets)
    smooth = filled * (1 - label_smoothing) + label_smoothing / 2
    weights = None if positive_weights is None else positive_weights.to(logits, non_blocking=True)
    per_entry = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none")
    return _masked_mean(per_entry, observed, sample_weights)


def asymmetric(
    logits: Tensor, targets: Tensor, *, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05,
    sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Asymmetric loss of independent findings (Ridnik et al. 2021, equations 4 to 7): easy negatives count little.

    Args:
        logits: (N, K).
        targets: (N, K) in 0..1; NaN entries are missing.
        gamma_neg: Focusing of negatives, at least 0.
        gamma_pos: Focusing of positives, at least 0.
        clip: Probability below which a negative counts nothing, in [0, 1).
        sample_weights: (N,).

    Returns:
        Mean over observed entries, and their number.
    """
    observed, filled = _observed(targets)
    positive = logits.sigmoid()
    negative = (1 - positive + clip).clamp(max=1)
    log_likelihood = filled * positive.clamp(min=1e-8).log() + (1 - filled) * negative.clamp(min=1e-8).log()
    right = positive * filled + negative * (1 - filled)
    focus = (1 - right).clamp(min=SMALLEST) ** (gamma_pos * filled + gamma_neg * (1 - filled))
    return _masked_mean(-focus * log_likelihood, observed, sample_weights)


def focal(
    logits: Tensor, targets: Tensor, *, gamma: float = 2.0, alpha: float | None = None, sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Focal loss of independent findings (Lin et al. 2017, equation 5).

    Args:
        logits: (N, K).
        targets: (N, K) in 0..1; NaN entries are missing.
        gamma: Focusing, at least 0; 0 is binary cross-entropy.
        alpha: Weight of positives in 0..1, negatives 1 − alpha; None: both 1.
        sample_weights: (N,).

    Returns:
        Mean over observed entries, and their number.
    """
    observed, filled = _observed(targets)
    probability = logits.sigmoid()
    right = probability * filled + (1 - probability) * (1 - filled)
    per_entry = F.binary_cross_entropy_with_logits(logits, filled, reduction="none") * (1 - right).clamp(min=SMALLEST) ** gamma
    if alpha is not None:
        per_entry = per_entry * (alpha * filled + (1 - alpha) * (1 - filled))
    return _masked_mean(per_entry, observed, sample_weights)


def squared_error(
    values: Tensor, targets: Tensor, *, scale: Tensor | None = None, sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean squared error over observed entries, and their number.

    Args:
        values: (N, K) in the targets' units.
        targets: (N, K); NaN entries are missing.
        scale: (K,) spreads that errors are divided by; None: 1.
        sample_weights: (N,).
    """
    observed, filled = _observed(targets)
    return _masked_mean(_scaled(values - filled, scale) ** 2, observed, sample_weights)


def smooth_l1(
    values: Tensor, targets: Tensor, *, scale: Tensor | None = None, beta: float = 1.0, sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Smooth L1 error (Girshick 2015, equation 3) over observed entries, and their number.

    Args:
        values: (N, K) in the targets' units.
        targets: (N, K); NaN entries are missing.
        scale: (K,) spreads that errors are divided by; None: 1.
        sample_weights: (N,).
        beta: Error, in spreads, below which the loss is quadratic.
        sample_weights: (N,).
    """
    observed, filled = _observed(targets)
    error = _scaled(values - filled, scale)
    per_entry = F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")
    return _masked_mean(per_entry, observed, sample_weights)


def _observed(targets: Tensor) -> tuple[Tensor, Tensor]:
    observed = ~targets.isnan()
    return observed, targets.nan_to_num(0.0)


def _labelled(targets: Tensor) -> tuple[Tensor, Tensor]:
    labelled = ~targets.isnan().any(dim=1)
    return labelled, torch.where(labelled[:, None], targets, 0.0)


def _scaled(errors: Tensor, scale: Tensor | None) -> Tensor:
    return errors if scale is None else errors / scale.to(errors, non_blocking=True)


def _weighted_mean(values: Tensor, mask: Tensor, weights: Tensor, samples: Tensor | None) -> tuple[Tensor, Tensor]:
    if samples is not None:
        values, weights = samples * values, samples * weights
    total = torch.where(mask, weights, 0.0).sum()
    # where, not multiplication: 0 × inf would be NaN.
    return torch.where(mask, values, 0.0).sum() / torch.where(total > 0, total, 1.0), total


def _masked_mean(values: Tensor, mask: Tensor, samples: Tensor | None) -> tuple[Tensor, Tensor]:
    if samples is not None:
        return _weighted_mean(values, mask, torch.ones_like(values), samples[:, None])
    count = mask.sum()
    return torch.where(mask, values, 0.0).sum() / count.clamp(min=1), count
