"""What a model is trained for: which loss with which weights, chosen before training and frozen in its spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.losses import masked as losses
from medzoo.settings.schema import LossConfig

LOSSES: dict[str, dict[str, losses.Loss]] = {
    "multiclass": {"cross_entropy": losses.cross_entropy},
    "ordinal": {
        "cross_entropy": losses.cross_entropy,
        "cumulative": losses.cross_entropy,  # of the cumulative link's log-probabilities
        "corn": losses.conditional_cross_entropy,
    },
    "multilabel": {"binary_cross_entropy": losses.binary_cross_entropy, "asymmetric": losses.asymmetric, "focal": losses.focal},
    "regression": {"smooth_l1": losses.smooth_l1, "squared_error": losses.squared_error},
}
"""Losses by label kind; the first is the default."""
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "gamma": ("a number of at least 0", lambda v: v >= 0),
    "gamma_neg": ("a number of at least 0", lambda v: v >= 0),
    "gamma_pos": ("a number of at least 0", lambda v: v >= 0),
    "clip": ("in [0, 1)", lambda v: 0 <= v < 1),
    "alpha": ("null or in 0..1", lambda v: 0 <= v <= 1),
    "beta": ("a positive number", lambda v: v > 0),
}
_FROM_CONFIG = ("class_weights", "positive_weights", "label_smoothing", "scale", "offsets", "sample_weights")
_WHERE_ASKED = ("offsets", "groups", "teacher", "targets")
"""Fields that a description holds where they are set alone: what was described before them keeps its hash."""


@dataclass(frozen=True)
class Objective:
    """A loss and all that it takes, in a form that a spec can hold.

    Attributes:
        loss: One of `LOSSES[kind]`.
        label_smoothing: Share of a target spread over all classes.
        class_weights: (K,) or None.
        positive_weights: (K,) or None.
        mean: (K,) mean of the training targets, in their units; regression alone.
        std: (K,) spread of the training targets; the network learns (target − mean) / std.
        arguments: Further arguments of the loss.
        offsets: (K,) added to the logits in training, of a long tail; None: nothing.
        groups: How groups of samples are weighed against each other, see `medzoo.losses.groups`; None: not at all.
        teacher: What else is learnt from, see `medzoo.tasks.guide`; None: labels alone.
        targets: Of several targets each one's `weight`, `observed` share of the training split and own `objective`, see
            `medzoo.losses.several`; None: there is one.
    """

    loss: str
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    positive_weights: tuple[float, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    offsets: tuple[float, ...] | None = None
    groups: Mapping[str, Any] | None = None
    teacher: Mapping[str, Any] | None = None
    targets: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        described = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in described.items() if v is not None or k not in _WHERE_ASKED}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Objective:
        """Rebuild an objective from `to_dict`."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in described.items()}
        return cls(**values)

    def outputs(self, labels: LabelSpace) -> int:
        """Return how many numbers the network's last layer must give."""
        return {"corn": labels.width - 1, "cumulative": 1}.get(self.loss, labels.width)

    def entries(self, labels: LabelSpace) -> int:
        """Return how many a complete sample counts for in the loss; for the conditional tasks of `corn` the most."""
        return {"corn": labels.width - 1}.get(self.loss, 1 if labels.exclusive else labels.width)

    def function(self, labels: LabelSpace, *, training: bool = True) -> losses.Loss:
        """Return the loss itself; UnknownNameError if it is not one of the label kind's.

        Args:
            labels: What the targets mean.
            training: Whether it is learnt by; else it judges what the model answers, without the offsets of training alone.
        """
        if self.loss not in LOSSES[labels.kind]:
            raise UnknownNameError("loss", self.loss, LOSSES[labels.kind], where=f" for {labels.kind} labels")
        given: dict[str, Any] = dict(self.arguments)
        if self.label_smoothing:
            given["label_smoothing"] = self.label_smoothing
        for name, values in (
            ("class_weights", self.class_weights), ("positive_weights", self.positive_weights), ("scale", self.std),
            ("offsets", self.offsets if training else None),
        ):  # fmt: skip
            if values is not None:
                given[name] = torch.tensor(values, dtype=torch.float32)
        return partial(LOSSES[labels.kind][self.loss], **given)


def objective_from_config(
    config: LossConfig, labels: LabelSpace, targets: NDArray[np.float32], samples: NDArray[np.float32] | None = None
) -> Objective:
    """Choose the loss and take its weights from the training split's targets.

    Args:
        config: What is asked for.
        labels: What the targets mean.
        targets: (N, K), NaN where missing.
        samples: (N,) how much each sample counts: one of weight 2 is that sample twice. None: all alike.

    Raises:
        UnknownNameError: If the loss or one of its arguments is not known for this kind of labels.
        ConfigError: If a weight or a share is out of range, or not for this loss.
    """
    known = LOSSES[labels.kind]
    name = next(iter(known)) if config.name == "auto" else config.name
    if name not in known:
        raise UnknownNameError("loss", name, ["auto", *known], where=f" for {labels.kind} labels")
    accepted = list(signature(known[name]).parameters)[2:]
    for argument in config.arguments:
        if argument not in accepted or argument in _FROM_CONFIG:
            offered = [p for p in accepted if p not in _FROM_CONFIG]
            raise UnknownNameError("argument", argument, offered, where=f" of loss {name}")
    for argument, value in config.arguments.items():
        reason, fits = _RANGES[argument]
        if not (isinstance(value, int | float) and not isinstance(value, bool) and fits(float(value))) and not (
            argument == "alpha" and value is None
        ):
            raise ConfigError(f"loss.arguments.{argument}={value!r} is not {reason}")
    if not 0 <= config.label_smoothing < 1:
        raise ConfigError(f"loss.label_smoothing={config.label_smoothing:g} is not in [0, 1)")
    for setting in ("class_weights", "positive_weights", "label_smoothing"):
        if getattr(config, setting) and setting not in accepted:
            takers = sorted(n for n, f in known.items() if setting in signature(f).parameters)
            remedy = f"; {', '.join(takers)} take it" if takers else ""
            raise ConfigError(f"loss.{setting} is not for {name} of {labels.kind} labels{remedy}")
    given = (targets, samples)
    mean, std = _location(*given) if labels.kind == "regression" else (None, None)
    return Objective(
        loss=name, label_smoothing=config.label_smoothing,
        class_weights=_weights(config.class_weights, "class_weights", labels, lambda: _balanced_classes(*given)),
        positive_weights=_weights(config.positive_weights, "positive_weights", labels, lambda: _balanced_positives(*given)),
        mean=mean, std=std, arguments=dict(config.arguments),
        offsets=_offsets(config.logit_adjustment, name, *given),
    )  # fmt: skip


def _offsets(
    strength: float | None, loss: str, targets: NDArray[np.float32], samples: NDArray[np.float32] | None
) -> tuple[float, ...] | None:
    """Return τ log π of the classes' shares π in training; a class without a sample has the share of half a one."""
    if strength is None or strength == 0:
        return None
    if loss != "cross_entropy":
        raise ConfigError(f"loss.logit_adjustment={strength:g} is for cross_entropy of classes, not for {loss}; leave it out")
    if not 0 < strength < float("inf"):
        raise ConfigError(f"loss.logit_adjustment={strength:g} is not a number of at least 0; 1 is usual")
    mass = np.maximum(_masses(targets, samples)[0], 0.5)
    return tuple(float(v) for v in strength * np.log(mass / mass.sum()))


def _weights(given: Any, name: str, labels: LabelSpace, balanced: Any) -> tuple[float, ...] | None:
    if given is None:
        return None
    if given == "balanced":
        return tuple(float(v) for v in balanced())
    if not isinstance(given, list) or len(given) != labels.width or not all(_is_weight(v) for v in given):
        raise ConfigError(f"loss.{name} must be null, balanced, or {labels.width} positive numbers, got {given!r}")
    return tuple(float(v) for v in given)


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _masses(targets: NDArray[np.float32], samples: NDArray[np.float32] | None) -> tuple[NDArray[np.float64], float]:
    """Return (K,) how many labelled samples are of each class, and how many there are, each as often as it counts."""
    known = ~np.isnan(targets).any(axis=1)
    labelled = targets[known].astype(np.float64)
    if samples is None:
        return labelled.sum(axis=0), len(labelled)
    counted = samples[known].astype(np.float64)
    return counted @ labelled, float(counted.sum())


def _balanced_classes(targets: NDArray[np.float32], samples: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """Return N / (K · N_k), scikit-learn's `balanced`; 1 for a class without training samples."""
    mass, total = _masses(targets, samples)
    weights: NDArray[np.float64] = np.divide(total, len(mass) * mass, out=np.ones_like(mass), where=mass > 0)
    return weights


def _balanced_positives(targets: NDArray[np.float32], samples: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """Return negatives / positives of each finding, over observed entries; 1 where either is absent."""
    observed = ~np.isnan(targets)
    present = np.where(observed, targets, 0)
    counted = None if samples is None else samples.astype(np.float64)
    positive = present.sum(axis=0, dtype=np.float64) if counted is None else counted @ present
    negative = (observed.sum(axis=0) if counted is None else counted @ observed) - positive
    both = (positive > 0) & (negative > 0)
    weights: NDArray[np.float64] = np.divide(negative, positive, out=np.ones_like(positive), where=both)
    return weights


def _location(targets: NDArray[np.float32], samples: NDArray[np.float32] | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each target over observed entries; (0, 1) with none, spread 1 without spread."""
    means, spreads = [], []
    for column in targets.astype(np.float64).T:
        known = ~np.isnan(column)
        values, counted = column[known], None if samples is None else samples[known].astype(np.float64)
        mean, spread = 0.0, 1.0
        if len(values):
            mean = float(values.mean() if counted is None else np.average(values, weights=counted))
            spread = float(values.std() if counted is None else np.sqrt(np.average((values - mean) ** 2, weights=counted)))
        means.append(mean)
        spreads.append(spread if spread > 0 else 1.0)
    return tuple(means), tuple(spreads)
