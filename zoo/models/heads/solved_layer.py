"""The head of a linear probe at its minimum under each of several penalties, for features as the network gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from medzoo.losses.convex import Convex
from medzoo.models.heads.linear_layer import EXCLUSIVE, fit_shown, for_raw_inputs

PROBE_PENALTIES = tuple(float(10**exponent) for exponent in np.arange(4.0, -2.5, -0.5))
"""What a probe tries, the strongest first: C from 1e-4, where scikit-learn's `LogisticRegressionCV` begins, to 100."""


def solved_layers(
    features: Tensor, problem: Convex, penalties: Sequence[float] = PROBE_PENALTIES, samples: Tensor | None = None
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Yield (penalty, (J, F) weights, (J,) bias) of the layer that minimises a problem, for each penalty.

    The penalty is on the weights of features of mean 0 and spread 1 over the samples with a target; 1 / penalty is the C of
    scikit-learn, the penalty the alpha of its Ridge. What is yielded is for the features as they are, float32. A class or finding
    that the samples show in one state only would have its bias at infinity: it gets no weights, and the bias of half a sample in
    the other state.

    Args:
        features: (N, F).
        problem: What the layer's outputs are to minimise.
        penalties: To try, in this order.
        samples: (N,) how often each sample is there, in the mean and spread of features; None: once.

    Raises:
        ConfigError: If nothing is labelled.
    """
    observed = ~problem.targets.isnan()
    rows = observed.all(dim=1) if problem.kind in EXCLUSIVE else observed.any(dim=1)
    inputs, targets = features[rows].double(), problem.targets[rows].double()
    weights = None if problem.weights is None else problem.weights[rows].double()
    counts = None if samples is None else samples[rows].double()
    mean, spread = _location(inputs, counts)
    inputs = (inputs - mean) / spread
    total = float(len(targets) if counts is None else counts.sum())
    for penalty in penalties:
        weight, bias = fit_shown(inputs, targets, problem.kind, penalty=penalty, weights=weights, total=total)
        weight, bias = for_raw_inputs(weight, bias, mean, spread)
        yield penalty, weight.float(), bias.float()


def _location(inputs: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return (F,) mean and spread of inputs, each as often as (N,) `counts` says."""
    if counts is None:
        return inputs.mean(dim=0), inputs.std(dim=0, correction=0).clamp_min(1e-6)
    shares = (counts / counts.sum())[:, None]
    mean = (shares * inputs).sum(dim=0)
    return mean, (shares * (inputs - mean) ** 2).sum(dim=0).sqrt().clamp_min(1e-6)
