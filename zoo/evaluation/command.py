"""`medzoo evaluate`: predict with a checkpoint (or take the predictions that are there), score, report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from accelerate import Accelerator

from medzoo.checkpoint import find_checkpoint, load_checkpoint, weights_checksum
from medzoo.config import EvaluationConfig
from medzoo.data.augment import Augment, augment_policy
from medzoo.data.dataset import Dataset
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.learnt_from import read_record, refuse_learnt_from
from medzoo.data.registry import load_dataset
from medzoo.data.samples import SampleDataset
from medzoo.data.splits import shared_groups
from medzoo.evaluation.contrast import (
    classifier_prompts,
    embed_dataset,
    format_retrieval,
    prompt_card,
    retrieval_report,
    zero_shot_predictions,
)
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.plots import plot_reliability
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report, write_metrics
from medzoo.evaluation.zeroshot import build_classifier
from medzoo.inference import predict_samples
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.bottleneck_setup import concept_truth
from medzoo.tasks.classify import Classify
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.registry import TrainableTask
from medzoo.train.devices import make_accelerator
from medzoo.train.run import RunDirectory
from medzoo.verb_config import EvaluateConfig

PLACES = ("root", "file", "packed")
"""Options of a dataset that say where it lies."""
USED_BY_PREDICTING = ("device", "workers", "evaluation.batch_size", "evaluation.tta")
"""Settings that scoring predictions which are there already would ignore."""


def main(config: EvaluateConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to evaluate: run=<run directory>")
    run = RunDirectory.open(Path(config.run))
    if config.predict:
        checkpoint = find_checkpoint(run.path, config.checkpoint)
        task = load_checkpoint(checkpoint)
        dataset, learnt = run_dataset(run, config.data), read_record(run.path)
        if learnt.complete or task.spec.data.get("learnt_from") or set(config.data) - set(PLACES):
            dataset = refuse_learnt_from(dataset, learnt, config.evaluation.splits)
        settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        augment, captions = settings["trainer"]["augment"], settings["model"].get("captions", "auto")
        details = {"checkpoint": config.checkpoint, "weights": weights_checksum(checkpoint)}
        predict_run(
            run, task, dataset, config.evaluation, config.device, config.workers, details, augment=augment, captions=captions
        )
    else:
        _refuse_predicting(config)
        _require_current(run, config.checkpoint)
    report_run(run, config.evaluation)


def _refuse_predicting(config: EvaluateConfig) -> None:
    """Refuse settings that would have an effect on predicting alone."""
    plain = EvaluateConfig()
    ignored = [name for name in USED_BY_PREDICTING if attrgetter(name)(config) != attrgetter(name)(plain)]
    ignored += [f"data.{name}" for name in config.data]
    if ignored:
        have, them = ("has", "it") if len(ignored) == 1 else ("have", "them")
        raise ConfigError(f"{', '.join(ignored)} {have} no effect with predict=false; leave {them} out")


def _require_current(run: RunDirectory, checkpoint: str) -> None:
    """Refuse to score predictions of another checkpoint than is asked for, or of weights that training has replaced since.

    A run that was sent without its weights passes. `best` is no exception although it is the default: who leaves the
    checkpoint out takes the figures for those of the best one.
    """
    for path, reader in ((run.predictions, Predictions), (run.embeddings, Embeddings)):
        if not path.is_file():
            continue
        details = reader.read(path).details
        which = str(details.get("checkpoint", "best"))
        if which != checkpoint:
            raise ConfigError(
                f"{path} was made with checkpoint={which}, not {checkpoint}; give checkpoint={which} to score it, or leave out "
                "predict=false"
            )
        try:
            current = weights_checksum(find_checkpoint(run.path, which))
        except CheckpointError:
            continue
        if details.get("weights", current) != current:
            raise ConfigError(f"{path} was made by other weights than checkpoint={which} has now; leave out predict=false")


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


def report_run(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Score a run's predictions and embeddings files: metrics.json, plots, and lines on the terminal."""
    report: dict[str, Any] = {"splits": {}, "notes": []}
    if run.predictions.is_file() or not run.embeddings.is_file():
        report = evaluate(
            Predictions.read(run.predictions),
            splits=config.splits,
            replicates=config.replicates,
            level=config.level,
            seed=config.seed,
            bins=config.bins,
        )
    if run.embeddings.is_file():
        embeddings = Embeddings.read(run.embeddings)
        report["retrieval"] = retrieval_report(embeddings, config.splits, config)
        report.setdefault("details", dict(embeddings.details))
    write_metrics(run.metrics, report)
    made = [f"{name}={report['details'][name]}" for name in ("checkpoint", "epoch", "tta") if name in report["details"]]
    if made:
        print(f"scored: predictions of {', '.join(made)}")
    for split in report["splits"]:
        plot_reliability(run.plots / f"reliability_{split}.png", report, split)
        print(format_report(report, split))
    for line in format_retrieval(report.get("retrieval", {})):
        print(line)
    for note in report["notes"]:
        print(f"note: {note}")
    return report
