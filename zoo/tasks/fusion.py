"""Several modalities of a sample in one answer: images, volumes, texts and values, any of which may be missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.inputs import InputSpace
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.modalities.samples import INPUTS, ModalSamples
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.seeding import generator
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.evaluation.modalities.variants import ONLY, SHUFFLED, WITHOUT
from medzoo.models.build import build_network
from medzoo.models.fusion.network import FusionNetwork
from medzoo.models.places import NotLinearError
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify, in_units
from medzoo.tasks.fusion_graph import FusionGraph
from medzoo.tasks.task import Batch, Runner

SHUFFLES = 5
"""How often each input is shuffled."""


class Fusion(Classify):
    """A `FusionNetwork` with a loss on `target`.

    A batch has `images`, texts as token ids among them, and `present` by modality, and `tabular`, as
    `medzoo.data.samples.modalities` makes them; what it lacks is missing in every sample. A plain `image` is the first's.

    Attributes:
        preprocess: Image modality → how its images become its encoder's input, in the model's order.
        inputs: What the values beside the images are; None: it reads none.
        texts: Text modality → what makes its tokens, in the model's order.
        views: Image modality → how many images of it a sample may have; those that may have several.
        dropout: Chance in training of each modality to be left out.
    """

    model: FusionNetwork
    texts: Mapping[str, Tokenizer]
    reads_inputs = True
    reads_modalities = True
    reads_texts = True
    uses_all = False  # an encoder sees only the images that are there, and a batch may have none of a modality
    kept_whole = "a process may have no image for an encoder that others go through, and all gather its parameters together"

    def __init__(self, spec: ModelSpec, model: nn.Module, texts: Mapping[str, Tokenizer] | None = None) -> None:
        super().__init__(spec, model)
        self.texts = dict(texts or {})
        self.views = {name: n for name, one in spec.arguments["encoders"].items() if (n := int(one.get("views", 1))) > 1}
        self.preprocess = {name: spec.preprocess_of(name) for name in spec.arguments["encoders"]}
        about = spec.arguments.get("inputs")
        self.inputs = None if about is None else InputSpace.from_dict(about)
        self.dropout = float(spec.arguments["dropout"])

    @classmethod
    def from_spec(cls, spec: ModelSpec, assets: Mapping[str, bytes]) -> Self:
        """Rebuild the model, with the tokenizer of each of its texts; CheckpointError if one is missing or damaged."""
        try:
            texts = {
                name: Tokenizer.from_dict(json.loads(assets[_tokenizer_file(name)])) for name in spec.arguments.get("texts", ())
            }
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint's assets are missing or damaged ({type(error).__name__}: {error})") from None
        return cls(spec, build_network(spec), texts)

    def assets(self) -> dict[str, bytes]:
        """Return the tokenizer of each text."""
        return {
            _tokenizer_file(name): json.dumps(tokenizer.to_dict(), ensure_ascii=False).encode("utf-8")
            for name, tokenizer in self.texts.items()
        }

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split as samples of the model's modalities; of those to learn from, some modalities left out."""
        augment = None
        if policy is not None:
            augment = {name: Augment(policy, own, augmenter) for name, own in self.preprocess.items()}
        return ModalSamples(
            dataset, split, self.preprocess, inputs=self.inputs, texts=self.texts, views=self.views, augment=augment, seed=seed,
            dropout=self.dropout if training else 0.0,
        )  # fmt: skip

    def freeze(self, config: TrainerConfig) -> None:
        """Mark what shall not be trained: as asked for of the whole, and frozen encoders, of a text's all but the last layer."""
        super().freeze(config)
        for name, about in self.spec.arguments["encoders"].items():
            if about.get("frozen"):
                self.model.encoders[name].requires_grad_(False)
        for name, about in self.spec.arguments.get("texts", {}).items():
            if about.get("frozen"):
                tower: Any = self.model.encoders[name]
                tower.tower.requires_grad_(False)

    def compile_network(self) -> None:
        """Compile the encoders, whose batches differ in length from step to step."""
        for encoder in self.model.encoders.values():
            encoder.compile(dynamic=True)

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether features can be computed once: not of samples whose modalities are left out at random."""
        return False

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 joined features, the input of the last layer."""
        return self.joined(batch).float()

    def logits(self, batch: Batch) -> Tensor:
        """Return (N, K) float32 logits, or quantities in the labels' units, with gradient."""
        return in_units(self.model.answers(self.joined(batch)).float(), self.objective)

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        joined = self.joined(batch)
        return in_units(self.model.answers(joined).float(), self.objective), joined.float()

    def joined(self, batch: Batch) -> Tensor:
        """Return (N, F) joined features of a batch, with gradient."""
        images, present, values = self._given(batch)
        return self.model.features(images, present, values, self._prepared)

    @torch.no_grad()
    def without_modalities(self, samples: SampleDataset, runner: Runner, seed: int) -> dict[tuple[str, str, int], NDArray[Any]]:
        """Return (kind, name, repeat) → (N, K) logits with each modality left out (`without`) and alone (`only`).

        Of each input also `shuffled` between the samples that have it, a few times; and (N,) whether a modality is `there`.
        Images are encoded once: what is left out is left out where they are joined.
        """
        assert isinstance(samples, ModalSamples)
        names = [*self.preprocess, *self.texts]
        seen = runner.outputs(lambda batch: self.model.encoded(*self._given(batch)[:2], self._prepared), samples)
        device = self.model.head.weight.device
        encoded = {name: torch.from_numpy(seen[name]).to(device) for name in names}
        there = {name: torch.from_numpy(samples.there(name).copy()) for name in samples.names}
        given = None if samples.values is None else torch.from_numpy(samples.values.copy()).to(device)

        def answers(kept: Sequence[str], values: Tensor | None) -> NDArray[Any]:
            present = {name: mask if name in kept else torch.zeros_like(mask) for name, mask in there.items()}
            if values is not None:
                present[INPUTS] = present[INPUTS] & ~torch.isnan(values).all(dim=1).cpu()
            found = self.model.answers(self.model.combined(encoded, present, values)).float()
            return in_units(found, self.objective).cpu().numpy()

        found: dict[tuple[str, str, int], NDArray[Any]] = {("there", name, 0): mask.numpy() for name, mask in there.items()}
        for name in samples.names:
            found[WITHOUT, name, 0] = answers([other for other in samples.names if other != name], given)
            found[ONLY, name, 0] = answers([name], given)
        for place, name in enumerate(self.inputs.names if self.inputs is not None and given is not None else ()):
            for repeat in range(SHUFFLES):
                assert given is not None
                found[SHUFFLED, name, repeat] = answers(list(samples.names), shuffled(given, place, seed, name, repeat))
        return found

    def scores(self, inputs: Tensor) -> Tensor:
        """Refuse: an answer is not of one image alone."""
        raise ConfigError("model=fusion answers by several modalities: there is no map of one image alone")

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Refuse: what is joined is no mean over places."""
        raise NotLinearError("what several modalities say is joined by layers that are not linear")

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw images, token ids and values, each of which may be left out → logits, probabilities."""
        return FusionGraph(self.spec, self.model, self.texts)

    def deploy_map(self) -> nn.Module:
        """Refuse: there is no exact map."""
        raise NotLinearError("what several modalities say is joined by layers that are not linear")

    def _prepared(self, name: str, images: Tensor) -> Tensor:
        """Return a modality's (M, C, ...) images as its encoder takes them; tokens as they are."""
        if name in self.texts:
            return images
        own = self.preprocess[name]
        return normalise(fit(images, own), own)

    def _given(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor | None]:
        """Return images, what is present, and values, with what a batch does not speak of as missing."""
        images: dict[str, Tensor] = batch["images"] if "images" in batch else {next(iter(self.preprocess)): batch["image"]}
        rows = next((len(found) for found in images.values()), 0) or len(batch["tabular"])
        given: Mapping[str, Any] = batch.get("present") or {name: torch.ones(rows, dtype=torch.bool) for name in images}
        nowhere = torch.zeros(rows, dtype=torch.bool)
        values = batch.get("tabular") if self.inputs is not None else None
        if self.inputs is not None and values is None:
            values = torch.full((rows, self.inputs.width), torch.nan, device=self.model.head.weight.device)
        present = {name: given.get(name, nowhere) for name in (*self.preprocess, *self.texts)}
        if values is not None:
            present[INPUTS] = given.get(INPUTS, nowhere)
        return images, present, values


def _tokenizer_file(name: str) -> str:
    return f"tokenizer-{name}.json"


def shuffled(values: Tensor, place: int, seed: int, name: str, repeat: int) -> Tensor:
    """Return (N, V) values with one column exchanged between the rows that have it."""
    known = (~torch.isnan(values[:, place])).nonzero()[:, 0].cpu()
    order = torch.from_numpy(generator(seed, "shuffled input", name, repeat).permutation(len(known)))
    other = values.clone()
    other[known, place] = values[known[order], place]
    return other
