"""What each of several modalities brings: a split's answers with each left out, each alone, and each input shuffled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medzoo.data.columns import places_of
from medzoo.data.dataset import Dataset
from medzoo.evaluation.modalities.variants import Variants
from medzoo.inference.run import Runner
from medzoo.tasks.task import Task

SPLIT = "test"


def modality_variants(task: Task, dataset: Dataset, runner: Runner, details: Mapping[str, Any], seed: int) -> Variants | None:
    """Return what a model says of the test split without its modalities; None for a model of one image, or without such a split.

    Args:
        task: In evaluation mode, on the device.
        dataset: Evaluated.
        runner: What runs the task.
        details: What is kept of how they were made.
        seed: Of what is shuffled.
    """
    return _variants(task, dataset, runner, details, seed, task.spec.label_space.names)


def variants_of_targets(
    task: Task, dataset: Dataset, runner: Runner, details: Mapping[str, Any], seed: int
) -> dict[str, Variants]:
    """Return target → its part of that, of a model of several targets; arguments as for `modality_variants`."""
    names = [f"{target}.{name}" for target, labels in task.spec.targets.items() for name in labels.names]
    whole = _variants(task, dataset, runner, details, seed, names)
    if whole is None:
        return {}
    return {
        target: replace(
            whole, classes=task.spec.targets[target].names, logits={key: values[:, place] for key, values in whole.logits.items()}
        )
        for target, place in places_of(task.spec.targets).items()
    }


def _variants(
    task: Task, dataset: Dataset, runner: Runner, details: Mapping[str, Any], seed: int, names: Sequence[str]
) -> Variants | None:
    if not len(dataset.rows(SPLIT)):
        return None
    samples = task.samples(dataset, SPLIT)
    found = task.without_modalities(samples, runner, seed)
    if not found:
        return None
    logits = {key: values for key, values in found.items() if key[0] != "there"}
    there = {key[1]: values for key, values in found.items() if key[0] == "there"}
    about = {"spec": task.spec.hash, **{name: details[name] for name in ("weights", "checkpoint") if name in details}}
    return Variants(SPLIT, samples.sample_ids, there, logits, tuple(names), about)
