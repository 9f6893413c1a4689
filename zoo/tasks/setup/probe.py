"""Whether a linear probe is solved at once or trained by steps."""

from __future__ import annotations

from dataclasses import replace

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.losses.convex import SOLVED
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import Around, head_modules
from medzoo.settings.metric_names import metric_text
from medzoo.settings.schema import LossConfig, TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify
from medzoo.tasks.probe import SolvedProbe
from medzoo.tasks.task import Task

PROBES = ("auto", "solved", "sgd")


def find_probe(task: Task, trainer: TrainerConfig, loss: LossConfig, dataset: Dataset) -> tuple[Task, str]:
    """Return what a training with `trainer.finetune=linear` trains: a probe that is solved, or the task itself, by steps.

    Args:
        task: As its family builds it.
        trainer: With `finetune` and `probe`.
        loss: As asked for; of quantities a probe is solved by least squares where no loss is named.
        dataset: What it learns from.

    Returns:
        The task, and a line on why it takes steps where nobody asked for them; else empty.

    Raises:
        UnknownNameError: If `trainer.probe` is not known.
        ConfigError: If it is for no linear probe, or asks to solve what is not solved.
    """
    if trainer.probe not in PROBES:
        raise UnknownNameError("trainer.probe", trainer.probe, PROBES)
    if trainer.finetune != "linear":
        if trainer.probe != "auto":
            raise ConfigError(f"trainer.probe={trainer.probe} is for trainer.finetune=linear; leave it out")
        return task, ""
    if trainer.probe == "sgd" or not task.learns_by_steps:
        return task, ""
    spec = _least_squares(task.spec) if loss == LossConfig() and type(task) is Classify else task.spec
    reason = steps_asked(trainer) or unsolved(task, spec, dataset)
    if reason and trainer.probe == "solved":
        raise ConfigError(f"trainer.probe=solved: {reason}; leave that out, or use trainer.probe=sgd")
    if reason:
        return task, f"the probe is trained by steps, not solved: {reason}"
    return SolvedProbe(spec, task.model, None if trainer.monitor is None else metric_text(trainer.monitor, "trainer.monitor")), ""


def steps_asked(trainer: TrainerConfig) -> str:
    """Return which setting of a trainer only steps can follow; empty if there is none."""
    plain = TrainerConfig()
    for name in vars(plain):
        if name not in SolvedProbe.heeds and getattr(trainer, name) != getattr(plain, name):
            return f"trainer.{name}={getattr(trainer, name)} is for steps"
    if trainer.augment not in ("auto", "none"):
        return "trainer.augment is for steps, each of which sees other features"
    return "trainer.cache_features=false is for steps" if trainer.cache_features is False else ""


def unsolved(task: Task, spec: ModelSpec, dataset: Dataset) -> str:
    """Return why the head of a task cannot be solved at once; empty if it can."""
    if type(task) is not Classify:
        return f"a head of task {spec.task!r} has no solution at once"
    if (name := spec.objective["loss"]) not in SOLVED:
        return f"loss={name} has no solution at once ({', '.join(SOLVED)} have)"
    if (groups := spec.objective.get("groups")) and groups["how"] != "balanced":
        return f"loss.group with how={groups['how']} has no solution at once (balanced has)"
    if spec.objective.get("offsets"):
        return "loss.logit_adjustment has no solution at once"
    layer = head_modules(task.model)[0]
    if getattr(layer, "bias", None) is None:
        return f"the last layer of {spec.architecture} has no bias"
    if dataset.reader.views and isinstance(task.model, Around) and task.model.link_modules():
        return "an ordinal head does not answer to the mean of several views"
    return ""


def _least_squares(spec: ModelSpec) -> ModelSpec:
    """Return the spec of quantities nobody named a loss for, with the one that has a solution."""
    objective = Objective.from_dict(spec.objective) if spec.labels is not None and spec.labels.kind == "regression" else None
    return spec if objective is None else replace(spec, objective=replace(objective, loss="squared_error").to_dict())
