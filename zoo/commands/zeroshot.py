"""`medzoo zeroshot`: classification by prompts, of a dataset with a report, or of a folder of images."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.api import TrainedModel
from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.images.frames import MEMBERS
from medzoo.data.images.listing import find_images
from medzoo.data.labels import LabelSpace, probabilities
from medzoo.data.registry import load_dataset
from medzoo.data.splits.learnt_from import read_record, refuse_learnt_from
from medzoo.data.splits.published import name_published
from medzoo.data.text.prompts import Prompts
from medzoo.evaluation.attention import attention_lines
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.calibration.prediction_sets import check_conformal, format_conformal
from medzoo.evaluation.calibration.recalibrate import check_calibration, format_recalibration
from medzoo.evaluation.decisions.plot import plot_curve
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.extra import check_extras
from medzoo.evaluation.grouped.report import report_groups
from medzoo.evaluation.nearest.report import embedding_lines, embeddings_report
from medzoo.evaluation.report import format_report, write_metrics
from medzoo.evaluation.run_report import plot_reliability, report_predictions
from medzoo.inference.devices import SMALLER_BATCH, enough_memory, make_accelerator
from medzoo.inference.embed import embed_dataset, prompt_card, zero_shot_predictions
from medzoo.inference.predict import evaluated_data
from medzoo.inference.run import Runner
from medzoo.inference.zeroshot import ZeroShotClassifier, build_classifier, choose_prompts
from medzoo.models.trained import is_run
from medzoo.settings.evaluation import by_columns, check_evaluation
from medzoo.settings.robustness import robustness_columns
from medzoo.settings.verbs import ZeroshotConfig
from medzoo.store.directory import RunDirectory, default_run_path
from medzoo.store.operating_points import write_points
from medzoo.store.reading import as_the_model_reads
from medzoo.store.storage import write_file
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.setup.contrast import contrast_with_weights, load_contrast

CHUNK = 256
"""Images held in memory at once."""


def main(config: ZeroshotConfig) -> Path | None:
    """Run the command; returns the result directory, or None for a folder of images."""
    check_evaluation(config.evaluation)
    if config.evaluation.audit:
        raise ConfigError(
            "evaluation.audit compares the splits that a run learnt from and is tested on; see medzoo verify instead"
        )
    task = load_model(config)
    accelerator = make_accelerator(config.device)
    task.to(accelerator.device).eval()
    if config.images is not None:
        _classify_images(task, config)
        return None
    dataset = load_dataset(**config.data)
    if config.trained is not None or is_run(config.model.backbone):
        learnt = read_record(config.trained or config.model.backbone)
        dataset = refuse_learnt_from(dataset, learnt, config.evaluation.splits)
        dataset = as_the_model_reads(task.spec, dataset, "data")
    dataset = name_published(dataset, task.spec.data)
    if dataset.targets:
        raise ConfigError(f"data.targets=[{', '.join(dataset.targets)}]: prompts are of one target; leave it out")
    if dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has no labels; give images=[folder] and classes=[...] for images without")
    check_extras(config.evaluation.extra, dataset.labels)
    Decisions.of(config.evaluation).check(dataset.labels)
    check_calibration(config.evaluation.calibration, config.evaluation.splits, dataset.labels)
    check_conformal(config.evaluation.conformal, config.evaluation.splits, dataset.labels)
    robustness_columns(config.evaluation.robustness_index, dataset.subgroups)
    classifier, prompts = _classifier(task, config, dataset, dataset.labels)
    default = default_run_path(f"zeroshot-{config.data['name']}", task.spec.architecture)
    run = RunDirectory(default if config.run is None else Path(config.run))
    run.require_empty()
    runner = Runner(accelerator, config.evaluation.batch_size or 64)
    with enough_memory(EvaluationError, f"evaluation.batch_size={runner.batch_size}", SMALLER_BATCH):
        embeddings = embed_dataset(task, dataset, config.evaluation.splits, runner)
    details = {"model": task.spec.architecture, "zero-shot": prompt_card(prompts, classifier)}
    details["data"] = evaluated_data(dataset, config.evaluation.splits)
    predictions = zero_shot_predictions(embeddings, classifier, dataset, details)
    if not accelerator.is_main_process:
        return run.path
    embeddings.write(run.embeddings)
    predictions.write(run.predictions)
    settings = config.evaluation
    report = report_predictions(predictions, settings, run)
    if settings.embeddings:
        interval = Interval.of(settings)
        report["embeddings"] = embeddings_report(embeddings, settings.splits, interval, settings.robustness_index)
    write_metrics(run.metrics, report)
    if "operating_points" in report:
        write_points(run, report["operating_points"])
    asked = {"data": dict(config.data), "model": asdict(config.model), "trained": config.trained, "spec": task.spec.to_dict(),
             "prompts": prompts.name, "version": prompts.version, "held_out": config.held_out}  # fmt: skip
    write_file(run.zeroshot, json.dumps(asked, indent=2, ensure_ascii=False).encode("utf-8"))
    write_file(run.path / "prompts.json", json.dumps(prompts.to_dict(), indent=2, ensure_ascii=False).encode("utf-8"))
    for line in (*attention_lines(report["attention"]), *format_recalibration(report), *format_conformal(report)):
        print(line)
    for split in settings.splits:
        plot_reliability(run.plots / f"reliability_{split}.png", report, split)
        plot_curve(run.plots / f"decision_curve_{split}.png", report["splits"][split].get("decision_curve"), split)
        print(format_report(report, split))
    for line in embedding_lines(report.get("embeddings", {})):
        print(line)
    for note in report["notes"]:
        print(f"note: {note}")
    if by_columns(settings.by):
        report_groups(run, settings, run)
    print(f"prompts {prompts.name} version {prompts.version}, hash {prompts.hash[:12]}; results in {run.path}")
    return run.path


def load_model(config: ZeroshotConfig) -> Contrast:
    """Return the image–text model a configuration names, with its weights; ConfigError if it is none, or has random weights."""
    if config.trained is not None:
        return load_contrast(config.trained, config.checkpoint)
    return contrast_with_weights(config.model)


def _classifier(
    task: Contrast, config: ZeroshotConfig, dataset: Dataset | None, labels: LabelSpace
) -> tuple[ZeroShotClassifier, Prompts]:
    prompts = choose_prompts(config, dataset, labels)
    ontology: dict[str, Any] | None = None
    if config.ontology is not None:
        try:
            ontology = json.loads(Path(config.ontology).expanduser().read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the ontology {config.ontology}: {error}") from None
        if not isinstance(ontology, dict) or not all(
            isinstance(below, list) and all(isinstance(name, str) for name in below) for below in ontology.values()
        ):
            raise ConfigError(f"{config.ontology} is not an ontology: a JSON object of node -> list of children")
    classifier = build_classifier(task, prompts, labels, ontology)
    for text in classifier.truncated:
        print(f"note: a prompt is longer than {task.tokenizer.context_length} tokens and was cut: {text[:80]!r}")
    return classifier, prompts


def _classify_images(task: Contrast, config: ZeroshotConfig) -> None:
    if not config.classes:
        raise ConfigError("say what the images may show: classes=[...]")
    labels = LabelSpace("multiclass", tuple(config.classes))
    classifier, _ = _classifier(task, config, None, labels)
    model = TrainedModel(task, next(task.model.parameters()).device)
    if config.frames not in (None, MEMBERS):
        raise UnknownNameError("choice of frames", config.frames, (MEMBERS,))
    paths = [Path(path).expanduser() for path in config.images or []]
    listing = find_images(paths, dimensions=len(task.spec.preprocess.size), frames=config.frames or model.frames)
    if listing.note is not None:
        print(f"note: {listing.note}", file=sys.stderr if config.json else sys.stdout)
    found = listing.found
    width = max(len(name) for name, _ in found)
    for start in range(0, len(found), CHUNK):
        part = found[start : start + CHUNK]
        shares = probabilities(classifier.logits(model.features([source for _, source in part]).astype(np.float32)), labels)
        for (name, _), row in zip(part, shares, strict=True):
            top = int(row.argmax())
            if config.json:
                by_name = dict(zip(labels.names, map(float, row), strict=True))
                print(json.dumps({"image": name, "class": labels.names[top], "probabilities": by_name}, ensure_ascii=False))
            else:
                print(f"{name:<{width}}  {labels.names[top]} {row[top]:.3f}")
