"""Pre-training: a network learns of images without labels, to be another model's start."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError, UnknownNameError
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.modalities.two_views import TwoViews, view_policy
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.samples.send import sent
from medzoo.losses.gathered import added, gathered, own_draws, processes
from medzoo.losses.self_supervised import masked_pixels, nt_xent, self_distillation
from medzoo.models.backbones.contract import pooled_features
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.contrast import ImageTower
from medzoo.tasks.task import DRAWS, STANDS_IN, Batch, Task

TEACHER_TEMPERATURE, CENTER_MOMENTUM = 0.04, 0.9
"""Of DINO (Caron et al. 2021, section 3.1 and appendix D)."""


class Pretraining(Task):
    """A network with an objective on images alone; a derived class writes the objective.

    `spec.objective` holds what the settings `model.ssl` say; a batch holds `image` and `other_view` in training and on the
    validation split, whose views are the same in every epoch.

    Attributes:
        spec: The model's spec, without labels.
        model: The backbone within its projector or decoder.
        chooses_by: What an epoch is chosen by unless another is asked for.
        compares_views: Whether the views of the validation split are embedded, for `agreement`.
    """

    answers_in_training = False
    no_copies = "pre-training; set it to 0"
    chooses_by = "loss"

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.compares_views = False

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return the () objective of a batch."""

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the objective, and the number of images."""
        return {"loss": self.loss(batch), "count": torch.full((), float(len(batch["image"])), device=batch["image"].device)}

    def surely_learns(self, batch: Batch) -> bool:
        """Whether something is observed: always."""
        return True

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the objective, and both views' embeddings where they are compared; of a plain image its embedding."""
        if "other_view" not in batch:
            return self.predict(batch)
        said = self.views_told(batch)
        if self.compares_views:
            said |= {name: self.predict({"image": batch[name]})["image_embedding"] for name in ("image", "other_view")}
        return said

    def views_told(self, batch: Batch) -> dict[str, Tensor]:
        """Return what of a batch's two views the loss of a split is made of: the objective, and the number of images."""
        return self.training_step(batch)

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split: two views of each image to learn from, plain images to embed.

        Arguments are those of `Task.samples`.

        Raises:
            ConfigError: If the trainer asks for an augmentation of its own, which views do not have.
        """
        if not training:
            return super().samples(dataset, split, policy=policy, augmenter=augmenter, seed=seed)
        if policy is not None and policy != augment_policy("auto", dataset.info.modality):
            raise ConfigError("trainer.augment: what two views differ by is model.ssl.augment; leave it out")
        return self.seen(dataset, split, augmenter, seed, int(self.spec.objective.get("crops", 0)))

    def validation_samples(self, dataset: Dataset, augmenter: str, seed: int) -> SampleDataset:
        """Return the validation split in two views of each image, which no epoch changes, and without crops."""
        return self.seen(dataset, "val", augmenter, seed, 0)

    def seen(self, dataset: Dataset, split: str, augmenter: str, seed: int, crops: int) -> TwoViews:
        """Return a split in two views of each image, and as many crops of it."""
        policy = self.views(dataset)
        augment, cropped = Augment(policy, self.spec.preprocess, augmenter), None
        if crops:
            small = replace(policy, scale=tuple(self.spec.objective["crop_scale"]))
            cropped = Augment(small, self.spec.preprocess, augmenter)
        return TwoViews(dataset, split, self.spec.preprocess, augment=augment, seed=seed, crops=crops, cropped=cropped)

    def views(self, dataset: Dataset) -> Policy:
        """Return what two views of an image differ by."""
        asked = self.spec.objective["augment"]
        policy = augment_policy(asked, dataset.info.modality)
        return view_policy(policy, tuple(self.spec.objective["scale"])) if isinstance(asked, str) else policy

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has two images, which need not be labelled; TrainingError if it has fewer."""
        if len(samples) < 2:
            raise TrainingError(f"the {samples.split} split has {len(samples)} image; without labels two are the least")

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return what the epoch is chosen by: the loss, or `agreement`; and no note."""
        if asked not in (None, "loss", "agreement"):
            raise UnknownNameError("metric", asked, ["loss", "agreement"], where=" for pre-training, which knows no labels")
        chosen = asked or self.chooses_by
        self.compares_views = chosen == "agreement"
        return chosen, None

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return the share of the validation images whose one view is nearest to their other one's, among all images'."""
        similar = outputs["image"] @ outputs["other_view"].T
        return float((similar.argmax(axis=1) == np.arange(len(similar))).mean())

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name != "loss"

    def freeze(self, config: TrainerConfig) -> None:
        """Mark what shall not be trained: nothing; ConfigError if the trainer asks for less than the whole network."""
        if config.finetune != "full":
            raise ConfigError(f"trainer.finetune={config.finetune}: pre-training trains the whole network; use full")
        fixed = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        super().freeze(config)
        for name, parameter in self.model.named_parameters():
            if name in fixed:
                parameter.requires_grad_(False)

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `image_embedding` (N, F): the pooled features of the backbone as unit vectors."""
        return {"image_embedding": F.normalize(self.features(batch), dim=1)}

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → embedding."""
        return FeatureGraph(self.spec, self.model)


class SimClr(Pretraining):
    """Two views of an image are to be found among those of the whole batch (Chen et al. 2020)."""

    accumulates = False  # every image is the others' negative

    def loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss of the two views of a batch, of all processes together."""
        own = _own(batch)
        return self._among(*gathered([view[:own] for view in self._projected(batch)]))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the objective of the whole batch, and this process's number of images."""
        return {"loss": self.loss(batch), "count": torch.full((), float(_own(batch)), device=batch["image"].device)}

    def views_told(self, batch: Batch) -> dict[str, Tensor]:
        """Return `first` and `second` (N, E), the projected views: the loss is of whole batches, see `whole_loss`."""
        return dict(zip(("first", "second"), self._projected(batch), strict=True))

    @torch.no_grad()
    def whole_loss(self, outputs: Mapping[str, NDArray[Any]], samples: SampleDataset, batch_size: int) -> float | None:
        """Return the mean loss of a split in batches of the table's order; None of plain images."""
        if "first" not in outputs:
            return None
        first, second = (torch.from_numpy(outputs[name]) for name in ("first", "second"))
        parts = zip(first.split(batch_size), second.split(batch_size), strict=True)  # type: ignore[no-untyped-call]
        return sum(float(self._among(one, other)) * len(one) for one, other in parts) / len(first)

    def _projected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        first, second = self.model(torch.cat([self.input(batch["image"]), self.input(batch["other_view"])])).float().chunk(2)
        return first, second

    def _among(self, first: Tensor, second: Tensor) -> Tensor:
        return nt_xent(first, second, self.spec.objective["temperature"])


class Dino(Pretraining):
    """A student is to say of one view, and of small crops, what its own moving average says of the other (Caron et al. 2021).

    Crops are drawn in training alone. They are brought to the views' size, so that networks of a fixed input size take them.

    Attributes:
        teacher: The moving average, and `center`, that of its outputs; no checkpoint holds them, resumable states do.
    """

    accumulates = False  # each pass moves the teacher
    kept_whole = "the teacher of model.ssl.objective=dino is the whole network's moving average"
    chooses_by = "agreement"  # its loss rises while the center of the outputs is found, and says nothing of how good they are

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.center: Tensor
        self.register_buffer("center", torch.zeros(spec.objective["outputs"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return what the student's average (`trainer.ema`) begins as: the student alone is copied.

        The copy is judged by the teacher and the center of the training, which a training goes on with: an average of these, too,
        no state would hold.
        """
        memo |= {id(self.teacher): self.teacher, id(self.center): self.center}
        made = type(self).__new__(type(self))
        made.__dict__ = {name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()}
        return made

    def learnt_beside(self) -> dict[str, Tensor]:
        """Return the teacher's tensors and the center, which a training goes on with."""
        teacher = {f"teacher.{name}": tensor for name, tensor in self.teacher.state_dict().items()}
        return {**super().learnt_beside(), **teacher, "center": self.center}

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean over both directions; in training the teacher has moved on before."""
        if self.training:
            self._follow()
        asked = self.spec.objective
        both = torch.cat([self.input(batch["image"]), self.input(batch["other_view"])])
        with torch.no_grad():
            told = self.teacher(both).float()
            middle = self.center.clone()  # of the batches before: the paper's algorithm 1 moves it afterwards
            if self.training:
                self._recenter(told, 2 * _own(batch))
        said = self.model(both)
        views = [*said.chunk(2)]
        if "crops" in batch:  # a pass of their own: batch normalisation would mix their statistics with those of the views
            crops = batch["crops"]
            small = self.model(self.input(crops.flatten(0, 1)))
            views += small.view(*crops.shape[:2], -1).unbind(1)
        return self_distillation(views, told.chunk(2), middle, (asked["temperature"], TEACHER_TEMPERATURE))

    def set_training(self, config: TrainerConfig) -> None:
        """Put the student into training mode; the teacher, whose statistics follow the student's, stays in evaluation mode."""
        super().set_training(config)
        self.teacher.eval()

    @torch.no_grad()
    def _follow(self) -> None:
        kept = self.spec.objective["momentum"]
        for own, new in zip(self.teacher.state_dict().values(), self.model.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new.detach().to(own.dtype), 1 - kept)
            else:
                own.copy_(new)

    @torch.no_grad()
    def _recenter(self, told: Tensor, counted: int) -> None:
        """Move the center towards the mean of what the teacher says of all processes' views, of ours the first `counted`."""
        if processes() == 1:
            mean = told.mean(dim=0)
        else:
            sums = added(torch.cat([told[:counted].sum(dim=0), told.new_full((1,), counted)]))
            mean = sums[:-1] / sums[-1]
        self.center.copy_(self.center * CENTER_MOMENTUM + mean * (1 - CENTER_MOMENTUM))


class Mae(Pretraining):
    """What most patches of an image look like is to be told from the few that are seen (He et al. 2022)."""

    uses_all = False  # what made answers of the backbone's features is not asked

    def loss(self, batch: Batch) -> Tensor:
        """Return the error of the hidden patches of one view; which are hidden on the validation split never changes."""
        images = self.input(batch["image"])
        patches = self.model.patches(images)
        count = patches.shape[1]
        seen = min(max(1, round(count * (1 - self.spec.objective["masked"]))), count - 1)  # of few patches one is hidden, too
        shared = batch.get(DRAWS) if processes() > 1 else None  # alone torch's own state, which starts from the same seed
        drawn = own_draws(len(images), count, shared if self.training else 0)
        order = sent(drawn.argsort(dim=1), images.device)
        kept = order[:, :seen]
        hidden = torch.ones(len(images), count, device=images.device).scatter(1, kept, 0.0)
        said = self.model.told(self.model.seen(images, kept), kept)
        return masked_pixels(said, patches.float(), hidden)


class Spark(Mae):
    """The same of a ResNet, whose convolutions see no hidden patch (Tian et al. 2023)."""

    def recompute_activations(self, config: TrainerConfig) -> None:
        """Refuse: on the way back a block would see what was hidden from it."""
        raise ConfigError("trainer.checkpoint_activations is not for model.ssl.objective=spark: leave it out")


def _own(batch: Batch) -> int:
    """Return how many images of a batch count: none of one that stands in for another process's."""
    return 0 if STANDS_IN in batch else len(batch["image"])


class FeatureGraph(ImageTower):
    """The deployable form of a network without answers: raw image → `image_embedding` (N, F), unit vectors."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the embeddings of (N, [D,] H, W, C) raw images."""
        values = normalise(fit(image.movedim(-1, 1), self.spec.preprocess), self.spec.preprocess)
        return (F.normalize(pooled_features(self.model, values).float(), dim=1),)
