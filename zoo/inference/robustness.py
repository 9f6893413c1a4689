"""A model on images that have something wrong with them; nothing is written, and the run's own predictions are not touched."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.samples.corruptions import corrupted
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.embed import classifier_prompts, embed_dataset, zero_shot_predictions
from medzoo.inference.predict import predict_splits
from medzoo.inference.run import Runner
from medzoo.inference.zeroshot import build_classifier
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.tasks.task import Task


def first_image(dataset: Dataset, split: str) -> NDArray[Any]:
    """Return the pixels of a split's first image; ConfigError if the split is empty."""
    rows = dataset.rows(split)
    if not len(rows):
        raise ConfigError(f"the {split} split is empty; give another split=...")
    for values in zip(*(rows[column] for column in dataset.reader.columns), strict=True):
        if shown := dataset.reader.images(*values):
            return dataset.reader.read(*next(iter(shown.values())))
    raise ConfigError(f"no sample of the {split} split has an image")


def clean_predictions(task: Task, dataset: Dataset, split: str, runner: Runner, captions: str = "auto") -> Predictions:
    """Return what a model says of a split's images as they are.

    Raises:
        ConfigError: If it cannot be scored: an image–text model without prompts for the labels.
    """
    task.to(runner.device).eval()
    if task.embedder is None:
        return predict_splits(task, dataset, EvaluationConfig(splits=[split]), runner)
    prompts = classifier_prompts(dataset, captions)
    if prompts is None or dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has no labels or no prompts to classify by, so that there is nothing to score")
    embeddings = embed_dataset(task.embedder, dataset, [split], runner)
    return zero_shot_predictions(embeddings, build_classifier(task.embedder, prompts, dataset.labels), dataset, {})


def corrupted_predictions(
    task: Task, dataset: Dataset, split: str, runner: Runner, name: str, severity: int, seed: int, captions: str = "auto"
) -> Predictions:
    """Return what a model says of a split's images with something wrong with them, before they are prepared for it."""
    return clean_predictions(task, corrupted(dataset, name, severity, seed), split, runner, captions)
