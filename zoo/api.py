"""The Python API over a trained run: `medzoo.load(run).predict(images)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.corrections import Corrections, check_corrections
from medzoo.data.errors import ImageError
from medzoo.data.images.decode import GIVE_A_FRAME, ImageInput, read_image, require_several, same_shape_batches
from medzoo.data.labels import LabelSpace
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import probabilities
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.task import Task

Image = ImageInput
TAKE_EACH = f"{GIVE_A_FRAME}, or medzoo zeroshot frames=members"
"""What is done about a file of several frames."""


class TrainedModel:
    """A trained model in torch; the counterpart of `medzoo.export.OnnxModel`.

    Attributes:
        task: The task with its weights, in evaluation mode.
        device: Where it runs.
    """

    def __init__(self, task: Task, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.task = task.to(self.device).eval()

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""
        return self.task.spec

    @property
    def labels(self) -> LabelSpace | None:
        """What the columns of the outputs mean."""
        return self.task.spec.labels

    @property
    def frames(self) -> str | None:
        """What became of files of several frames in training: `members`, `volume`; None: they were refused."""
        return self.task.spec.data.get("frames")

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of a concept bottleneck's concepts, in the order of `concept_values`; empty for other models."""
        return () if self.task.spec.concepts is None else self.task.spec.concepts.names

    def predict(
        self, images: Sequence[Image] | NDArray[Any], *, batch_size: int = 32, concept_values: Corrections | None = None,
        concept_mask: Corrections | None = None
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """Return `logits` and `probabilities`, (N, K) float32, in the order of the images.

        Args:
            images: Paths, encoded bytes, frames of them (`medzoo.data.images.frames.frames_of`), Pillow images, or arrays
                channels last, uint8 in 0..255 or float32 in 0..1; of any sizes.
            batch_size: Images a forward pass.
            concept_values: Corrected concepts of a bottleneck, in 0..1: by name (`{"lesion": 1}`) for all images, or (N, M), or
                one row for all; see `concepts`.
            concept_mask: With rows of values: 1 where a concept is corrected, else 0.

        Returns:
            With `concepts` in 0..1 and `concept_logits`, (N, M), and `bottleneck_logits` (N, K) for a concept bottleneck; for an
            image–text model `image_embedding` (N, E).

        Raises:
            ImageError: If an image cannot be read or has the wrong shape, type or range.
            ConfigError: If corrections do not fit the model or the images.
        """
        require_several(images, len(self.task.spec.preprocess.size))
        corrections = check_corrections(len(images), self.concepts, concept_values, concept_mask)
        return self.task.answers(self._run(images, batch_size, self.task.predict, corrections))

    def predict_cases(self, cases: Sequence[Sequence[Image]], *, batch_size: int = 32) -> dict[str, NDArray[Any]]:
        """Return `logits` and `probabilities`, (N cases, K), of cases of one or several photographs each.

        Logits are averaged over a case's photographs, as in training; of a concept bottleneck the concepts' logits, from which
        the classes follow.

        Args:
            cases: Images of each case; as for `predict`.
            batch_size: Images a forward pass.

        Raises:
            ImageError: If a case has no image, or an image cannot be read.
        """
        labels, counts = self.task.spec.label_space, [len(case) for case in cases]
        if 0 in counts:
            raise ImageError(f"case {counts.index(0)} has no image")
        mean = self.task.cases(self.predict([image for case in cases for image in case], batch_size=batch_size), counts)
        return {"logits": mean.numpy(), "probabilities": probabilities(mean, labels).numpy()}

    def features(self, images: Sequence[Image] | NDArray[Any], *, batch_size: int = 32) -> NDArray[Any]:
        """Return (N, F) float32 pooled features before the head; arguments as for `predict`."""
        require_several(images, len(self.task.spec.preprocess.size))
        return self._run(images, batch_size, lambda batch: {"features": self.task.features(batch)})["features"]

    def _run(
        self, images: Sequence[Image] | NDArray[Any], batch_size: int, step: Callable[[dict[str, Any]], dict[str, Tensor]],
        further: Mapping[str, NDArray[np.float32]] | None = None
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        wanted, window = self.task.spec.preprocess, self.task.spec.data.get("window")
        given = None if window is None else (float(window[0]), float(window[1]))
        pixels = [
            read_image(
                image, channels=wanted.channels, dtype=wanted.dtype, dimensions=len(wanted.size), window=given,
                frames=self.frames, remedy=TAKE_EACH, read_as=self.task.spec.data.get("channels"),
            )
            for image in images
        ]  # fmt: skip
        if not pixels:
            raise ImageError("no image given")
        order: list[int] = []
        parts: dict[str, list[NDArray[Any]]] = {}
        for chosen in same_shape_batches(pixels, batch_size):
            stacked = torch.from_numpy(np.stack([pixels[i] for i in chosen])).movedim(-1, 1).contiguous()
            order += chosen
            rows = {name: torch.from_numpy(given[chosen]).to(self.device) for name, given in (further or {}).items()}
            for name, value in step({"image": stacked.to(self.device), **rows}).items():
                parts.setdefault(name, []).append(value.float().cpu().numpy())
        back = np.argsort(order)
        return {name: np.concatenate(values)[back] for name, values in parts.items()}


def load(run_or_dir: str | Path, *, checkpoint: str = "best", device: str = "cpu") -> TrainedModel:
    """Load a trained model; reads neither the network nor the training data.

    Args:
        run_or_dir: A run directory or a checkpoint folder.
        checkpoint: `best` or `last`, of a run directory.
        device: A torch device.

    Raises:
        CheckpointError: If there is none or it is damaged.
    """
    return TrainedModel(load_checkpoint(find_checkpoint(run_or_dir, checkpoint)), device)
