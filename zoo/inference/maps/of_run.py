"""A run's model and data, ready for maps: of one sample, or of every sample of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.dataset import SPLITS, Dataset, concept_matrix, target_matrix
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.inference.embed import classifier_prompts
from medzoo.inference.maps.explainer import Explainer, class_explainer, concept_explainer
from medzoo.inference.predict import run_dataset
from medzoo.inference.zeroshot import build_classifier
from medzoo.models.places import NotLinearError
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.tasks.classify import probabilities
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.task import Task

OF = ("labels", "concepts")


@dataclass(frozen=True)
class MappedRun:
    """A run whose model can be asked where it looked.

    Attributes:
        run: The run directory.
        dataset: Its own.
        explainer: Of its labels, or of its concepts.
        labels: What the explainer's outputs mean; concepts are findings.
        of: `labels` or `concepts`.
    """

    run: RunDirectory
    dataset: Dataset
    explainer: Explainer
    labels: LabelSpace
    of: str

    @classmethod
    def open(
        cls, path: str | Path, *, method: str = "auto", of: str = "labels", checkpoint: str = "best",
        data: Mapping[str, Any] | None = None, device: torch.device | None = None
    ) -> MappedRun:  # fmt: skip
        """Open a run directory.

        Args:
            path: Of it.
            method: See `medzoo.inference.maps.explainer.METHODS`.
            of: `labels`, or `concepts` of a bottleneck.
            checkpoint: best or last.
            data: Dataset options that differ on this machine.
            device: Where the model runs; None: the CPU.

        Raises:
            ConfigError: If the method does not suit the model, the model has no such outputs, or the data are not the run's.
            UnknownNameError: If a name is not known.
        """
        if of not in OF:
            raise UnknownNameError("of", of, OF)
        run = RunDirectory.open(Path(path))
        task = load_checkpoint(find_checkpoint(run.path, checkpoint))
        dataset = run_dataset(run, data or {}, task.spec)
        task.to(device or torch.device("cpu"))
        return cls.of_task(run, task, dataset, method, of)

    @classmethod
    def of_task(cls, run: RunDirectory, task: Task, dataset: Dataset, method: str, of: str) -> MappedRun:
        """Return a run whose model and data are read already."""
        if of == "concepts":
            explainer = concept_explainer(task, method)
            return cls(run, dataset, explainer, LabelSpace("multilabel", explainer.names), of)
        if task.embedder is None:
            return cls(run, dataset, class_explainer(task, method), task.spec.label_space, of)
        explainer = _prompted(task, dataset, method, str((run.settings().get("model") or {}).get("captions", "auto")))
        assert dataset.labels is not None
        return cls(run, dataset, explainer, dataset.labels, of)

    def split(self, name: str) -> SampleDataset:
        """Return the samples of a split."""
        return self.explainer.task.samples(self.dataset, name)

    def sample(self, sample_id: str) -> tuple[SampleDataset, int]:
        """Return the split that holds a sample, and its place there; UnknownNameError if none does."""
        for name in SPLITS:
            samples = self.split(name)
            found = np.flatnonzero(samples.sample_ids == sample_id)
            if len(found):
                return samples, int(found[0])
        raise UnknownNameError("sample", sample_id, map(str, self.dataset.table["sample_id"]))

    def truth(self, samples: SampleDataset) -> NDArray[np.float32]:
        """Return (N, K): what is true of a split, NaN where nothing is known."""
        known = self.dataset.concepts if self.of == "concepts" else self.dataset.labels
        truth = np.full((len(samples), self.labels.width), np.nan, dtype=np.float32)
        if known is None:
            return truth
        columns = concept_matrix(samples.rows, known) if self.of == "concepts" else target_matrix(samples.rows, known)  # type: ignore[arg-type]
        for place, name in enumerate(self.labels.names):
            if name in known.names:
                truth[:, place] = columns[:, known.names.index(name)]
        return truth

    def said(self, outputs: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return (K,): which classes, findings or concepts the model calls, of (K,) outputs; of quantities none."""
        if self.labels.kind == "regression":
            return np.zeros(len(outputs), dtype=bool)
        if self.labels.exclusive:
            return np.asarray(np.arange(len(outputs)) == int(outputs.argmax()), dtype=np.bool_)
        return np.asarray(outputs > 0, dtype=np.bool_)

    def strongest(self, outputs: NDArray[np.float32]) -> str:
        """Return the class, finding or concept with the highest output; of quantities the first."""
        return self.labels.names[0 if self.labels.kind == "regression" else int(outputs.argmax())]

    def probability(self, inputs: torch.Tensor, name: str) -> torch.Tensor:
        """Return (N,) probabilities of one output for normalised images."""
        found: torch.Tensor = probabilities(self.explainer.scores(inputs), self.labels)[:, self.explainer.place(name)]
        return found


def _prompted(task: Task, dataset: Dataset, method: str, captions: str) -> Explainer:
    """Return what explains an image–text model: how near an image is to each class's prompts."""
    towers, prompts = task.embedder, classifier_prompts(dataset, captions)
    if prompts is None or dataset.labels is None or towers is None:
        raise ConfigError(f"{dataset.info.name} has no labels with prompts: an image–text model has no classes to make a map of")
    classifier = build_classifier(towers, prompts, dataset.labels)

    def head() -> tuple[torch.Tensor, torch.Tensor]:
        raise NotLinearError("embeddings are scaled to unit length before they meet the prompts")

    return Explainer(task, classifier.labels.names, lambda inputs: classifier.scores(towers.embed_inputs(inputs)), head, method)
