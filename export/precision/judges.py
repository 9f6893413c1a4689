"""What a reduced graph is held against: the outputs of its float32 graph on the validation split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from medzoo.data.columns import places_of
from medzoo.data.errors import ExportError
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.export.files.model_files import open_model
from medzoo.export.graph.onnx_file import ProvenGraph
from medzoo.export.precision.convert import Reduction
from medzoo.export.precision.figures import Gate
from medzoo.export.precision.gate import check_embeddings, check_gate
from medzoo.export.precision.sensitivity import layer_costs
from medzoo.export.precision.validation import Images, Validation
from medzoo.export.runtime.inputs import unit_means
from medzoo.export.settings import GateConfig
from medzoo.inference.zeroshot import ZeroShotClassifier

FEW = 16
"""Images or texts a layer's cost is measured on: its order of size is wanted, not its digits. Also texts a run."""


class ImageJudge:
    """Holds a reduced graph of images against its float32 graph on validation images.

    Args:
        proven: The float32 graph.
        validation: What it is judged on.
        config: Limits and the bootstrap.
        classifier: Of an image tower that has no classes of its own: its embeddings are judged by the classes that the float32
            texts make of them as well. None without.

    Attributes:
        reference: The float32 session.
        skipped: What could not be judged, and why.

    Raises:
        ExportError: If the validation images cannot tell a good graph from a bad one: even float32 would not pass.
    """

    def __init__(
        self, proven: ProvenGraph, validation: Validation, config: GateConfig, classifier: ZeroShotClassifier | None = None
    ) -> None:
        labels: LabelSpace | None = proven.graph.spec.labels
        several: Mapping[str, LabelSpace] = proven.graph.spec.targets
        self._validation = validation
        self._config = config
        self._extra = {extra.name: extra.example.numpy() for extra in proven.extras}
        self.reference = open_model(proven.model)
        self.skipped: dict[str, str] = {}
        outputs = {value.name for value in proven.model.graph.output}
        self._truth: dict[str, tuple[LabelSpace, NDArray[np.float32]]] = {}
        if "logits" in outputs and labels is not None and validation.targets is not None:
            self._truth["logits"] = labels, validation.targets
        if validation.targets is not None:
            for name, place in places_of(several).items():
                self._truth[f"{name}.logits"] = several[name], validation.targets[:, place]
        if "concepts" in outputs and validation.concept_space is not None and validation.concepts is not None:
            self._truth["concepts"] = LabelSpace("multilabel", validation.concept_space.names), validation.concepts
        self._names = [*self._truth, *({"image_embedding"} & outputs)]
        self._classifier = classifier if not self._truth.keys() - {"concepts"} and validation.targets is not None else None
        if "concepts" in outputs and "concepts" not in self._names:
            self.skipped["concepts"] = "the validation split knows none of them"
        if not self._names:
            raise ExportError("a reduced precision cannot be judged: the dataset has no labels and the graph no embedding")
        self.outputs = validation.images.run(self.reference, self._names, self._extra)
        own = self._gates(self.outputs, NO_INTERVAL)
        if "concepts" in own and not own["concepts"].passed:
            self.skipped["concepts"] = str(own.pop("concepts").reason)
            self._names.remove("concepts")
        _require(own.values())

    def __call__(self, model: onnx.ModelProto) -> Mapping[str, Gate]:
        """Return the gates of a reduced graph."""
        found = self._validation.images.run(open_model(model), self._names, self._extra)
        return self._gates(found, Interval.of(self._config))

    def costs(self, reduction: Reduction) -> dict[str, float]:
        """Return what each layer costs on a few of the images; see `layer_costs`."""
        few = Images(self._validation.images.samples, self._validation.images.places[:FEW])
        return layer_costs(reduction, self.reference, list(few.batches(self._extra)), self._names[0])

    def inputs(self, count: int, batch: int) -> Iterable[dict[str, NDArray[Any]]]:
        """Yield graph inputs of the first `count` images it judges by, at most `batch` a time."""
        few = Images(self._validation.images.samples, self._validation.images.places[:count])
        for feed in few.batches(self._extra):
            own = {name: values for name, values in feed.items() if name not in self._extra}
            for at in range(0, len(feed["image"]), batch):
                yield {**feed, **{name: values[at : at + batch] for name, values in own.items()}}

    def calibration(self, images: Images) -> Iterable[dict[str, NDArray[Any]]]:
        """Yield graph inputs of calibration images."""
        return images.batches(self._extra)

    def changed_calls(self, model: onnx.ModelProto, points: OperatingPoints) -> dict[str, dict[str, int]]:
        """Return how many calls of the validation images a reduced graph turns, `changed` of all, by operating point."""
        found = self._validation.images.run(open_model(model), ["logits"], self._extra)["logits"]
        ours, theirs = points.calls(self.outputs["logits"]), points.calls(found)
        known = ~np.isnan(ours)
        return {
            rule: {"changed": int((known & (ours != theirs))[:, p].sum()), "of": int(known[:, p].sum())}
            for p, rule in enumerate(points.rules)
        }

    def _gates(self, found: Mapping[str, NDArray[np.float32]], interval: Interval) -> dict[str, Gate]:
        given = self._validation
        check = partial(check_gate, limits=self._config, interval=interval)
        gates = {}
        for name in self._names:
            ours, theirs = self.outputs[name], found[name]
            if name in self._truth and name != "concepts":
                gates[name] = check(*self._truth[name], given.groups, ours, theirs)
            elif name == "concepts":
                gates[name] = check(*self._truth[name], given.groups, _log_odds(ours), _log_odds(theirs), subject="concept")
            else:
                gates[name] = check_embeddings(ours, theirs, limits=self._config)
                if self._classifier is not None and given.targets is not None:
                    pair = (self._classifier.logits(ours), self._classifier.logits(theirs))
                    gates["zero-shot"] = check(self._classifier.labels, given.targets, given.groups, *pair)
        return gates


class TextJudge:
    """Holds a reduced text tower against its float32 graph: cosines, and zero-shot classes made by either.

    Where the image tower is reduced too, the classes are also made by the two reduced towers and held against those of the two
    float32 ones: two losses that each pass may add up to one that does not.

    Args:
        proven: The float32 text tower.
        tokens: (N, L) int64 of real texts, those of the classifier first, in its order.
        config: Limits and the bootstrap.
        classifier: Of the run's classes; None without.
        validation: Its targets, with a classifier.
        image_embeddings: (M, E) float32 unit vectors of the validation images, with a classifier.
        reduced_images: (M, E) of the same images by the reduced image tower; None where there is none.
    """

    def __init__(
        self,
        proven: ProvenGraph,
        tokens: NDArray[np.int64],
        config: GateConfig,
        classifier: ZeroShotClassifier | None = None,
        validation: Validation | None = None,
        image_embeddings: NDArray[np.float32] | None = None,
        reduced_images: NDArray[np.float32] | None = None,
    ) -> None:
        self._config, self._tokens = config, tokens
        self._classifier = classifier if validation is not None and validation.targets is not None else None
        self._validation, self._images = validation, image_embeddings
        self.reference = open_model(proven.model)
        self.skipped: dict[str, str] = {}
        self._embeddings = self._run(self.reference)
        self._reduced_images: NDArray[np.float32] | None = None
        _require(self._gates(self._embeddings, NO_INTERVAL).values())
        self._reduced_images = reduced_images  # what they lose is no fault of the validation split

    def __call__(self, model: onnx.ModelProto) -> Mapping[str, Gate]:
        """Return the gates of a reduced text tower."""
        return self._gates(self._run(open_model(model)), Interval.of(self._config))

    def costs(self, reduction: Reduction) -> dict[str, float]:
        """Return what each layer costs on a few of the texts; see `layer_costs`."""
        return layer_costs(reduction, self.reference, [{"tokens": self._tokens[:FEW]}], "text_embedding")

    def inputs(self, count: int, batch: int) -> Iterable[dict[str, NDArray[Any]]]:
        """Yield graph inputs of the first `count` texts it judges by, at most `batch` a time."""
        few = self._tokens[:count]
        return ({"tokens": few[at : at + batch]} for at in range(0, len(few), batch))

    def _run(self, session: Any) -> NDArray[np.float32]:
        batches = range(0, len(self._tokens), FEW)
        # Short batches: activations scaled as they come share one scale in a batch, and a file serves small ones.
        parts = [session.run(["text_embedding"], {"tokens": self._tokens[at : at + FEW]})[0] for at in batches]
        return np.asarray(np.concatenate(parts))

    def _gates(self, found: NDArray[np.float32], interval: Interval) -> dict[str, Gate]:
        gates = {"text_embedding": check_embeddings(self._embeddings, found, limits=self._config)}
        given, classifier = self._validation, self._classifier
        if classifier is not None and given is not None and given.targets is not None and self._images is not None:
            reference = with_texts(classifier, self._embeddings).logits(self._images)
            reduced = with_texts(classifier, found)
            for name, images in (("zero-shot", self._images), ("zero-shot of both towers", self._reduced_images)):
                if images is not None:
                    gates[name] = check_gate(
                        classifier.labels, given.targets, given.groups, reference, reduced.logits(images), limits=self._config,
                        interval=interval,
                    )  # fmt: skip
        return gates


def with_texts(classifier: ZeroShotClassifier, embeddings: NDArray[np.float32]) -> ZeroShotClassifier:
    """Return a classifier with class vectors made of other embeddings of its texts.

    Args:
        classifier: With its texts.
        embeddings: (T or more, E) float32, one a text in the order of `classifier.texts`; what follows is not used.
    """
    ends = np.cumsum([len(group) for group in classifier.texts.values()])
    vectors = unit_means(np.split(embeddings, ends)[:-1])
    count = len(classifier.positive)
    negative = classifier.negative
    if negative is not None:
        absent = negative.any(axis=1)  # a finding without a negative prompt has a row of zeros, and no text
        negative = np.zeros_like(negative)
        negative[absent] = vectors[count:]
    return replace(classifier, positive=vectors[:count], negative=negative)


def _require(gates: Iterable[Gate]) -> None:
    """Refuse to judge by what even the float32 graph does not pass."""
    for gate in gates:
        if not gate.passed:
            raise ExportError(f"a reduced precision cannot be judged on the validation split: {gate.reason}")


def _log_odds(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of probabilities; those at 0 and 1 stay finite."""
    inside = np.clip(values.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside / (1 - inside)), np.float32)
