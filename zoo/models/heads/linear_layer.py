"""Fitting one linear layer to convergence: the convex half of concept bottlenecks that are not trained jointly, and of probes.

Both fits minimise Σ loss + penalty · ((1 − l1_ratio) / 2 · ‖W‖² + l1_ratio · ‖W‖₁) with a free bias, scikit-learn's objective
for `C = 1 / penalty`; the loss is softmax cross-entropy (exclusive labels), sigmoid cross-entropy entry by entry (findings) or
half the squared error (quantities).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.errors import ConfigError

PENALTIES = tuple(float(10**exponent) for exponent in np.arange(-1.5, 3.5, 0.5))
"""What `choose_penalty` tries, from hardly any to nearly all weights gone at a thousand samples."""
EXCLUSIVE = ("multiclass", "ordinal")
"""Label kinds of which one class is true."""
TOLERANCE, ROUNDS = 1e-4, 5000
"""Where SAGA stops: relative change of a weight, passes over the samples."""


class NotConvergedError(ConfigError):
    """A solver used up its rounds."""


def fit_linear(
    inputs: Tensor, targets: Tensor, kind: str, *, penalty: float, offset: Tensor | None = None, bias: bool = True,
    weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Fit a linear layer under an L2 penalty (`l1_ratio` 0), by L-BFGS in float64.

    Args:
        inputs: (N, M).
        targets: (N, K) one-hot, soft or multi-hot targets, or standardised values; NaN where missing.
        kind: Label kind: softmax cross-entropy, sigmoid cross-entropy entry by entry, or half the squared error.
        penalty: At least 0.
        offset: (N, K) added to the outputs and not fitted.
        bias: Whether a bias is fitted.
        weights: (N, K) how much each entry counts, of findings and quantities; None: all alike.

    Returns:
        (K, M) weights and (K,) bias, float32.

    Raises:
        ConfigError: If the penalty is negative or nothing is labelled.
    """
    rows = _labelled(targets, kind, penalty)
    x, y, seen = inputs[rows].double(), targets[rows].double().nan_to_num(0.0), (~targets[rows].isnan()).double()
    if weights is not None:
        seen = seen * weights[rows].double()
    start = torch.zeros(len(x), targets.shape[1], dtype=torch.float64) if offset is None else offset[rows].double()
    weight = torch.zeros(targets.shape[1], inputs.shape[1], dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(targets.shape[1], dtype=torch.float64, requires_grad=bias)
    solver = torch.optim.LBFGS(
        [weight, shift] if bias else [weight], lr=1.0, max_iter=2000, tolerance_grad=1e-9, tolerance_change=1e-14,
        history_size=50, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        solver.zero_grad()
        loss = _loss(start + x @ weight.T + shift, y, seen, kind)
        # Divided by the number of rows for the solver's sake alone: the minimum stays where it is.
        value = (loss + penalty / 2 * (weight**2).sum()) / len(x)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach().float(), shift.detach().float()


def fit_shown(
    inputs: Tensor, targets: Tensor, kind: str, *, penalty: float, weights: Tensor | None = None, total: float | None = None
) -> tuple[Tensor, Tensor]:
    """Fit as `fit_linear` does, where it has a minimum: a class or finding that the data show in one state only has none.

    Its bias, which no penalty holds, would go to infinity, and lie wherever the solver stops. It gets no weights, and the bias of
    half a sample in the other state.

    Args:
        inputs: (N, M).
        targets: As for `fit_linear`, whose errors are raised here, too.
        kind: Label kind.
        penalty: At least 0.
        weights: As for `fit_linear`.
        total: How many labelled samples there are; None: as many as rows.

    Returns:
        (K, M) weights and (K,) bias, float64.
    """
    rows = _labelled(targets, kind, penalty)
    x, y = inputs[rows].double(), targets[rows].double()
    counts = None if weights is None else weights[rows].double()
    fitted, bias = _both_states(y, counts, kind, float(len(y)) if total is None else total)
    weight = torch.zeros(y.shape[1], x.shape[1], dtype=torch.float64)
    if fitted.any():
        of_fitted = None if counts is None else counts[:, fitted]
        some, shift = fit_linear(x, y[:, fitted], kind, penalty=penalty, weights=of_fitted)
        weight[fitted], bias[fitted] = some.double(), shift.double()
    if kind in EXCLUSIVE:
        bias[~fitted] += bias[fitted].mean()
    return weight, bias


def fit_sparse_linear(inputs: Tensor, targets: Tensor, kind: str, *, penalty: float, l1_ratio: float) -> tuple[Tensor, Tensor]:
    """Fit a sparse linear layer on standardised inputs, by scikit-learn's SAGA (quantities: coordinate descent).

    The penalty is on the weights of inputs of mean 0 and spread 1 (over labelled rows); what is returned is for the inputs as
    they are. An input that does not vary gets weight 0. As scikit-learn does it, two exclusive classes have one weight vector w,
    here as −w/2 and w/2. A class or finding that the data show in one state only gets no weights, and the bias of half a sample
    in the other state.

    Args:
        inputs: (N, M).
        targets: As for `fit_linear`; values need not be standardised.
        kind: Label kind.
        penalty: Above 0.
        l1_ratio: Share of the L1 norm in the penalty, above 0 to 1 (elastic net, Zou and Hastie 2005, section 2).

    Returns:
        (K, M) weights and (K,) bias, float32.

    Raises:
        ConfigError: If the penalty or the ratio is out of range, nothing is labelled, or the solver does not converge.
    """
    rows = _labelled(targets, kind, penalty)
    if penalty == 0 or not 0 < l1_ratio <= 1:
        raise ConfigError(
            f"a sparse layer needs a penalty above 0 and an l1_ratio above 0 to 1, not {penalty:g} and {l1_ratio:g}"
        )
    x, y = inputs[rows].double().numpy(), targets[rows].double().numpy()
    mean, spread = x.mean(axis=0), x.std(axis=0)
    varies = spread > 1e-8
    if not varies.any():
        raise ConfigError("none of the inputs varies over the training samples: there is nothing to fit a linear layer on")
    x = (x - mean)[:, varies] / spread[varies]
    if kind in EXCLUSIVE:
        found, bias = _softmax_layer(x, y, penalty, l1_ratio)
    else:
        fit = _quantity_layer if kind == "regression" else _finding_layer
        parts = [fit(x[seen], column[seen], penalty, l1_ratio) for column in y.T for seen in [~np.isnan(column)]]
        found, bias = np.stack([part[0] for part in parts]), np.array([part[1] for part in parts])
    weight = np.zeros((len(found), len(varies)))
    weight[:, varies] = found / spread[varies]
    bias = bias - weight @ mean
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def choose_penalty(
    fit: Callable[[float], tuple[Tensor, Tensor]], inputs: Tensor, targets: Tensor, kind: str,
    penalties: Sequence[float] = PENALTIES, offset: Tensor | None = None
) -> float:  # fmt: skip
    """Return the penalty whose fit has the smallest loss on validation samples; of equals the larger.

    `fit` maps a penalty to weights and bias, fitted on training samples; the other arguments are those of `fit_linear`, of
    validation samples. ConfigError if none of these is labelled.
    """
    rows = _labelled(targets, kind, 0.0)
    x, y = inputs[rows].double(), targets[rows].double()
    losses, failures = {}, []
    for penalty in penalties:
        try:
            weight, bias = fit(penalty)
        except NotConvergedError as error:  # so small a penalty on separable classes has no minimum to speak of
            failures.append(error)
            continue
        outputs = x @ weight.double().T + bias.double()
        if offset is not None:
            outputs = outputs + offset[rows].double()
        losses[penalty] = _loss(outputs, y.nan_to_num(0.0), (~y.isnan()).double(), kind).item()
    if not losses:
        raise failures[-1]
    best = min(losses.values())
    return max(penalty for penalty, loss in losses.items() if loss <= best * (1 + 1e-9))


def for_raw_inputs(weight: Tensor, bias: Tensor, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Return a layer that answers to inputs as they are what (K, M) weights and (K,) bias answer to (inputs − mean) / spread."""
    scaled = weight / spread
    return scaled, bias - scaled @ mean


@torch.no_grad()
def set_layer(layer: nn.Module, weight: Tensor, bias: Tensor, name: str) -> None:
    """Write (K, M) weights and (K,) bias into a linear layer, or a 1×1 convolution; ConfigError if it has no bias.

    `name` is the network's, for messages.
    """
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if layer.bias is None:
        raise ConfigError(f"the last layer of {name} has no bias to carry what is fitted; choose another backbone")
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    layer.bias.copy_(bias)


def _loss(outputs: Tensor, targets: Tensor, seen: Tensor, kind: str) -> Tensor:
    """Return the sum of the losses of (N, K) outputs over what is observed."""
    if kind in EXCLUSIVE:
        return -(targets * outputs.log_softmax(dim=1)).sum()
    if kind == "multilabel":
        return (seen * nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")).sum()
    return (seen * (outputs - targets) ** 2).sum() / 2


def _labelled(targets: Tensor, kind: str, penalty: float) -> Tensor:
    if penalty < 0:
        raise ConfigError(f"penalty {penalty:g} must be at least 0")
    observed = ~targets.isnan()
    rows = observed.all(dim=1) if kind in EXCLUSIVE else observed.any(dim=1)
    if not rows.any():
        raise ConfigError("no labelled sample to fit a linear layer on")
    return rows


def _both_states(targets: Tensor, weights: Tensor | None, kind: str, total: float) -> tuple[Tensor, Tensor]:
    """Return (J,) which outputs can be fitted, and the (J,) bias of the others; of classes, beside the fitted ones' mean.

    `total` is how many samples there are.
    """
    if kind == "regression":
        seen = (~targets.isnan()).any(dim=0)
        return seen, torch.zeros(len(seen), dtype=torch.float64)
    if kind in EXCLUSIVE:
        half = float(np.log(0.5 / total))
        return targets.sum(dim=0) > 0, torch.full((targets.shape[1],), half, dtype=torch.float64)
    counts = (~targets.isnan()).double() if weights is None else weights
    present = (targets.nan_to_num(0.0) * counts).sum(dim=0)
    absent = counts.sum(dim=0) - present
    return (present > 0) & (absent > 0), torch.log((present + 0.5) / (absent + 0.5))


Fitted = tuple[NDArray[np.float64], NDArray[np.float64]]


def _softmax_layer(x: NDArray[np.float64], y: NDArray[np.float64], penalty: float, l1_ratio: float) -> Fitted:
    """Return (K, M) weights and (K,) bias; a soft target counts as rows of each class, weighted by its shares."""
    sample, label = np.nonzero(y > 0)
    shown = np.unique(label)
    weight, bias = np.zeros((y.shape[1], x.shape[1])), np.full(y.shape[1], np.log(0.5 / len(x)))
    if len(shown) == 1:
        bias[shown[0]] = 0.0
        return weight, bias
    solver = _logistic(x[sample], label, y[sample, label], penalty, l1_ratio)
    if len(shown) == 2:
        weight[shown] = np.outer((-0.5, 0.5), solver.coef_[0])
        bias[shown] = np.array((-0.5, 0.5)) * solver.intercept_[0]
    else:
        weight[shown], bias[shown] = solver.coef_, solver.intercept_
    absent = np.setdiff1d(np.arange(y.shape[1]), shown)
    bias[absent] += bias[shown].mean()
    return weight, bias


def _finding_layer(x: NDArray[np.float64], y: NDArray[np.float64], penalty: float, l1_ratio: float) -> tuple[Any, float]:
    """Return (M,) weights and the bias of one finding; a soft target counts once for each state."""
    present = float(y.sum())
    if not len(y) or present in (0.0, float(len(y))):
        return np.zeros(x.shape[1]), float(np.log((present + 0.5) / (len(y) - present + 0.5)))
    rows = np.concatenate([np.flatnonzero(y > 0), np.flatnonzero(y < 1)])
    states = np.concatenate([np.ones(int((y > 0).sum())), np.zeros(int((y < 1).sum()))])
    shares = np.where(states == 1, y[rows], 1 - y[rows])
    solver = _logistic(x[rows], states, shares, penalty, l1_ratio)
    return solver.coef_[0], float(solver.intercept_[0])


def _quantity_layer(x: NDArray[np.float64], y: NDArray[np.float64], penalty: float, l1_ratio: float) -> tuple[Any, float]:
    """Return (M,) weights and the bias of one quantity."""
    from sklearn.linear_model import ElasticNet

    if not len(y):
        return np.zeros(x.shape[1]), 0.0
    # scikit-learn divides the squared error by the number of samples, the penalty not.
    solver = ElasticNet(alpha=penalty / len(y), l1_ratio=l1_ratio, max_iter=ROUNDS, tol=TOLERANCE).fit(x, y)
    return solver.coef_, float(solver.intercept_)


def _logistic(
    x: NDArray[np.float64], classes: NDArray[Any], weights: NDArray[np.float64], penalty: float, l1_ratio: float
) -> Any:
    """Return scikit-learn's fitted logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=1 / penalty, l1_ratio=l1_ratio, solver="saga", tol=TOLERANCE, max_iter=ROUNDS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return solver.fit(x, classes, sample_weight=weights)
        except ConvergenceWarning:
            raise NotConvergedError(
                f"the sparse class layer does not converge at model.bottleneck.penalty={penalty:g}; give a larger one"
            ) from None
