"""Predicting the splits of a run's dataset with its model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import yaml
from accelerate import Accelerator

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.splits.groups import shared_groups
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.devices import make_accelerator
from medzoo.inference.embed import classifier_prompts, embed_dataset, prompt_card, zero_shot_predictions
from medzoo.inference.run import predict_samples
from medzoo.inference.zeroshot import build_classifier
from medzoo.settings.schema import EvaluationConfig
from medzoo.store.directory import RunDirectory
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import Classify
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.load import TrainableTask
from medzoo.tasks.prepare import concept_truth


def run_dataset(run: RunDirectory, changes: dict[str, Any]) -> Dataset:
    """Load the dataset a run was trained on, with what differs on this machine (`root`)."""
    options = yaml.safe_load(run.config.read_text(encoding="utf-8"))["data"]
    return load_dataset(**{**options, **changes})


def predict_run(
    run: RunDirectory,
    task: TrainableTask,
    dataset: Dataset,
    config: EvaluationConfig,
    device: str,
    workers: int,
    details: dict[str, Any],
    *,
    augment: Any = "auto",
    captions: str = "auto",
) -> Predictions | None:
    """Predict the splits of a run and write its predictions file.

    Args:
        run: Where it is written.
        task: With its weights.
        dataset: The run's.
        config: Splits, batch size and test-time augmentation.
        device: auto, cpu or cuda.
        workers: Loader processes.
        details: What the report shall say of the checkpoint.
        augment: The run's augmentation, for test-time augmentation.
        captions: Where an image–text model's captions come from.

    Returns:
        The predictions; None for an image–text model on a dataset without labels or prompts.

    Raises:
        ConfigError: If a split is empty, or test-time augmentation has nothing to do.
    """
    accelerator = make_accelerator(device)
    task.to(accelerator.device).eval()
    if isinstance(task, Contrast):
        return _embed_run(run, task, dataset, config, accelerator, workers, details, captions)
    assert task.spec.labels is not None
    names = ("rows", "targets", "logits", "probabilities", "concepts", "concept_logits", "bottleneck_logits")
    parts: dict[str, list[Any]] = {name: [] for name in names}
    for split in config.splits:
        samples = SampleDataset(dataset, split, task.spec.preprocess)
        if not len(samples):
            raise ConfigError(f"the {split} split is empty; leave it out of evaluation.splits")
        if isinstance(task, Bottleneck):
            samples.concepts = concept_truth(task.spec, samples, dataset)
        predict = partial(predict_samples, batch_size=config.batch_size or 64, workers=workers, accelerator=accelerator)
        outputs, _ = predict(task, samples)
        if config.tta and isinstance(task, Bottleneck):
            raise ConfigError("evaluation.tta is not for concept bottlenecks, whose classes must follow from one set of concepts")
        if config.tta and isinstance(task, Classify):
            outputs = _with_copies(task, dataset, split, outputs, config, augment, predict)
        parts["rows"].append(samples.rows)
        parts["targets"].append(samples.targets)
        parts["logits"].append(outputs["logits"])
        parts["probabilities"].append(outputs["probabilities"])
        if isinstance(task, Bottleneck):
            parts["concepts"].append(samples.concepts)
            parts["concept_logits"].append(outputs["concept_logits"])
            parts["bottleneck_logits"].append(outputs["bottleneck_logits"])
    rows = pd.concat(parts["rows"], ignore_index=True)
    notes = list(dataset.info.notes)
    if shared_groups(dataset.table):
        notes.append("the official split shares groups between splits: results are optimistic")
    predictions = Predictions(
        labels=task.spec.labels,
        sample_id=rows["sample_id"].to_numpy(dtype=object),
        split=rows["split"].to_numpy(dtype=object),
        group=rows["group"].to_numpy(dtype=object),
        targets=np.concatenate(parts["targets"]),
        logits=np.concatenate(parts["logits"]),
        probabilities=np.concatenate(parts["probabilities"]),
        subgroups=rows[list(dataset.subgroups)],
        **_concept_parts(task, parts),
        spec_hash=task.spec.hash,
        split_unit=dataset.info.split_unit,
        notes=tuple(notes),
        details={**details, **({"tta": config.tta} if config.tta else {})},
    )
    if accelerator.is_main_process:
        predictions.write(run.predictions)
    return predictions


def _concept_parts(task: Classify | Bottleneck, parts: dict[str, list[Any]]) -> dict[str, Any]:
    """Return what the predictions of a concept bottleneck hold beside those of a classifier."""
    if not isinstance(task, Bottleneck):
        return {}
    found: dict[str, Any] = {
        "concepts": task.spec.concepts,
        "concept_targets": np.concatenate(parts["concepts"]),
        "concept_logits": np.concatenate(parts["concept_logits"]),
        "concept_scale": "score" if task.model.kind == "score" else "logit",
    }
    if task.model.residual is not None:
        found["residual_logits"] = np.concatenate(parts["logits"]) - np.concatenate(parts["bottleneck_logits"])
    return found


def _with_copies(
    task: Classify, dataset: Dataset, split: str, outputs: dict[str, Any], config: EvaluationConfig, augment: Any, predict: Any
) -> dict[str, Any]:
    """Average probabilities over each image and `config.tta` augmented copies of it; logits are those of the mean."""
    if config.tta < 0:
        raise ConfigError(f"evaluation.tta must be at least 0, got {config.tta}")
    policy = augment_policy(augment, dataset.info.modality)
    if not policy.transforms and not policy.crops:
        raise ConfigError("evaluation.tta: the run's augmentation is none, so every copy would be the same; use tta=0")
    copies = SampleDataset(dataset, split, task.spec.preprocess, augment=Augment(policy, task.spec.preprocess), seed=config.seed)
    total = outputs["probabilities"].astype(np.float64)
    for copy in range(1, config.tta + 1):
        total += predict(task, copies, epoch=copy)[0]["probabilities"]
    mean = total / (1 + config.tta)
    assert task.spec.labels is not None
    if task.spec.labels.kind == "regression":
        return {"logits": mean.astype(np.float32), "probabilities": mean.astype(np.float32)}
    # Averages of probabilities have no logits of their own; these give them back.
    small = np.clip(mean, 1e-30, 1.0)
    logits = np.log(small)
    if task.spec.labels.kind == "multilabel":
        logits -= np.log(np.clip(1 - mean, 1e-16, 1.0))
    return {"logits": logits.astype(np.float32), "probabilities": mean.astype(np.float32)}


def _embed_run(
    run: RunDirectory,
    task: Contrast,
    dataset: Dataset,
    config: EvaluationConfig,
    accelerator: Accelerator,
    workers: int,
    details: dict[str, Any],
    captions: str,
) -> Predictions | None:
    """Write a run's embeddings and, where the dataset has labels and prompts, its zero-shot predictions."""
    if config.tta:
        raise ConfigError("evaluation.tta is for classifiers; set it to 0")
    embeddings = embed_dataset(task, dataset, config, accelerator, workers=workers, captions=captions)
    embeddings = replace(embeddings, details={**embeddings.details, **details})
    if accelerator.is_main_process:
        embeddings.write(run.embeddings)
    prompts = classifier_prompts(dataset, captions)
    if prompts is None or dataset.labels is None:
        return None
    classifier = build_classifier(task, prompts, dataset.labels)
    said = {**details, "zero-shot": prompt_card(prompts, classifier)}
    predictions = zero_shot_predictions(embeddings, classifier, dataset, said)
    if accelerator.is_main_process:
        predictions.write(run.predictions)
    return predictions
