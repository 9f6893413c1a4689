"""Predicting the splits of a run's dataset with its model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.audit.leakage import image_leakage
from medzoo.data.columns import places_of
from medzoo.data.dataset import Dataset, data_card, require_rows, table_checksum
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace, probabilities
from medzoo.data.options import local_path
from medzoo.data.registry import PLACES, earlier_options, load_dataset
from medzoo.data.samples.augment import augment_policy
from medzoo.data.splits.domains import domain_names
from medzoo.data.splits.published import name_published
from medzoo.data.visits.columns import carried_matrix
from medzoo.evaluation.grouped.votes import voted
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.predictions import joined as concatenated
from medzoo.evaluation.several import write_predictions
from medzoo.inference.embed import (
    classifier_prompts,
    cut_captions,
    dataset_notes,
    embed_dataset,
    embed_features,
    prompt_card,
    zero_shot_predictions,
)
from medzoo.inference.modalities import SPLIT, modality_variants, variants_of_targets
from medzoo.inference.run import Runner
from medzoo.inference.zeroshot import build_classifier
from medzoo.settings.evaluation import EvaluationConfig, by_columns
from medzoo.settings.robustness import robustness_columns
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.targets import require_targets
from medzoo.tasks.task import Task

ELSEWHERE = (*PLACES, "file", "download", "verify", "missing", "allow_shared_groups", "parents")
"""Options of a dataset that may differ from the training's: where it lies, what may be lacking, what is a kind of what."""

OF_CONTRACT = ("target.", "targets.", "concept.", "input.", "carried.")
"""How columns of a table begin that are truth or input, by which no rows belong together."""


def run_dataset(run: RunDirectory, changes: Mapping[str, Any], spec: ModelSpec, *, other_data: bool = False) -> Dataset:
    """Load the dataset a run was trained on, with what differs on this machine (`root`).

    Args:
        run: The run.
        changes: Options that differ.
        spec: Of the run's model.
        other_data: Take other samples than the run's, too; their labels and concepts are still the model's, by name and order.

    Raises:
        ConfigError: If the data are not the run's own: another option, another table, other labels or concepts.
        DatasetError: If they cannot be read; says of a place that the run names and that is not there how to name another.
    """
    options = earlier_options(run.settings()["data"])
    for name, value in changes.items():
        if not other_data and name not in ELSEWHERE and value != options.get(name):
            had = f"{name}={options[name]}" if options.get(name) is not None else f"no {name}"
            raise ConfigError(
                f"data.{name}={value}: {run.path} was trained with {had}, and its own data are what it is judged on; only "
                f"{', '.join(f'data.{place}' for place in ELSEWHERE)} may differ"
            )
    try:
        dataset = load_dataset(**{**options, **changes})
    except DatasetError as error:
        raise DatasetError(f"{str(error).removesuffix('; set data.file')}{_moved(run, options, changes)}") from error
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


def _moved(run: RunDirectory, options: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return what to do about a place that a run names and that is not there; empty if all are, or another was given."""
    for name in ("file", *PLACES):
        value = options.get(name)
        if name in changes or not isinstance(value, str) or "://" in value or local_path(value, name).exists():
            continue
        # Kept as it was given: a path of this machine made of it would travel with the model's spec.
        where = "" if local_path(value, name).is_absolute() else "start medzoo in the folder that it was trained from, or "
        return f"; {run.path} was trained with data.{name}={value}: {where}say where that is now with +data.{name}=..."
    return ""


def evaluated_data(dataset: Dataset, splits: Sequence[str]) -> dict[str, Any]:
    """Return what a result says of the data it is of: name, options but for places on a machine, each split's rows.

    Where one domain was left out, also which, and on which ones was trained.

    Args:
        dataset: What was predicted.
        splits: Of it.
    """
    options = {name: value for name, value in dataset.options.items() if name not in (*PLACES, "download", "name")}
    rows = {split: {"samples": len(dataset.rows(split)), "table": table_checksum(dataset, split)} for split in splits}
    card: dict[str, Any] = {"name": dataset.info.name, "options": options, "splits": rows}
    if column := dataset.options.get("domain"):
        names = domain_names(dataset.info.name, dataset.table, column)
        learnt = sorted(set(names[dataset.table["split"] != "test"]))
        card["domain"] = {"column": column, "held_out": dataset.options["held_out"], "trained_on": learnt}
    told: dict[str, Any] = json.loads(json.dumps(card, default=str))
    return told


def require_same_names(spec: ModelSpec, dataset: Dataset) -> None:
    """Refuse a dataset whose labels or concepts are not those of a model, by name and in order; a model without passes.

    Raises:
        ConfigError: With the first name that differs.
    """
    require_rows(spec.data, dataset)
    if spec.targets or dataset.targets:
        require_targets(spec.targets, dataset)
    for what, own, given in (("labels", spec.labels, dataset.labels), ("concepts", spec.concepts, dataset.concepts)):
        by_column = what == "concepts" and "columns" in spec.objective  # a list of texts finds its columns by name
        if own is None or given is None or _flat(given) == _flat(own) or by_column:
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


def _flat(names: LabelSpace | ConceptSpace) -> LabelSpace | ConceptSpace:
    """Return labels without their tree, which no model learns from."""
    return replace(names, parents=None) if isinstance(names, LabelSpace) else names


def predict_run(
    run: RunDirectory, task: Task, dataset: Dataset, config: EvaluationConfig, runner: Runner, details: Mapping[str, Any], *,
    augment: Any = "auto", augmenter: str = "opencv", captions: str = "auto"
) -> Predictions | None:  # fmt: skip
    """Predict the splits of a run and write its predictions file; its embeddings where they are asked for, or made anyway.

    Args:
        run: Where it is written.
        task: With its weights.
        dataset: The run's.
        config: Splits, test-time augmentation, whether embeddings are written.
        runner: What runs the task.
        details: What the report shall say of the checkpoint.
        augment: The run's augmentation, for test-time augmentation.
        augmenter: What ran it.
        captions: Where an image–text model's captions come from.

    Returns:
        The predictions; None for an image–text model on a dataset without labels or prompts, and of pre-training.

    Raises:
        ConfigError: If a split is empty, test-time augmentation has nothing to do, or the model has no features.
        UnknownNameError: If a robustness index is asked of what is no subgroup.
    """
    robustness_columns(config.robustness_index, dataset.subgroups)
    carried_columns(dataset, config.by)  # a column that is not there is named before anything is predicted
    if config.tta and task.no_copies is not None:
        raise ConfigError(f"evaluation.tta is not for {task.no_copies}")
    unlabelled = task.spec.labels is None and task.embedder is None and not task.spec.targets  # embeddings are all it has to say
    if unlabelled and config.by is not None:
        raise ConfigError("evaluation.by is of answers, and pre-training has none: leave it out")
    task.to(runner.device).eval()
    details = {**details, "data": evaluated_data(dataset, config.splits)}
    dataset = name_published(dataset, task.spec.data)
    if config.audit:
        details["leakage"] = image_leakage(dataset, max(1, runner.workers))
    # The training split, too: a search for images like one looks through all of them, and prototypes are of it.
    further = [] if "train" in config.splits or not len(dataset.rows("train")) else ["train"]
    if task.embedder is None:
        if config.embeddings or unlabelled:
            embeddings = embed_features(task, dataset, [*further, *config.splits], runner)
            if runner.accelerator.is_main_process:
                replace(embeddings, details={**embeddings.details, **details}).write(run.embeddings)
        if task.spec.targets:
            predict_targets(run, task, dataset, config, runner, details)
            return None
        if unlabelled:
            return None
        predictions = predict_splits(task, dataset, config, runner, augment, augmenter)
        variants = modality_variants(task, dataset, runner, details, config.seed) if SPLIT in config.splits else None
        if variants is not None and runner.accelerator.is_main_process:
            variants.write(run.modalities)
        predictions = replace(predictions, details={**details, **({"tta": config.tta} if config.tta else {})})
    else:
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


def predict_targets(
    run: RunDirectory, task: Task, dataset: Dataset, config: EvaluationConfig, runner: Runner, details: Mapping[str, Any]
) -> None:
    """Predict the splits of a run of several targets and write what each answers; arguments as for `predict_run`."""
    joined, table = outputs_of_splits(task, dataset, config, runner)
    found = {}
    for name, place in places_of(task.spec.targets).items():
        own = {kind: joined[kind][:, place] for kind in ("targets", "logits", "probabilities")}
        predictions = as_predictions(task.spec.targets[name], own, table, task, dataset, config)
        rows = evaluated_data(dataset.of_target(name), config.splits)  # as of a run of this target alone, to be held beside one
        found[name] = replace(predictions, details={**details, "data": rows, "target": name})
    variants = variants_of_targets(task, dataset, runner, details, config.seed) if SPLIT in config.splits else {}
    if runner.accelerator.is_main_process:
        write_predictions(run, found)
        for name, part in variants.items():
            part.write(run.of_target(name).modalities)


def predict_splits(
    task: Task, dataset: Dataset, config: EvaluationConfig, runner: Runner, augment: Any = "auto", augmenter: str = "opencv"
) -> Predictions:
    """Return what a task that learns labels says of splits, in table order; arguments and errors as for `predict_run`."""
    labels = _with_tree(task.spec.label_space, dataset)
    joined, table = outputs_of_splits(task, dataset, config, runner, augment, augmenter)
    return as_predictions(labels, joined, table, task, dataset, config)


def outputs_of_splits(
    task: Task, dataset: Dataset, config: EvaluationConfig, runner: Runner, augment: Any = "auto", augmenter: str = "opencv"
) -> tuple[dict[str, NDArray[Any]], pd.DataFrame]:
    """Return a task's outputs of splits with `targets` and `concepts`, and the table's rows, in table order."""
    rows: list[pd.DataFrame] = []
    parts: dict[str, list[NDArray[Any]]] = {}
    for split in config.splits:
        samples = task.samples(dataset, split)
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
    return {name: concatenated(values) for name, values in parts.items()}, pd.concat(rows, ignore_index=True)


def as_predictions(
    labels: LabelSpace, joined: Mapping[str, NDArray[Any]], table: pd.DataFrame, task: Task, dataset: Dataset,
    config: EvaluationConfig
) -> Predictions:  # fmt: skip
    """Return what `outputs_of_splits` gives as predictions of some labels."""
    return Predictions(
        labels=labels, sample_id=table["sample_id"].to_numpy(dtype=object),
        split=table["split"].to_numpy(dtype=object), group=table["group"].to_numpy(dtype=object), targets=joined["targets"],
        logits=joined["logits"], probabilities=joined["probabilities"], subgroups=table[list(dataset.subgroups)],
        kept=table[carried_columns(dataset, config.by)], carried=carried_matrix(table, labels),
        **task.predictions(joined, joined.get("concepts")), spec_hash=task.spec.hash, split_unit=dataset.info.split_unit,
        notes=dataset_notes(dataset),
    )  # fmt: skip


def carried_columns(dataset: Dataset, by: Any) -> list[str]:
    """Return the columns that a predictions file carries beside groups and subgroups: those kept, and those of `evaluation.by`.

    Raises:
        UnknownNameError: If the dataset has no such column.
    """
    own = ("sample_id", "split", "target", "caption", "array_index")
    named = [str(name) for name in dataset.table.columns if name not in own and not str(name).startswith(OF_CONTRACT)]
    for name in (asked := by_columns(by)):
        if name not in named:
            raise UnknownNameError("column", name, named, where=f" of {dataset.info.name} in evaluation.by")
    return list(dict.fromkeys(name for name in (*dataset.kept, *asked) if name not in ("group", *dataset.subgroups)))


def _with_tree(labels: LabelSpace, dataset: Dataset) -> LabelSpace:
    """Return a model's labels with the dataset's tree; with the model's own where the dataset has none."""
    parents = None if dataset.labels is None else dataset.labels.parents
    return labels if parents is None else replace(labels, parents=parents)


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
    copies = task.samples(dataset, split, policy=policy, augmenter=augmenter, seed=config.seed)
    said = [outputs["logits"], *(runner.predict(task, copies, epoch=k)[0]["logits"] for k in range(1, config.tta + 1))]
    codes = np.tile(np.arange(len(said[0])), len(said))
    logits = voted(np.concatenate(said), codes, task.spec.label_space, "mean")
    return {
        "logits": logits.astype(np.float32),
        "probabilities": probabilities(logits, task.spec.label_space).astype(np.float32),
    }
