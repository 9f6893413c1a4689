"""The deployable forms of an image–text model: its two towers, and zero-shot classifiers with class vectors inside or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.samples.preprocess import fit, normalise
from medzoo.export.graph.extra_inputs import ExtraInput
from medzoo.inference.zeroshot import ZeroShotClassifier
from medzoo.models.clip.model import encode_image, encode_text
from medzoo.tasks.classify import probabilities
from medzoo.tasks.contrast import Contrast

DEFAULT_TEXTS = ("an image of the skin", "a chest film without finding", "a scan showing a lesion")
"""What a text tower is given where nobody has worded classes."""


class TextTower(nn.Module):
    """Tokens → `text_embedding` (N, E), unit vectors; `spec` and `outputs` are those of a `medzoo.tasks.task.Deployable`."""

    outputs = ("text_embedding",)

    def __init__(self, task: Contrast) -> None:
        super().__init__()
        self.spec = task.spec
        self.model = task.model
        self.eval()

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return the embeddings of (N, L) int64 tokens."""
        return (encode_text(self.model, tokens),)


class ZeroShotGraph(nn.Module):
    """Raw image → logits, probabilities, embedding; the class vectors are constants.

    Args:
        task: The image–text model.
        classifier: Class vectors; see `medzoo.inference.zeroshot`.
    """

    outputs = ("logits", "probabilities", "image_embedding")

    def __init__(self, task: Contrast, classifier: ZeroShotClassifier) -> None:
        super().__init__()
        self.spec = replace(task.spec, labels=classifier.labels)
        self.model = task.model
        self.scale = classifier.scale
        self.members = classifier.members
        for name, vectors in (("positive", classifier.positive), ("negative", classifier.negative)):
            self.register_buffer(name, None if vectors is None else torch.from_numpy(np.ascontiguousarray(vectors.T)))
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return logits, probabilities and embeddings of (N, H, W, C) raw images."""
        assert self.spec.labels is not None
        embedding = _embed(self, image)
        logits = self.scale * embedding @ self.positive  # type: ignore[operator]
        if self.negative is not None:
            logits = logits - self.scale * embedding @ self.negative  # type: ignore[operator]
        if self.members is not None:
            logits = torch.stack([logits[:, list(rows)].logsumexp(dim=1) for rows in self.members], dim=1)
        return logits, probabilities(logits, self.spec.labels), embedding


class OpenZeroShotGraph(nn.Module):
    """Raw image and class vectors → logits, probabilities, embedding: new classes need no new file.

    `class_embeddings` (K, E) are unit vectors of any number of classes, such as `OnnxModel.class_embeddings` makes.

    Args:
        task: The image–text model.
        example: (K, E) float32 class vectors to prove the graph with.
    """

    outputs = ("logits", "probabilities", "image_embedding")

    def __init__(self, task: Contrast, example: NDArray[np.float32]) -> None:
        super().__init__()
        self.spec = task.spec
        self.model = task.model
        self.scale = float(task.model.logit_scale.detach().exp())  # type: ignore[operator]
        self.extra_inputs = (ExtraInput("class_embeddings", torch.from_numpy(example.copy()), ("classes", None)),)
        self.eval()

    def forward(self, image: Tensor, class_embeddings: Tensor) -> tuple[Tensor, ...]:
        """Return logits, softmax probabilities and embeddings of (N, H, W, C) raw images."""
        embedding = _embed(self, image)
        logits = self.scale * embedding @ class_embeddings.T
        return logits, logits.softmax(dim=1), embedding


def _embed(graph: ZeroShotGraph | OpenZeroShotGraph, image: Tensor) -> Tensor:
    values = fit(image.movedim(-1, 1), graph.spec.preprocess)
    return encode_image(graph.model, normalise(values, graph.spec.preprocess))


def parity_texts(task: Contrast, given: Sequence[str]) -> list[str]:
    """Return texts to prove a text tower on: those given, and short, long and odd ones."""
    return [*given, "a", "An image of skin, 3 cm; grade 2 (moderate).", "word " * (2 * task.tokenizer.context_length)]
