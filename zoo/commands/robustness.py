"""`medzoo robustness`: a metric of a run on images with something wrong with them, beside the same images as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medzoo.data.dataset import SPLITS
from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.samples.corruptions import choose_corruptions
from medzoo.data.samples.corruptions.amounts import REFERENCE_SIDE, amounts_of
from medzoo.data.samples.corruptions.apply import SEVERITIES
from medzoo.data.samples.prepared import has_planes
from medzoo.data.splits.learnt_from import read_record, refuse_learnt_from
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.fairness.disparity import headline
from medzoo.evaluation.robustness.plot import plot_robustness
from medzoo.evaluation.robustness.report import (
    Curve,
    metric_of,
    read_robustness,
    require_same,
    robustness_lines,
    robustness_report,
)
from medzoo.inference.devices import SMALLER_BATCH, enough_memory, make_accelerator
from medzoo.inference.predict import evaluated_data, run_dataset
from medzoo.inference.robustness import clean_predictions, corrupted_predictions, first_image
from medzoo.inference.run import Runner
from medzoo.settings.verbs import RobustnessConfig
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file
from medzoo.tasks.load import load_checkpoint

SMALL, OF_LENGTHS = 64, ("gaussian_blur", "motion_blur")
"""Pixels below which corruptions of a length are next to nothing, and which those are."""


def main(config: RobustnessConfig) -> dict[str, Any]:
    """Run the command; returns what it wrote to `robustness.json`.

    Raises:
        ConfigError: If a setting is wrong, or the data are not the run's own.
        EvaluationError: If the metric is undefined on the split.
    """
    if config.run is None:
        raise ConfigError("say which run to try: run=<run directory>")
    interval, severities = Interval.of(config), _severities(config)
    if config.batch_size is not None and config.batch_size < 1:
        raise ConfigError(f"batch_size={config.batch_size} must be at least 1")
    if config.split not in SPLITS:
        raise UnknownNameError("split", config.split, SPLITS)
    run = RunDirectory.open_to_write(Path(config.run))
    checkpoint = find_checkpoint(run.path, config.checkpoint)
    task = load_checkpoint(checkpoint)
    dataset = refuse_learnt_from(run_dataset(run, config.data, task.spec), read_record(run.path), [config.split])
    modality = dataset.info.modality
    shown = first_image(dataset, config.split)
    colours = shown.shape[0] - (not has_planes(dataset.reader) and shown.shape[0] in (2, 4))
    names, left_out = choose_corruptions(config.corruptions, modality, colours, volume=shown.ndim == 4)
    if (labels := task.spec.labels or dataset.labels) is None:  # an image–text model is scored by its prompts for the dataset's
        raise ConfigError(f"{dataset.info.name} has no labels, so that there is nothing to score")
    metric = config.metric or headline(labels)
    draws = {"seed": config.seed, "severities": severities, "modality": modality}
    data = evaluated_data(dataset, [config.split])
    baseline = None
    if config.baseline is not None:
        path = RunDirectory.open(Path(config.baseline)).robustness
        baseline = read_robustness(path)
        require_same(baseline, path, {"split": config.split, "metric": metric, "data": data, "draws": draws}, names)
    runner = Runner(make_accelerator(config.device), config.batch_size or 64, config.workers)
    captions = run.settings()["model"].get("captions", "auto")
    with enough_memory(EvaluationError, f"batch_size={runner.batch_size}", SMALLER_BATCH):
        clean = clean_predictions(task, dataset, config.split, runner, captions)
        before = metric_of(clean, metric, interval)
        if before.value is None:
            raise EvaluationError(f"{metric} is undefined on the {config.split} split; give another metric=... or split=...")
        curves = {}
        for name in names:
            amounts, source = amounts_of(name, modality)
            curves[name] = Curve({"source": source, "amounts": {str(s): amounts[s - 1] for s in severities}})
            for severity in severities:
                found = corrupted_predictions(task, dataset, config.split, runner, name, severity, config.seed, captions)
                curves[name].values[severity] = metric_of(found, metric, interval)
    details: dict[str, Any] = {
        "checkpoint": config.checkpoint, "weights": weights_checksum(checkpoint), "data": data, "draws": draws,
    }  # fmt: skip
    if config.baseline is not None:
        details["baseline"] = Path(config.baseline).resolve().name
    report = robustness_report(clean, metric, interval, before, curves, left_out=left_out, details=details, baseline=baseline)
    small = min(shown.shape[-2:])
    if small < SMALL and set(names) & set(OF_LENGTHS):
        report["notes"].append(
            f"images of {small} pixels: blurs are as wide as on {REFERENCE_SIDE} pixels, scaled, which such images hardly show"
        )
    if dataset.reader.prepared is not None:
        report["notes"].append("the images were prepared before (medzoo prepare): they are corrupted at the size they have now")
    write_file(run.robustness, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    write_file(run.plots / f"robustness_{config.split}.png", plot_robustness(report))
    for line in robustness_lines(report):
        print(line)
    return report


def _severities(config: RobustnessConfig) -> list[int]:
    given = list(config.severities)
    if not given or len(set(given)) < len(given) or not set(given) <= set(SEVERITIES):
        raise ConfigError(f"severities={given} must be some of {list(SEVERITIES)}, each once")
    return sorted(given)
