"""The Python API over a trained run: `medzoo.load(run).predict(images)`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.corrections import Corrections, check_corrections
from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.decode import GIVE_A_FRAME, ImageInput, read_as_trained, require_several, same_shape_batches
from medzoo.data.images.given import Modalities, alike, as_samples, is_sample, view_names, with_views
from medzoo.data.images.rows import case_rows
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints, with_calls
from medzoo.data.regions.evidence import GivenRegions, Look, check_regions, regions_feed, require_something_left
from medzoo.data.samples.preprocess import fit
from medzoo.hub.open import is_address, open_bundle
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.operating_points import read_points
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import probabilities
from medzoo.tasks.ensemble import Ensemble, joined
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
        points: Thresholds that the run has chosen, by which `predict` adds `calls`; None: there are none.
        modalities: What a model of several takes, and its inputs by name; None of a model of one image.
    """

    def __init__(self, task: Task, device: str | torch.device = "cpu", points: OperatingPoints | None = None) -> None:
        self.device, self.points = torch.device(device), points
        self.task = task.to(self.device).eval()
        self.modalities = Modalities.of_spec(task.spec.to_dict(), task.texts)

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""
        return self.task.spec

    @property
    def labels(self) -> LabelSpace | None:
        """What the columns of the outputs mean."""
        return self.task.spec.labels

    @property
    def targets(self) -> Mapping[str, LabelSpace]:
        """Of a model of several targets what the outputs of each mean; empty of others."""
        return self.task.spec.targets

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
        concept_mask: Corrections | None = None, regions: GivenRegions | None = None
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """Return `logits` and `probabilities`, (N, K) float32, in the order of the images.

        Args:
            images: Paths, encoded bytes, frames of them (`medzoo.data.images.frames.frames_of`), Pillow images, or arrays
                channels last, uint8 in 0..255 or float32 in 0..1; of any sizes. Of a model of several modalities a sample by
                name, or a list of them: `{"image": ..., "report": "...", "inputs": {...}}`, where what is left out is missing;
                of one trained with `data.channel_columns` the images of the channels by name, or one that holds them all.
            batch_size: Images a forward pass.
            concept_values: Corrected concepts of a bottleneck, in 0..1: by name (`{"lesion": 1}`) for all images, or (N, M), or
                one row for all; see `concepts`.
            concept_mask: With rows of values: 1 where a concept is corrected, else 0.
            regions: A part of the image that concepts lose, or all that they keep: `{"remove": [x, y, width, height], "only":
                ["lesion"]}` for all images, or a list, with None for nothing; `medzoo.data.regions.evidence.GivenRegions`.
                For concepts that read the mean over places.

        Returns:
            With `concepts` in 0..1 and `concept_logits`, (N, M), and `bottleneck_logits` (N, K) for a concept bottleneck; for an
            image–text model `image_embedding` (N, E). With operating points (`points`) also `calls`, (N, points, K): 1 where a
            class is called, else 0; NaN where it has no threshold. Of several targets `<target>.logits` and
            `<target>.probabilities` of each.

        Raises:
            ImageError: If an image cannot be read or has the wrong shape, type or range.
            ConfigError: If corrections or regions do not fit the model or the images, or regions leave nothing.
        """
        images = as_samples(images) if is_sample(images) else images
        if self.task.bag_input == "members":
            raise ConfigError("this model takes bags of feature rows, not images; use predict_cases")
        require_several(images, len(self.task.spec.preprocess.size))
        corrections = check_corrections(len(images), self.concepts, concept_values, concept_mask)
        looks = check_regions(len(images), self.concepts, regions)
        if looks is None:
            return with_calls(self.task.answers(self._run(images, batch_size, self.task.predict, corrections)), self.points)
        bottleneck = self.task.bottleneck
        assert bottleneck is not None  # it has concepts
        grid = bottleneck.concept_evidence().grid
        found = self.task.answers(self._run(images, batch_size, bottleneck.predict_within, corrections, (looks, grid)))
        require_something_left(found["concepts"], grid)
        return with_calls(found, self.points)

    def predict_cases(self, cases: Sequence[Sequence[Image]], *, batch_size: int = 32) -> dict[str, NDArray[Any]]:
        """Return `logits`, `probabilities`, (N cases, K), and `calls` as `predict` does, of cases of one or several photographs.

        Logits are averaged over a case's photographs, as in training; of a concept bottleneck the concepts' logits, from which
        the classes follow. A model of bags pools features, and returns `attention` (N, V) beside where it weighs members by it.

        Args:
            cases: Images of each case, as for `predict`, or `{"images": [...], "views": ["PA", ...]}` where the model reads what
                they show. Of a model of feature rows (n, F) arrays, or paths of files of them.
            batch_size: Images a forward pass.

        Raises:
            ImageError: If a case has no image, or an image cannot be read.
        """
        if self.task.bag_input is not None:
            return self._predict_bags(cases, batch_size)
        if isinstance(self.task, Ensemble) and self.task.pools:  # whose members each make one answer of a case
            said = [TrainedModel(one, self.device).predict_cases(cases, batch_size=batch_size) for one in self.task.members]
            mean = joined(
                [torch.from_numpy(one["logits"]) for one in said], self.task.votes, self.task.how, self.spec.label_space
            )
            shares = probabilities(mean, self.spec.label_space)
            return with_calls({"logits": mean.numpy(), "probabilities": shares.numpy()}, self.points)
        labels, counts = self.task.spec.label_space, [len(case) for case in cases]
        if 0 in counts:
            raise ImageError(f"case {counts.index(0)} has no image")
        mean = self.task.cases(self.predict([image for case in cases for image in case], batch_size=batch_size), counts)
        return with_calls({"logits": mean.numpy(), "probabilities": probabilities(mean, labels).numpy()}, self.points)

    def _predict_bags(self, cases: Sequence[Any], batch_size: int) -> dict[str, NDArray[Any]]:
        known = self.task.spec.arguments["bag"].get("views", ())
        cases, codes = with_views(cases, known)
        if self.task.bag_input == "image":
            counts = [len(case) for case in cases]
            if 0 in counts:
                raise ImageError(f"case {counts.index(0)} has no image")
            images = [image for case in cases for image in case]
            members = self._run(images, batch_size, lambda batch: {"features": self.task.member_features(batch)})["features"]
        else:
            width, names = self.task.spec.preprocess.size[-1], self.task.spec.data.get("row_names")
            rows = [case_rows(case, width, place, names) for place, case in enumerate(cases)]
            members, counts = self._row_features(np.concatenate(rows)), list(map(len, rows))
        shown = torch.from_numpy(np.concatenate(codes)) if known else None
        outputs = self.task.of_members(torch.from_numpy(members), counts, shown)
        return with_calls({name: value.float().cpu().numpy() for name, value in outputs.items()}, self.points)

    def _row_features(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        batch = {"image": torch.from_numpy(rows)[:, None, None].to(self.device)}
        return self.task.features(batch).float().cpu().numpy()

    def features(self, images: Sequence[Image] | NDArray[Any], *, batch_size: int = 32) -> NDArray[Any]:
        """Return (N, F) float32 pooled features before the head; arguments as for `predict`."""
        images = as_samples(images) if is_sample(images) else images
        require_several(images, len(self.task.spec.preprocess.size))
        return self._run(images, batch_size, lambda batch: {"features": self.task.features(batch)})["features"]

    def _run(
        self, images: Sequence[Image] | NDArray[Any], batch_size: int, step: Callable[[dict[str, Any]], dict[str, Tensor]],
        further: Mapping[str, NDArray[np.float32]] | None = None,
        regions: tuple[Sequence[Look | None], tuple[int, ...]] | None = None
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        if self.modalities is not None:
            return self._run_samples(list(images), self.modalities, batch_size, step)
        wanted, card = self.task.spec.preprocess, self.task.spec.data
        about = {"channels": wanted.channels, "dtype": wanted.dtype, "dimensions": len(wanted.size)}
        pixels = [read_as_trained(image, card, **about, remedy=TAKE_EACH) for image in images]  # type: ignore[arg-type]
        if not pixels:
            raise ImageError("no image given")

        def batch(chosen: list[int]) -> dict[str, Any]:
            rows: dict[str, NDArray[Any]] = {name: given[chosen] for name, given in (further or {}).items()}
            if regions is not None:
                looks, grid = regions
                rows |= regions_feed([looks[i] for i in chosen], len(self.concepts), pixels[chosen[0]].shape[:-1], grid)
            beside = {name: torch.from_numpy(given).to(self.device) for name, given in rows.items()}
            return {"image": self._images(np.stack([pixels[i] for i in chosen])), **beside}

        return self._in_batches(same_shape_batches(pixels, batch_size), batch, step)

    def _run_samples(
        self, samples: Sequence[Any], modalities: Modalities, batch_size: int, step: Callable[[dict[str, Any]], dict[str, Tensor]]
    ) -> dict[str, NDArray[Any]]:
        given = [modalities.read(sample) for sample in samples]
        if not given:
            raise ImageError("no image given")

        def batch(chosen: list[int]) -> dict[str, Any]:
            there = {
                view: torch.tensor([view in given[i].there for i in chosen]) for view in (*modalities.shown, *modalities.texts)
            }
            images = {view: self._images(np.stack([given[i].images[view] for i in chosen])) for view in modalities.shown}
            present = {name: there[name] for name in (*modalities.names, *modalities.texts)}
            for name, most in modalities.views.items():  # of any sizes, so that each is fitted before they are one array
                views, own = view_names(name, most), self.task.spec.preprocess_of(name)
                images[name] = torch.stack([fit(images[view], own) for view in views], dim=1)
                present[name] = torch.stack([there[view] for view in views], dim=1)
            images |= {name: torch.from_numpy(np.stack([given[i].tokens[name] for i in chosen])) for name in modalities.texts}
            images = {name: images[name].to(self.device) for name in present}
            found: dict[str, Any] = {"images": images, "present": present}
            if modalities.inputs is not None:
                values = torch.from_numpy(np.stack([row for i in chosen if (row := given[i].values) is not None]))
                present["inputs"] = ~torch.isnan(values).all(dim=1)
                found["tabular"] = values.to(self.device)
            return found

        return self._in_batches(alike(given, batch_size), batch, step)

    def _images(self, pixels: NDArray[Any]) -> Tensor:
        """Return (N, ..., C) pixels as a batch holds them, on the device."""
        return torch.from_numpy(pixels).movedim(-1, 1).contiguous().to(self.device)

    def _in_batches(
        self, batches: Iterable[list[int]], batch: Callable[[list[int]], dict[str, Any]],
        step: Callable[[dict[str, Any]], dict[str, Tensor]]
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """Return what a step says of batches, in the order of the input."""
        order: list[int] = []
        parts: dict[str, list[NDArray[Any]]] = {}
        for chosen in batches:
            order += chosen
            for name, value in step(batch(chosen)).items():
                parts.setdefault(name, []).append(value.float().cpu().numpy())
        back = np.argsort(order)
        return {name: np.concatenate(values)[back] for name, values in parts.items()}


def load(run_or_dir: str | Path, *, checkpoint: str = "best", device: str = "cpu", key: str | None = None) -> TrainedModel:
    """Load a trained model; of a path, reads neither the network nor the training data.

    Args:
        run_or_dir: A run directory or a checkpoint folder; or a bundle of `medzoo push`, which is checked before anything of it
            is used: `hf-hub:owner/name`, best with `@commit`, or `local-dir:folder`.
        checkpoint: `best` or `last`, of a run directory.
        device: A torch device.
        key: The publisher's public key (PEM) of a signed bundle; `none`: take it unverified.

    Raises:
        CheckpointError: If there is none, it is damaged, or a check fails.

    Warns:
        UserWarning: If the run has operating points that are not this checkpoint's: they are not applied.
    """
    if is_address(str(run_or_dir)):
        run_or_dir = open_bundle(str(run_or_dir), key).folder
    folder = find_checkpoint(run_or_dir, checkpoint)
    task = load_checkpoint(folder)
    points = None if task.embedder is not None else read_points(Path(run_or_dir), task.spec.labels)
    if points is not None and (other := points.not_of(task.spec.hash, weights_checksum(folder))):
        warnings.warn(f"the operating points of {run_or_dir} are not applied: {other}", stacklevel=2)
        points = None
    return TrainedModel(task, device, points)
