"""Maps over images: which places spoke for a class, a finding, a quantity or a concept.

`cam`: class activation maps (Zhou et al. 2016, CVPR, section 2), exact where the head is linear on the mean over places: the
map's mean and the bias are the output. `gradcam`: Selvaraju et al. 2017 (ICCV, section 3), before its ReLU, so that what speaks
against is kept. `gradient_x_activation`: at a transformer's last block, summed over channels, token by token. Both by captum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.laid import onto_image
from medzoo.models.places import Evidence, Layer, NotLinearError, applied, find_evidence, last_layer
from medzoo.tasks.task import Task

METHODS = ("auto", "cam", "gradcam", "gradient_x_activation")


@dataclass(frozen=True)
class PlaceMap:
    """One map of one image.

    Attributes:
        name: What it is of.
        method: What made it.
        cells: (h, w) or (d, h, w) float32, signed, of the network's own places.
        image: The same on the image, (H, W) or (D, H, W); NaN where the network never saw it.
        output: The output that is explained: a logit, or a quantity in its unit.
        bias: What the output is without any evidence: `output = cells.mean() + bias`; None where the map is not exact.
    """

    name: str
    method: str
    cells: NDArray[np.float32]
    image: NDArray[np.float32]
    output: float
    bias: float | None = None


class Explainer:
    """Makes maps of one model's outputs, in float32, in evaluation mode.

    Args:
        task: The model.
        names: Of its outputs, in their order.
        scores: Normalised images → (N, K) outputs with gradient.
        head: Returns (K, F) weights and (K,) bias from pooled features to the same outputs, or raises NotLinearError.
        method: One of `METHODS`; `auto` takes `cam` where it is exact, else what suits the network.

    Attributes:
        method: What is used.
        why: Why, in words.

    Raises:
        UnknownNameError: If there is no such method.
        ConfigError: If the method does not suit the network; says why.
    """

    def __init__(
        self, task: Task, names: Sequence[str], scores: Callable[[Tensor], Tensor], head: Callable[[], tuple[Tensor, Tensor]],
        method: str = "auto"
    ) -> None:  # fmt: skip
        if method not in METHODS:
            raise UnknownNameError("map", method, METHODS)
        if task.reads_modalities or task.bag_input is not None:
            raise ConfigError("this model answers by several images of a sample together: there is no map of one image alone")
        self.task, self.names, self.scores = task.eval(), tuple(names), scores
        self._evidence: Evidence | None = None
        self._layer: Layer | None = None
        blank = task.blank()
        try:
            self._weight, self._bias = (part.detach() for part in head())
            self._evidence = find_evidence(task.model, blank)
            why = "exact: the head is linear on the mean over places"
        except NotLinearError as error:
            why = f"not exact: {error}"
            if method == "cam":
                raise ConfigError(f"map=cam is exact or not made, and here {error}; use map=auto") from error
        if self._evidence is None or method in METHODS[2:]:
            self._layer = last_layer(task.model, blank)
            suits = "gradcam" if self._layer.convolutional else "gradient_x_activation"
            if method == "gradcam" and suits != method:
                raise ConfigError(f"map=gradcam is for networks of convolutions; {task.spec.architecture} needs map={suits}")
            self._evidence = None
            self.method = suits if method == "auto" else method
        else:
            self.method = "cam"
        self.why = why if method == "auto" else "as asked for"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.task.model.parameters()).device
        return device

    def place(self, name: str) -> int:
        """Return an output's position; UnknownNameError with the nearest if there is none of that name."""
        if name not in self.names:
            raise UnknownNameError("output", name, self.names)
        return self.names.index(name)

    def inputs(self, pixels: NDArray[Any]) -> Tensor:
        """Return an image, channels last, as the network takes it: (1, C, ...)."""
        image = torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, 0)[None]
        return self.task.input(image.contiguous().to(self.device)).float()

    @torch.no_grad()
    def outputs(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Return (K,) outputs of an image, channels last."""
        found: NDArray[np.float32] = self.scores(self.inputs(pixels))[0].float().cpu().numpy()
        return found

    def map(self, pixels: NDArray[Any], name: str) -> PlaceMap:
        """Return the map of one image.

        Args:
            pixels: (H, W, C) or (D, H, W, C) of the model's channels and type, before `fit`.
            name: Of `names`.

        Raises:
            UnknownNameError: If there is no such output.
            ConfigError: If the output does not change with what the network sees, so that no gradient tells where.
        """
        k, inputs = self.place(name), self.inputs(pixels)
        output, bias = float(self.outputs(pixels)[k]), None
        if self._evidence is not None:
            with torch.no_grad():
                cells = applied(self._weight[k : k + 1], self._evidence.features(inputs))[0, 0]
            bias = float(self._bias[k])
        else:
            cells = self._by_gradient(inputs, k)
        # Of more than the kept precision nothing is known.
        made, wanted = cells.detach().float().cpu().numpy(), self.task.spec.preprocess
        return PlaceMap(name, self.method, made, onto_image(made, wanted.size, wanted.mode, pixels.shape[:-1]), output, bias)

    def _by_gradient(self, inputs: Tensor, k: int) -> Tensor:
        from captum.attr import LayerGradCam, LayerGradientXActivation

        assert self._layer is not None
        layer, kind = self._layer, LayerGradCam if self.method == "gradcam" else LayerGradientXActivation
        # The images ask for a gradient, so that there is one in a network whose weights are frozen.
        given = inputs.clone().requires_grad_()
        try:
            found = kind(self.scores, layer.module).attribute(given, target=k, attribute_to_layer_input=layer.of_input)
        except RuntimeError as error:
            if "does not require grad" not in str(error) and "not have been used in the graph" not in str(error):
                raise
            found = None
        if found is None or not bool((found != 0).any()):
            raise ConfigError(
                f"{self.names[k]!r} does not change by small changes of the features (votes of neighbours, hard concepts, a "
                "saturated output): no gradient says where; ask for a concept's map, or another label's"
            )
        placed = layer.layout.placed(found[0] if isinstance(found, tuple) else found).sum(dim=1)
        return placed[0] if layer.depth is None else placed


def class_explainer(task: Task, method: str = "auto") -> Explainer:
    """Return what makes maps of a model's classes, findings or quantities; ConfigError if it has none of its own."""
    return Explainer(task, task.spec.label_space.names, task.scores, task.linear_head, method)


def concept_explainer(task: Task, method: str = "auto") -> Explainer:
    """Return what makes maps of a bottleneck's concepts; ConfigError if the model has none."""
    bottleneck = task.bottleneck
    if bottleneck is None:
        raise ConfigError(f"{task.spec.family} has no concepts; they are of model=cbm and its kin")
    network = bottleneck.model

    def scores(inputs: Tensor) -> Tensor:
        return network.concepts_and_features(inputs)[0]

    return Explainer(task, bottleneck.concept_labels.names, scores, bottleneck.concept_head, method)
