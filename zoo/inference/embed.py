"""Embeddings of splits by any model, and what an image–text model answers by them: zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import probabilities
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.splits.groups import shared_groups
from medzoo.data.text.prompts import Prompts, find_prompts, prompts_from_names
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.run import Runner
from medzoo.inference.zeroshot import ZeroShotClassifier
from medzoo.tasks.contrast import Contrast, embeddings_of
from medzoo.tasks.prepare import caption_prompts, write_captions
from medzoo.tasks.task import Task


def embed_dataset(
    task: Contrast, dataset: Dataset, splits: Sequence[str], runner: Runner, *, captions: str | None = None
) -> Embeddings:
    """Embed splits of a dataset by a task in evaluation mode, on the runner's device; ConfigError if a split is empty.

    `captions` says where captions come from, as `model.captions`; None: images alone.
    """
    parts = []
    for split in splits:
        samples = _samples(task, dataset, split)
        if captions is not None:
            write_captions(samples, dataset, captions)
        elif "caption" not in dataset.table.columns:
            samples.writer = lambda index, draw: ""
        outputs, _ = runner.predict(task, samples)
        parts.append(embeddings_of(samples, outputs, task.spec.hash, dataset.info.split_unit))
    return with_truth(_joined(parts), dataset)


def embed_features(task: Task, dataset: Dataset, splits: Sequence[str], runner: Runner) -> Embeddings:
    """Return the pooled features before the head of splits of a dataset, as unit vectors with the length they had.

    Args:
        task: In evaluation mode, on the device; of any family.
        dataset: What is embedded.
        splits: Of it.
        runner: What runs the task.

    Raises:
        ConfigError: If a split is empty, or the network does not part its features from its head.
        EvaluationError: If features are not finite, or all 0.
    """
    parts = []
    for split in splits:
        samples = _samples(task, dataset, split)
        task.prepare(samples, dataset)
        features = runner.features(task, samples).numpy().astype(np.float64)
        length = np.linalg.norm(features, axis=1)
        if not (np.isfinite(length) & (length > 0)).all():
            row = int(np.flatnonzero(~(np.isfinite(length) & (length > 0)))[0])
            what = "all 0" if length[row] == 0 else "not finite"
            raise EvaluationError(
                f"the features of {samples.sample_ids[row]!r} are {what}: they have no direction to compare; leave out "
                "evaluation.embeddings"
            )
        parts.append(
            Embeddings(
                sample_id=samples.sample_ids, split=np.full(len(samples), split, dtype=object),
                group=samples.rows["group"].astype(str).to_numpy(dtype=object),
                image=(features / length[:, None]).astype(np.float32),
                image_key=np.array([str(key) for key in samples.image_keys], dtype=object),
                text=np.full(len(samples), "", dtype=object), spec_hash=task.spec.hash,
                details={"split_unit": dataset.info.split_unit}, length=length.astype(np.float32),
            )
        )  # fmt: skip
    return with_truth(_joined(parts), dataset)


def with_truth(embeddings: Embeddings, dataset: Dataset) -> Embeddings:
    """Return embeddings with what the dataset knows of each row: targets, where it has labels, and subgroups."""
    rows = dataset.table.set_index("sample_id", drop=False).loc[embeddings.sample_id]
    return replace(
        embeddings, labels=dataset.labels, targets=None if dataset.labels is None else target_matrix(rows, dataset.labels),
        subgroups=rows[list(dataset.subgroups)].reset_index(drop=True) if dataset.subgroups else None,
    )  # fmt: skip


def cut_captions(task: Contrast, embeddings: Embeddings) -> dict[str, str]:
    """Return under `captions_cut` what is to be said of captions longer than the model reads; empty where all fit."""
    texts = sorted(set(map(str, embeddings.text[embeddings.captioned])))
    cut = task.tokenizer.truncated(texts)
    if not cut:
        return {}
    length = task.tokenizer.context_length
    return {
        "captions_cut": f"{len(cut)} of {len(texts)} captions are longer than the {length} tokens that the model reads and were "
        f"cut, such as {texts[cut[0]][:60]!r}"
    }


def zero_shot_predictions(
    embeddings: Embeddings, classifier: ZeroShotClassifier, dataset: Dataset, details: Mapping[str, Any]
) -> Predictions:
    """Turn image embeddings into predictions like any classifier's."""
    rows = dataset.table.set_index("sample_id", drop=False).loc[embeddings.sample_id]
    logits = classifier.logits(embeddings.image)
    notes = list(dataset_notes(dataset))
    if classifier.ranking_only:
        notes.append(f"no negative prompt for {', '.join(classifier.ranking_only)}: AUROC and AP alone are meaningful")
    if classifier.truncated:
        notes.append(
            f"{len(classifier.truncated)} prompts were cut to the context length, such as {classifier.truncated[0][:60]!r}"
        )
    return Predictions(
        labels=classifier.labels, sample_id=embeddings.sample_id, split=embeddings.split, group=embeddings.group,
        targets=target_matrix(rows, classifier.labels), logits=logits, probabilities=probabilities(logits, classifier.labels),
        subgroups=rows[list(dataset.subgroups)].reset_index(drop=True), spec_hash=embeddings.spec_hash,
        split_unit=dataset.info.split_unit, notes=tuple(notes), details=dict(details),
    )  # fmt: skip


def dataset_notes(dataset: Dataset) -> tuple[str, ...]:
    """Return what every result on a dataset says of it."""
    shared = ("the official split shares groups between splits: results are optimistic",) if shared_groups(dataset.table) else ()
    return (*dataset.info.notes, *shared)


def classifier_prompts(dataset: Dataset, captions: str = "auto") -> Prompts | None:
    """Return the wording a trained image–text model is scored and exported with: its own prompt file, else the dataset's.

    `captions` is `model.captions` of the run. None for a dataset without classes or findings, or findings nobody has worded.
    """
    if dataset.labels is None or dataset.labels.kind == "regression":
        return None
    if captions not in ("auto", "column", "labels"):
        return caption_prompts(dataset, captions)
    found = find_prompts(dataset)
    return prompts_from_names(dataset.labels.names) if found is None and dataset.labels.exclusive else found


def prompt_card(prompts: Prompts, classifier: ZeroShotClassifier) -> dict[str, Any]:
    """Return what a result says of its wording: name, version, hash and every text."""
    return {
        "name": prompts.name,
        "version": prompts.version,
        "hash": prompts.hash,
        "texts": {name: list(texts) for name, texts in classifier.texts.items()},
    }


def _samples(task: Task, dataset: Dataset, split: str) -> SampleDataset:
    samples = task.samples(dataset, split)
    if not len(samples):
        raise ConfigError(f"the {split} split is empty; leave it out of evaluation.splits")
    return samples


def _joined(parts: Sequence[Embeddings]) -> Embeddings:
    texts = None
    if any(part.text_embedding is not None for part in parts):
        texts = np.concatenate(
            [p.text_embedding if p.text_embedding is not None else np.full_like(p.image, np.nan) for p in parts]
        )
    names = ("sample_id", "split", "group", "image_key", "text")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Embeddings(
        **columns, image=np.concatenate([p.image for p in parts]), text_embedding=texts, spec_hash=parts[0].spec_hash,
        details=parts[0].details, length=None if parts[0].length is None else np.concatenate([p.length for p in parts]),
    )  # fmt: skip
