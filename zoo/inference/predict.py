"""Predicting the splits of a run's dataset with its model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, data_card, table_checksum
from medzoo.data.errors import ConfigError
from medzoo.data.registry import PLACES, earlier_options, load_dataset
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.embed import (
    classifier_prompts,
    cut_captions,
    dataset_notes,
    embed_dataset,
    prompt_card,
    zero_shot_predictions,
)
from medzoo.inference.run import Runner
from medzoo.inference.zeroshot import build_classifier
from medzoo.settings.schema import EvaluationConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.task import Task

ELSEWHERE = (*PLACES, "file", "download", "verify", "missing", "allow_shared_groups")
"""Options of a dataset that may differ from the training's: they say where it lies, or what may be lacking."""


def run_dataset(run: RunDirectory, changes: Mapping[str, Any], spec: ModelSpec, *, other_data: bool = False) -> Dataset:
    """Load the dataset a run was trained on, with what differs on this machine (`root`).

    Args:
        run: The run.
        changes: Options that differ.
        spec: Of the run's model.
        other_data: Take other samples than the run's, too; their labels and concepts are still the model's, by name and order.

    Raises:
        ConfigError: If the data are not the run's own: another option, another table, other labels or concepts.
    """
    options = earlier_options(run.settings()["data"])
    for name, value in changes.items():
        if not other_data and name not in ELSEWHERE and value != options.get(name):
            had = f"{name}={options[name]}" if options.get(name) is not None else f"no {name}"
            raise ConfigError(
                f"data.{name}={value}: {run.path} was trained with {had}, and its own data are what it is judged on; only "
                f"{', '.join(f'data.{place}' for place in ELSEWHERE)} may differ"
            )
    dataset = load_dataset(**{**options, **changes})
    require_same_names(spec, dataset)
    known = spec.data.get("table")
    if not other_data and known is not None and known != table_checksum(dataset):
        before, now = spec.data["samples"], data_card(dataset)["samples"]
        what = (
            f"it had {before} samples, now {now}"
            if before != now
            else "names, splits, groups, labels or texts of its rows differ"
        )
        raise ConfigError(
            f"{dataset.info.name} is not the data that {run.path} was trained with: {what}; put that table back, or train on "
            "this one"
        )
    return dataset


def evaluated_data(dataset: Dataset, splits: Sequence[str]) -> dict[str, Any]:
    """Return what a result says of the data it is of: name, options but for places on a machine, and each split's rows.

    Args:
        dataset: What was predicted.
        splits: Of it.
    """
    options = {name: value for name, value in dataset.options.items() if name not in (*PLACES, "download", "name")}
    rows = {split: {"samples": len(dataset.rows(split)), "table": table_checksum(dataset, split)} for split in splits}
    told: dict[str, Any] = json.loads(json.dumps({"name": dataset.info.name, "options": options, "splits": rows}, default=str))
    return told


def require_same_names(spec: ModelSpec, dataset: Dataset) -> None:
    """Refuse a dataset whose labels or concepts are not those of a model, by name and in order; a model without passes.

    Raises:
        ConfigError: With the first name that differs.
    """
    for what, own, given in (("labels", spec.labels, dataset.labels), ("concepts", spec.concepts, dataset.concepts)):
        by_column = what == "concepts" and "columns" in spec.objective  # a list of texts finds its columns by name
        if own is None or given is None or given == own or by_column:
            continue
        lacking = [name for name in own.names if name not in given.names]
        further = [name for name in given.names if name not in own.names]
        if lacking or further:
            differs = " and ".join(
                [*([f"{', '.join(lacking[:3])} of the model's is not among them"] if lacking else []),
                 *([f"{', '.join(further[:3])} is none of the model's"] if further else [])]
            )  # fmt: skip
        elif given.names != own.names:
            differs = f"they stand in another order ({', '.join(given.names[:3])}, ... for {', '.join(own.names[:3])}, ...)"
        else:
            differs = "their kind, units or groups are others"
        raise ConfigError(f"the {what} of {dataset.info.name} are not the model's: {differs}")


def predict_run(
    run: RunDirectory, task: Task, dataset: Dataset, config: EvaluationConfig, runner: Runner, details: Mapping[str, Any], *,
    augment: Any = "auto", augmenter: str = "opencv", captions: str = "auto"
) -> Predictions | None:  # fmt: skip
    """Predict the splits of a run and write its predictions file; of an image–text model its embeddings, too.

    Args:
        run: Where it is written.
        task: With its weights.
        dataset: The run's.
        config: Splits and test-time augmentation.
        runner: What runs the task.
        details: What the report shall say of the checkpoint.
        augment: The run's augmentation, for test-time augmentation.
        augmenter: What ran it.
        captions: Where an image–text model's captions come from.

    Returns:
        The predictions; None for an image–text model on a dataset without labels or prompts.

    Raises:
        ConfigError: If a split is empty, or test-time augmentation has nothing to do.
    """
    if config.tta and task.no_copies is not None:
        raise ConfigError(f"evaluation.tta is not for {task.no_copies}")
    task.to(runner.device).eval()
    details = {**details, "data": evaluated_data(dataset, config.splits)}
    if task.embedder is None:
        predictions = _predictions(task, dataset, config, runner, augment, augmenter)
        predictions = replace(predictions, details={**details, **({"tta": config.tta} if config.tta else {})})
    else:
        # The training split, too: a search for images like one looks through all of them.
        further = [] if "train" in config.splits or not len(dataset.rows("train")) else ["train"]
        embeddings = embed_dataset(task.embedder, dataset, [*further, *config.splits], runner, captions=captions)
        embeddings = replace(embeddings, details={**embeddings.details, **details, **cut_captions(task.embedder, embeddings)})
        if runner.accelerator.is_main_process:
            embeddings.write(run.embeddings)
        prompts = classifier_prompts(dataset, captions)
        if prompts is None or dataset.labels is None:
            return None
        classifier = build_classifier(task.embedder, prompts, dataset.labels)
        said = {**details, "zero-shot": prompt_card(prompts, classifier)}
        predictions = zero_shot_predictions(embeddings.of_split(*config.splits), classifier, dataset, said)
    if runner.accelerator.is_main_process:
        predictions.write(run.predictions)
    return predictions


def _predictions(
    task: Task, dataset: Dataset, config: EvaluationConfig, runner: Runner, augment: Any, augmenter: str
) -> Predictions:
    rows: list[pd.DataFrame] = []
    parts: dict[str, list[NDArray[Any]]] = {}
    for split in config.splits:
        samples = SampleDataset(dataset, split, task.spec.preprocess)
        if not len(samples):
            raise ConfigError(f"the {split} split is empty; leave it out of evaluation.splits")
        task.prepare(samples, dataset)
        outputs, _ = runner.predict(task, samples)
        if config.tta:
            outputs = {**outputs, **_with_copies(task, dataset, split, outputs, config, augment, augmenter, runner)}
        rows.append(samples.rows)
        for name, values in {**outputs, "targets": samples.targets, "concepts": samples.concepts}.items():
            if values is not None:
                parts.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    table = pd.concat(rows, ignore_index=True)
    return Predictions(
        labels=task.spec.label_space, sample_id=table["sample_id"].to_numpy(dtype=object),
        split=table["split"].to_numpy(dtype=object), group=table["group"].to_numpy(dtype=object), targets=joined["targets"],
        logits=joined["logits"], probabilities=joined["probabilities"], subgroups=table[list(dataset.subgroups)],
        **task.predictions(joined, joined.get("concepts")), spec_hash=task.spec.hash, split_unit=dataset.info.split_unit,
        notes=dataset_notes(dataset),
    )  # fmt: skip


def _with_copies(
    task: Task, dataset: Dataset, split: str, outputs: dict[str, Any], config: EvaluationConfig, augment: Any, augmenter: str,
    runner: Runner
) -> dict[str, Any]:  # fmt: skip
    """Average probabilities over each image and `config.tta` augmented copies of it; logits are those of the mean."""
    if config.tta < 0:
        raise ConfigError(f"evaluation.tta must be at least 0, got {config.tta}")
    policy = augment_policy(augment, dataset.info.modality)
    if not policy.transforms and not policy.crops:
        raise ConfigError("evaluation.tta: the run's augmentation is none, so every copy would be the same; use tta=0")
    copier = Augment(policy, task.spec.preprocess, augmenter)
    copies = SampleDataset(dataset, split, task.spec.preprocess, augment=copier, seed=config.seed)
    total = outputs["probabilities"].astype(np.float64)
    for copy in range(1, config.tta + 1):
        total += runner.predict(task, copies, epoch=copy)[0]["probabilities"]
    mean = total / (1 + config.tta)
    if task.spec.label_space.kind == "regression":
        return {"logits": mean.astype(np.float32), "probabilities": mean.astype(np.float32)}
    # Averages of probabilities have no logits of their own; these give them back.
    small = np.clip(mean, 1e-30, 1.0)
    logits = np.log(small)
    if task.spec.label_space.kind == "multilabel":
        logits -= np.log(np.clip(1 - mean, 1e-16, 1.0))
    return {"logits": logits.astype(np.float32), "probabilities": mean.astype(np.float32)}
