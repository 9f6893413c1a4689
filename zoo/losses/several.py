"""One loss of several targets: the weighted sum of each one's own, over what is observed of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.columns import places_of
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.losses.masked import Loss
from medzoo.losses.objective import Objective, objective_from_config
from medzoo.settings.schema import LossConfig

NAME = "weighted sum"
"""The loss of several targets, in a spec."""
SETTINGS = tuple(field.name for field in fields(LossConfig) if field.name not in ("group", "targets"))


@dataclass(frozen=True)
class Part:
    """One of several targets.

    Attributes:
        name: Its name.
        place: Where its outputs stand among those of all, side by side; its labels stand there among the labels.
        labels: What they mean.
        objective: What it is trained for.
        loss: The loss of that.
        validation_loss: The same without what is of training alone.
        weight: Of the loss in the sum; 0: the target is not trained.
        observed: Share of its labels that the training split has.
    """

    name: str
    place: slice
    labels: LabelSpace
    objective: Objective
    loss: Loss
    validation_loss: Loss
    weight: float
    observed: float

    @property
    def even(self) -> bool:
        """Whether the loss counts all complete samples alike: not with class weights, and CORN asks more of high grades."""
        return self.objective.class_weights is None and self.objective.loss != "corn"


def parts_of(objective: Objective, targets: Mapping[str, LabelSpace]) -> Iterator[Part]:
    """Yield the parts of an objective that `joined_objective` made, in their order."""
    places = places_of(targets)
    for name in targets:
        about = (objective.targets or {})[name]
        own = Objective.from_dict(about["objective"])
        weight, observed = float(about["weight"]), float(about["observed"])
        learnt, judged = (own.function(targets[name], training=training) for training in (True, False))
        yield Part(name, places[name], targets[name], own, learnt, judged, weight, observed)


def joined_objective(config: LossConfig, targets: Mapping[str, LabelSpace], values: NDArray[np.float32]) -> Objective:
    """Return the objective of several targets, with mean and spread of all quantities: 0 and 1 for what is none.

    Args:
        config: With `targets`, target → its weight, or weight and settings.
        targets: The label space of each.
        values: (N, K of all) the training split's labels side by side, NaN where missing.

    Raises:
        UnknownNameError: If a target, a setting, a loss or an argument is not known.
        ConfigError: If a weight is negative or all are 0, or a setting is not said of one target.
    """
    asked, places = _asked(config, targets), places_of(targets)
    mean, std = np.zeros(values.shape[1]), np.ones(values.shape[1])
    said: dict[str, Any] = {}
    for name, labels in targets.items():
        own = values[:, places[name]]
        weight, settings = asked[name]
        try:
            objective = objective_from_config(settings, labels, own)
        except UnknownNameError:
            raise
        except ConfigError as error:
            raise ConfigError(f"loss.targets.{name}: {error}") from error
        if objective.mean is not None and objective.std is not None:
            mean[places[name]], std[places[name]] = objective.mean, objective.std
        said[name] = {"weight": weight, "observed": float((~np.isnan(own)).mean()), "objective": objective.to_dict()}
    quantities = any(labels.kind == "regression" for labels in targets.values())
    location = (tuple(map(float, mean)), tuple(map(float, std))) if quantities else (None, None)
    return Objective(NAME, mean=location[0], std=location[1], targets=said)


def _asked(config: LossConfig, targets: Mapping[str, LabelSpace]) -> dict[str, tuple[float, LossConfig]]:
    """Return target → its weight and what is said of its loss."""
    given, first = {} if config.targets is None else config.targets, next(iter(targets))
    if not isinstance(given, Mapping):
        raise ConfigError(f"loss.targets={given!r} is no mapping; give each target its weight: loss.targets={{{first}: 1}}")
    for name in SETTINGS:
        if getattr(config, name) != getattr(LossConfig(), name):
            raise ConfigError(
                f"loss.{name} is of one target's loss, and there are several: say of which, "
                f"loss.targets={{{first}: {{{name}: {getattr(config, name)}}}}}"
            )
    if config.group is not None:
        raise ConfigError("loss.group weighs the samples of one target, and there are several: leave it out")
    for name in given:
        if name not in targets:
            raise UnknownNameError("target", str(name), targets, where=" in loss.targets")
    found = {name: _one(name, given.get(name, 1.0)) for name in targets}
    if not any(weight for weight, _ in found.values()):
        raise ConfigError("loss.targets: every weight is 0, so that nothing would be learnt; give one a weight above 0")
    return found


def _one(name: str, about: Any) -> tuple[float, LossConfig]:
    about = about if isinstance(about, Mapping) else {"weight": about}
    for key in about:
        if key not in ("weight", *SETTINGS):
            raise UnknownNameError("key", str(key), ("weight", *SETTINGS), where=f" of loss.targets.{name}")
    weight = about.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        raise ConfigError(f"loss.targets.{name}: the weight {weight!r} is not a number of at least 0")
    return float(weight), replace(LossConfig(), **{key: value for key, value in about.items() if key != "weight"})
