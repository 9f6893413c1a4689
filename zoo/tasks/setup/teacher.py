"""A trained run, or an ensemble, that a classifier learns from beside its labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.inputs import InputSpace
from medzoo.data.seeding import derived_seed
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import pooled_features
from medzoo.settings.schema import DistillConfig, TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.reading import read_otherwise
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bags import views_of
from medzoo.tasks.guide.loss import Guide
from medzoo.tasks.guide.teaching import Held, Teaching
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.questions import other_labels
from medzoo.tasks.task import Task


def teacher_of(config: TrainerConfig) -> Path | None:
    """Return the directory of the run that a training learns from; None where there is none, or nothing is learnt from it.

    Raises:
        ConfigError: If settings of a teacher stand without one, or a number is out of range.
    """
    asked = config.distill
    if config.teacher is None:
        if asked is not None:
            raise ConfigError("trainer.distill says how much is learnt from a teacher: name it, trainer.teacher=<run>")
        return None
    asked = asked or DistillConfig()
    for name, fits, what in (
        ("weight", 0 <= asked.weight <= 1, "in 0..1"), ("features", 0 <= asked.features < float("inf"), "at least 0"),
        ("temperature", 0 < asked.temperature < float("inf"), "positive"),
        ("threshold", asked.threshold is None or 0.5 <= asked.threshold <= 1, "in 0.5..1, or null"),
    ):  # fmt: skip
        if not fits:
            raise ConfigError(f"trainer.distill.{name}={getattr(asked, name):g} is not {what}")
    learns = asked.weight > 0 or asked.features > 0 or asked.threshold is not None
    return Path(config.teacher).expanduser() if learns else None


def teach(task: Task, config: TrainerConfig, seed: int) -> Task:
    """Let a classifier learn from a teacher, where there is one; its spec then says from which, and how much.

    Args:
        task: Changed in place. One that is built again from its spec, to go on, is held against the teacher that it had.
        config: With `teacher` and `distill`.
        seed: Of the projection's first weights.

    Raises:
        ConfigError: If the teacher has other labels or takes other images, or the task does not learn from one.
        CheckpointError: If it cannot be read, or is not the one that the training began with.
    """
    path = teacher_of(config)
    if path is None:
        return task
    asked = config.distill or DistillConfig()
    if not task.learns_by_guide:
        raise ConfigError(f"trainer.teacher is for classifiers that are trained, not for {task.spec.task!r} models; leave it out")
    folder = find_checkpoint(path)
    teacher = load_checkpoint(folder)
    _check_teacher(path, teacher.spec, task.spec, asked)
    _check_modalities(path, teacher, task, asked.features)
    card: dict[str, Any] = {
        "run": path.resolve().name, "weights": weights_checksum(folder), "architecture": teacher.spec.architecture, **vars(asked),
    }  # fmt: skip
    before = task.spec.objective.get("teacher")
    if before is None:
        objective = {**task.spec.objective, "teacher": card}
        task.spec = replace(task.spec, objective=objective, data={**task.spec.data, "taught_by": [dict(teacher.spec.data)]})
    elif before["weights"] != card["weights"]:
        raise CheckpointError(
            f"{path} is not the teacher that this training began with: its weights are others; put that checkpoint back, or "
            "train anew into another run=..."
        )
    projection = _projection(task, teacher, seed) if asked.features else None
    teaching = Teaching(Held(teacher), asked.weight, asked.temperature, asked.features, asked.threshold)
    task.guide = Guide(task.spec.label_space, Objective.from_dict(task.spec.objective), teaching, projection)
    return task


def _check_teacher(path: Path, teacher: ModelSpec, student: ModelSpec, asked: DistillConfig) -> None:
    """Refuse a teacher that answers another question, or that the student's images mean nothing to."""
    if teacher.targets:
        raise ConfigError(f"trainer.teacher={path} answers for several targets; give a run of one")
    if teacher.labels is None:
        raise ConfigError(f"trainer.teacher={path} has no labels ({teacher.architecture}); give a run of a labelled model")
    if apart := other_labels(teacher, student):
        raise ConfigError(f"trainer.teacher={path} has other labels: {apart}; give a teacher of the same, in the same order")
    for name, given, wanted in (
        ("channels", teacher.preprocess.channels, student.preprocess.channels),
        ("dtype", teacher.preprocess.dtype, student.preprocess.dtype),
        ("dimensions", len(teacher.preprocess.size), len(student.preprocess.size)),
        *read_otherwise(teacher, student),
    ):
        if given != wanted:
            remedy = f"; set model.preprocess.channels={given}" if name == "channels" else ""
            raise ConfigError(f"trainer.teacher={path} takes images of {name} {given}, the student of {wanted}{remedy}")
    if views_of(teacher) and views_of(teacher) != views_of(student):
        ours, theirs = (", ".join(views_of(spec)) or "nothing" for spec in (student, teacher))
        raise ConfigError(
            f"trainer.teacher={path} reads of the members of a bag that they show {theirs}, the student {ours}: the teacher "
            "would be shown other samples than it has learnt from"
        )
    plain = DistillConfig()
    if student.label_space.kind == "regression" and (asked.threshold is not None or asked.temperature != plain.temperature):
        raise ConfigError(
            "trainer.distill.temperature and threshold are of probabilities, and quantities have none; leave them out"
        )
    if asked.threshold is not None and (student.objective.get("groups") or {}).get("cells"):
        raise ConfigError(
            "trainer.distill.threshold gives a label to what has none, and loss.group.cells=true parts groups by the labels "
            "that are there; leave one of them out"
        )


def _check_modalities(path: Path, teacher: Task, student: Task, features: float) -> None:
    """Refuse a teacher that would be shown another sample than it has learnt from: what it lacks would be missing to it."""
    if features and student.reads_modalities:
        raise ConfigError("trainer.distill.features is for networks of one image; leave it out for model=fusion")
    theirs, ours = (_modalities(one) for one in (teacher, student))
    if theirs != ours:
        raise ConfigError(
            f"trainer.teacher={path} answers by {theirs}, the student by {ours}: the teacher would be shown other samples than "
            "it has learnt from; give a teacher of the same modalities"
        )


def _modalities(task: Task) -> str:
    """Return what a task reads of a sample, in words that are equal where it is."""
    if not task.reads_modalities:
        return "one image"
    arguments = task.spec.arguments
    images = [f"{name} ({task.spec.preprocess_of(name).channels} channels)" for name in arguments["encoders"]]
    inputs = None if arguments.get("inputs") is None else InputSpace.from_dict(arguments["inputs"])
    values = [] if inputs is None else [f"{name} ({', '.join(inputs.categories.get(name, ['number']))})" for name in inputs.names]
    # One's tokens are the other's only where both have them of one tokenizer, to one length.
    texts = [
        f"{name} (tokens of {about['architecture']}, {about['open_clip']['text_cfg'].get('context_length', 77)} a text)"
        for name, about in arguments.get("texts", {}).items()
    ]
    return ", ".join([*images, *texts, *values])


def _projection(task: Task, teacher: Task, seed: int) -> nn.Linear:
    """Return the linear map from a student's pooled features to its teacher's."""
    model = task.model
    mode = model.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "projection"))
        own = pooled_features(model.eval(), task.blank()).shape[1]
        channels, size = task.spec.preprocess.channels, task.spec.preprocess.size
        kind = torch.uint8 if task.spec.preprocess.dtype == "uint8" else torch.float32
        aims = teacher.features({"image": torch.zeros(1, channels, *size, dtype=kind)}).shape[1]
        made = nn.Linear(own, aims)
    model.train(mode)
    return made
