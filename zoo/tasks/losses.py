"""Losses that mask what is missing (NaN) and say how much they are over.

A loss maps (N, K) float32 logits and (N, K) float32 targets, NaN where missing, to the mean over observed entries and their
number. With nothing observed the mean is 0, joined to the graph, so that the gradient is 0 and not NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelKind, LabelSpace

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy against one-hot or soft targets.

    Args:
        logits: (N, K).
        targets: (N, K) distributions; a row with any NaN is unlabelled.

    Returns:
        Mean over labelled rows, and their number.
    """
    labelled = ~targets.isnan().any(dim=1)
    filled = torch.where(labelled[:, None], targets, 0.0)
    per_row = -(filled * F.log_softmax(logits, dim=1)).sum(dim=1)
    return _masked_mean(per_row, labelled)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of independent findings, entry by entry.

    Args:
        logits: (N, K).
        targets: (N, K) in 0..1; NaN entries are missing.

    Returns:
        Mean over observed entries, and their number.
    """
    observed = ~targets.isnan()
    per_entry = F.binary_cross_entropy_with_logits(logits, targets.nan_to_num(0.0), reduction="none")
    return _masked_mean(per_entry, observed)


def squared_error(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error over observed entries, and their number; targets in their own units."""
    observed = ~targets.isnan()
    return _masked_mean((logits - targets.nan_to_num(0.0)) ** 2, observed)


def default_loss(labels: LabelSpace) -> Loss:
    """Return the loss that suits a label kind.

    Raises:
        ConfigError: On a kind no loss is known for.
    """
    by_kind: dict[str, Loss] = {
        "multiclass": cross_entropy,
        "ordinal": cross_entropy,
        "multilabel": binary_cross_entropy,
        "regression": squared_error,
    }
    if labels.kind not in by_kind:
        raise ConfigError(f"no loss for label kind {labels.kind!r}; known: {', '.join(get_args(LabelKind))}")
    return by_kind[labels.kind]


def _masked_mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    count = mask.sum()
    # where, not multiplication: 0 × inf would be NaN.
    return torch.where(mask, values, 0.0).sum() / count.clamp(min=1), count
