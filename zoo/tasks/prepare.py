"""What a split's samples get beyond images and targets: captions, and the truth about concepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, concept_matrix
from medzoo.data.errors import ConfigError, TrainingError
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.seeding import generator
from medzoo.data.text.captions import CaptionWriter
from medzoo.data.text.prompts import Prompts, find_prompts, prompts_from_names, read_prompts
from medzoo.settings.schema import ModelConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.task import Task


def prepare_samples(task: Task, samples: SampleDataset, dataset: Dataset, config: ModelConfig) -> None:
    """Give a split's samples what a task learns from beyond images and targets, as a training's settings want it."""
    task.prepare(samples, dataset, config.captions)
    if config.bottleneck is not None and config.bottleneck.shuffle_concepts and samples.concepts is not None:
        # The same for every seed: what leaks is then compared between models, not between permutations.
        order = generator(0, "shuffled concepts", samples.split).permutation(len(samples))
        samples.concepts = samples.concepts[order]


def learning_splits(task: Task, dataset: Dataset, config: ModelConfig) -> list[SampleDataset]:
    """Return the train and val samples of a task that learns at once, prepared, none augmented; TrainingError if one is empty."""
    found = []
    for split in ("train", "val"):
        samples = task.samples(dataset, split)
        if not len(samples):
            raise TrainingError(f"the {split} split of {dataset.info.name} is empty; change the split options of the dataset")
        prepare_samples(task, samples, dataset, config)
        found.append(samples)
    return found


def write_captions(samples: SampleDataset, dataset: Dataset, choice: str) -> None:
    """Let a split's samples bear captions made from labels, where the dataset's own are not used."""
    prompts = caption_prompts(dataset, choice)
    if prompts is not None:
        samples.writer = CaptionWriter(dataset, prompts, split=samples.split).write


def caption_prompts(dataset: Dataset, choice: str) -> Prompts | None:
    """Return the prompts that captions are made from, or None where the dataset's caption column is used.

    `choice`: `auto` (its captions if it has any, else its labels), `column`, `labels`, or a prompt file; ConfigError if it is not
    there.
    """
    column = "caption" in dataset.table.columns and bool((dataset.table["caption"].fillna("") != "").any())
    if choice == "column" or (choice == "auto" and column):
        if not column:
            raise ConfigError(f"{dataset.info.name} has no captions; use model.captions=labels or a prompt file")
        return None
    if dataset.labels is None:
        raise ConfigError(f"{dataset.info.name} has neither captions nor labels to make them of")
    prompts = find_prompts(dataset) if choice in ("auto", "labels") else read_prompts(Path(choice).expanduser())
    if prompts is None and dataset.labels.exclusive:  # a user's own classes, by their names
        prompts = prompts_from_names(dataset.labels.names)
    if prompts is None:
        raise ConfigError(f"no prompts are packaged for {dataset.info.name}; give a prompt file as model.captions=<file>.yaml")
    prompts = prompts.for_labels(dataset.labels)
    prompts.check(dataset.labels)
    return prompts


def caption_card(config: ModelConfig, dataset: Dataset) -> Any:
    """Return what a spec says of its captions: `column`, or the prompts' name, version and hash."""
    prompts = caption_prompts(dataset, config.captions)
    return "column" if prompts is None else {"prompts": prompts.name, "version": prompts.version, "hash": prompts.hash}


def concept_truth(spec: ModelSpec, samples: SampleDataset, dataset: Dataset) -> NDArray[np.float32]:
    """Return (N, M): what is known of a bottleneck's concepts in a split, NaN where nothing is."""
    columns = spec.objective.get("columns", spec.objective["concepts"])
    truth = np.full((len(samples), len(columns)), np.nan, dtype=np.float32)
    if dataset.concepts is not None:
        known = concept_matrix(samples.rows, dataset.concepts)
        for place, name in enumerate(columns):
            if name in dataset.concepts.names:
                truth[:, place] = known[:, dataset.concepts.names.index(name)]
    return truth
