"""Running an exported file with NumPy, Pillow and ONNX Runtime alone: no torch, and no preprocessing of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medzoo.data.corrections import Corrections, check_corrections
from medzoo.data.errors import ConfigError, ImageError, OnnxFileError
from medzoo.data.images.decode import GIVE_A_FRAME, read_as_trained, require_several
from medzoo.data.images.given import GivenSample, Modalities, as_samples, is_sample
from medzoo.data.labels import probabilities
from medzoo.data.operating_points import with_calls
from medzoo.data.regions.evidence import GivenRegions
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.export.files.integrity import check
from medzoo.export.runtime.bags import COUNTS, alone, run_bags
from medzoo.export.runtime.batch_session import BatchSession, images_per_piece
from medzoo.export.runtime.beside import Beside, regions_of
from medzoo.export.runtime.binding import ROWS_OF_A_BATCH, blank_feed, check_batch, is_tensor, run_bound, run_parts
from medzoo.export.runtime.cases import predict_means
from medzoo.export.runtime.inputs import class_vectors, embedded, no_rows, pixel_bytes, unit_means
from medzoo.export.runtime.metadata import FileMetadata
from medzoo.export.runtime.providers import PROVIDERS, SessionSettings
from medzoo.export.runtime.samples import feed_of, stream_samples
from medzoo.export.runtime.stream import MAX_BYTES, Image, OnError, Prediction, stream_batches

TAKE_EACH = f"{GIVE_A_FRAME}, or medzoo predict --frames members"
"""What is done about a file of several frames."""
__all__ = ["PROVIDERS", "Image", "OnnxModel", "Prediction", "probabilities"]


class OnnxModel:
    """An exported model: images in, named outputs out.

    Args:
        path: A file written by `medzoo export`; its checksum is verified first, and that of its weights' file if it has one.
        provider: `cpu`, `cuda`, `tensorrt` or `openvino`; one that does not truly run is an error, never a quiet fall back.
        threads: CPU threads; None: the cores this process may use, in a container those that its quota pays for.
        device_id: Number of the GPU.
        inter_op_threads: Operators that may run at once; None: one after another.
        engine_cache: Folder where TensorRT keeps its engines; None: they are built anew.
        fp16: Let TensorRT compute in half precision.
        split_batches: Let `predict`, `stream` and `embed_texts` run batches as small pieces side by side, a thread each: faster,
            and the weights are held twice. Only on the CPU, of files up to 1 GiB, without `inter_op_threads`; not for torch
            tensors and `run_batch`, which are bound in place. False: the whole batch at once.
        tf32: Let CUDA multiply float32 in TF32: faster, with 3 decimal digits, and not what the file was proven with.

    Attributes:
        spec: The model's spec, as in `spec.json`.
        labels: What the columns of `logits` and `probabilities` mean; None for a model without, or of several targets.
        targets: Of several targets what `<target>.logits` and `<target>.probabilities` mean; empty of other models.
        outputs: Output names.
        inputs: Input names.
        takes, gives: Inputs and outputs as ONNX Runtime describes them: name, type, shape.
        points: Thresholds that travel with the model, by which `predict` adds `calls`; None: it has none.
        calibrator: What `logits` and `probabilities` have passed; None of a file with the model's own.
        conformal: Coverage and thresholds of `prediction_set` or `prediction_interval`; None of a file without.
        modalities: What a model of several takes, and its inputs by name; None of a model of one image.
        shown: What members of a bag may show, by word; empty of a model that reads nothing of it.
        settings: Where it runs.

    Raises:
        OnnxFileError: If the file is damaged, altered or not medzoo's, or wants to read files that are not its own.
        ProviderError: If the provider does not run; names what is missing.
        ConfigError: If an option is out of range or of another provider.
        MissingDependencyError: If ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        device_id: int = 0,
        inter_op_threads: int | None = None,
        engine_cache: str | Path | None = None,
        fp16: bool = False,
        split_batches: bool = True,
        tf32: bool = False,
    ) -> None:
        folder = None if engine_cache is None else Path(engine_cache)
        self.settings = SessionSettings(provider, device_id, threads, inter_op_threads, folder, fp16, split_batches, tf32)
        check(Path(path))
        self._batches = BatchSession(path, self.settings)
        self._session = self._batches.session
        about = FileMetadata.read(path, self._session.get_modelmeta().custom_metadata_map)
        self.spec, self.labels, self.targets = about.spec, about.labels, about.targets
        self.outputs, self.points, self._tokenizer = about.outputs, about.points, about.tokenizer
        self.takes, self.gives = self._session.get_inputs(), self._session.get_outputs()
        about.require_fitting(path, self.gives)
        self.inputs: tuple[str, ...] = tuple(given.name for given in self.takes)
        self.calibrator, self.conformal = about.calibrator, about.conformal
        self._preprocess: dict[str, Any] = self.spec["preprocess"]
        self._piece = images_per_piece(self._preprocess["size"] if "image" in self.inputs else ())
        self.modalities = Modalities.of_spec(self.spec, about.texts)
        self.shown: tuple[str, ...] = tuple(self.spec["arguments"]["bag"].get("views", ())) if self.takes_bags else ()

    def predict(
        self,
        images: Sequence[Image] | NDArray[Any],
        *,
        batch_size: int = 32,
        class_embeddings: NDArray[np.float32] | None = None,
        concept_values: Corrections | None = None,
        concept_mask: Corrections | None = None,
        regions: GivenRegions | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run images of any sizes; those of one size share batches. For more than fit into memory: `stream`.

        Args:
            images: Paths, encoded bytes, frames of them, Pillow images (of a model of volumes: paths or bytes of NIfTI, turned as
                in training, or of files of several frames where it was trained with `data.frames=volume`),
                or arrays (H, W), (H, W, C) (volumes: (D, H, W), (D, H, W, C)), uint8 in 0..255 or float32 in 0..1; or one array
                of them; or a torch tensor as `run_batch` takes. Nothing is rescaled. Of a model of several modalities a sample by
                name, or a list of them: `{"image": ..., "report": "...", "inputs": {...}}`, where what is left out is missing;
                of one trained with `data.channel_columns` the images of the channels by name, or one that holds them all.
            batch_size: Images a run.
            class_embeddings: (K, E) unit vectors, for a file that takes them (`zeroshot_open.onnx`).
            concept_values: Corrected concepts of a bottleneck, in 0..1: by name (`{"lesion": 1}`) for all images, or (N, M), or
                one row for all; see `concepts`.
            concept_mask: With rows of values: 1 where a concept is corrected, else 0.
            regions: A part of the image that concepts lose, or all that they keep: `{"remove": [x, y, width, height], "only":
                ["lesion"]}` for all images, or a list, with None for nothing; `medzoo.data.regions.evidence.GivenRegions`.

        Returns:
            Output name → array whose first dimension is the images, in the order given; of a model with operating points
            (`points`) also `calls`, (N, points, K): 1 where a class is called, else 0; NaN where it has no threshold.

        Raises:
            ImageError: If an image cannot be read or has the wrong shape, type or range, or it is a single image.
            ConfigError: If the batch size is below 1, or corrections or regions do not fit the model or the images.
            OnnxFileError: If the file wants class vectors and none are given, or the other way round, or takes no images.
        """
        images = as_samples(images) if is_sample(images) else images
        require_several(images, len(self._preprocess["size"]))
        if not hasattr(images, "__len__"):
            raise ImageError("predict takes a list of images, or one array of them; for an iterator use stream")
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size} must be at least 1")
        beside = self._beside(len(images), class_embeddings, concept_values, concept_mask, regions)
        if is_tensor(images):
            return self._predict_tensor(images, batch_size, beside)
        rows = [prediction.outputs for prediction in self._stream(images, beside, batch_size=batch_size)]
        found = {name: np.stack([row[name] for row in rows]) if rows else no_rows(self._session, name) for name in self.outputs}
        return with_calls(found, self.points)

    def stream(
        self,
        images: Iterable[Image],
        *,
        batch_size: int = 32,
        on_error: OnError = "stop",
        window: int | None = None,
        max_bytes: int = MAX_BYTES,
        class_embeddings: NDArray[np.float32] | None = None,
        concept_values: Corrections | None = None,
        concept_mask: Corrections | None = None,
        regions: GivenRegions | None = None,
    ) -> Iterator[Prediction]:
        """Run any number of images with bounded memory; files are decoded ahead while the graph computes.

        Args:
            images: As for `predict`, from any iterable; no more than a window of them is held.
            batch_size: Images a run; those of one size share batches.
            on_error: `stop` raises at the first image that cannot be read; `skip` yields its error in its place.
            window: Most images held at once, at least a batch; None: four batches.
            max_bytes: Most bytes of their pixels; batches of large photographs are smaller for it.
            class_embeddings: (K, E) unit vectors, for a file that takes them.
            concept_values: As for `predict`, for all images alike.
            concept_mask: As for `predict`.
            regions: As for `predict`.

        Returns:
            An iterator of one `Prediction` an image, in the order of the input; `error` says why one was skipped.

        Raises:
            ImageError: If it is a single image. While iterating: an image cannot be read or run and `on_error` is `stop`; names
                the file, else the place.
            OnnxFileError: If the file takes class vectors and none are given, or the other way round, or takes no images.
            ConfigError: If corrections do not fit the model. While iterating: a number is below 1, or the window smaller than a
                batch.
        """
        require_several(images, len(self._preprocess["size"]))
        extra: dict[str, Any] = class_vectors(self._session, class_embeddings)
        extra |= check_corrections(1, self.concepts, concept_values, concept_mask)
        beside = Beside(extra, {}, regions_of(self._session, self.concepts, None, regions))
        return self._stream(images, beside, batch_size=batch_size, on_error=on_error, window=window, max_bytes=max_bytes)

    def answer(
        self, pixels: NDArray[Any], *, class_embeddings: NDArray[np.float32] | None = None,
        concept_values: Corrections | None = None, concept_mask: Corrections | None = None, regions: GivenRegions | None = None
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """Run a batch of pixels that `read` returned, all of one shape, (N, H, W, C), as `predict` runs its own; see there."""
        check_batch(pixels, self._preprocess)
        beside = self._beside(len(pixels), class_embeddings, concept_values, concept_mask, regions)
        return self._answer(beside, pixels, range(len(pixels)))

    def answer_samples(self, samples: Sequence[GivenSample]) -> dict[str, NDArray[Any]]:
        """Run a batch of samples that `modalities.read` returned, images of a view all of one shape, as `predict` does."""
        assert self.modalities is not None
        feed = feed_of(samples, self.modalities)
        return with_calls(self._batches.run(self.outputs, feed, list(feed), self._piece), self.points)

    def answer_bags(self, bags: Sequence[Any], batch_size: int, read: Any = np.asarray) -> dict[str, NDArray[Any]]:
        """Run bags as `predict_cases` does, of pixels that `read` returned; see there."""
        names = self.spec["data"].get("row_names")
        return with_calls(run_bags(bags, self._session, self.outputs, read, batch_size, self.shown, names), self.points)

    def run_batch(self, images: Any, *, class_embeddings: NDArray[np.float32] | None = None) -> dict[str, Any]:
        """Run one batch in place by I/O binding; outputs stay on the device.

        Args:
            images: (N, H, W, C), volumes (N, D, H, W, C), of the model's channels and type (see `spec["preprocess"]`): a NumPy
                array, or a contiguous torch tensor on the model's device, which is not copied.
            class_embeddings: (K, E) unit vectors, for a file that takes them.

        Returns:
            Output name → `onnxruntime.OrtValue`; `.numpy()` brings it to the host, `torch.from_dlpack` shares it.

        ImageError if shape or type are not the model's; ProviderError if a torch tensor lies on another device.
        """
        return self._run(images, class_vectors(self._session, class_embeddings))

    def warm_up(self, runs: int = 2, batch_size: int = 1) -> None:
        """Run black images of the model's own size, so that the first real one finds memory, kernels and engines ready.

        Args:
            runs: How often.
            batch_size: As it will be: larger batches are cut (`split_batches`), for which a second session is opened.

        ConfigError if a number is below 1.
        """
        if runs < 1 or batch_size < 1:
            raise ConfigError(f"warm_up takes at least 1 run of at least 1 image, not {runs} of {batch_size}")
        feed = blank_feed(self._session, batch_size, [*self._preprocess["size"], self._preprocess["channels"]])
        for _ in range(runs):
            self._batches.run(self.outputs, feed, [name for name in ROWS_OF_A_BATCH if name in feed], self._piece)

    def _stream(self, images: Iterable[Any], beside: Beside, **options: Any) -> Iterator[Prediction]:
        if self.modalities is not None:
            known = {name: value for name, value in options.items() if name in ("batch_size", "on_error")}
            return stream_samples(images, self.modalities, self.answer_samples, **known)

        run = partial(self._answer, beside)
        return stream_batches(images, self.read, run, measure=lambda image: pixel_bytes(image, self._preprocess), **options)

    def _beside(self, count: int, vectors: Any, values: Any, mask: Any, regions: GivenRegions | None) -> Beside:
        """Return what stands beside so many images, checked."""
        every, rows = class_vectors(self._session, vectors), check_corrections(count, self.concepts, values, mask)
        return Beside(every, rows, regions_of(self._session, self.concepts, count, regions))

    def _answer(self, beside: Beside, pixels: NDArray[Any], places: Sequence[int]) -> dict[str, NDArray[Any]]:
        rows = beside.of(places, pixels.shape[1:-1])
        if self.takes_bags:  # each image a bag of its own
            rows |= alone(self.inputs, len(pixels))
        found = self._batches.run(self.outputs, {"image": pixels, **beside.every, **rows}, ["image", *rows], self._piece)
        found |= {name: found[name][:, None] for name in ("attention",) if name in found}
        return beside.checked(with_calls(found, self.points))

    def _predict_tensor(self, images: Any, batch_size: int, beside: Beside) -> dict[str, NDArray[Any]]:
        def run(part: Any, places: range) -> dict[str, Any]:
            return self._run(part, {**beside.every, **beside.of(places, tuple(part.shape[1:-1]))})

        found = run_parts(images, batch_size, run) or {name: no_rows(self._session, name) for name in self.outputs}
        return with_calls(beside.checked(found), self.points)

    def _run(self, images: Any, extra: dict[str, Any]) -> dict[str, Any]:
        check_batch(images, self._preprocess)
        device = "cuda" if self.settings.on_gpu else "cpu"
        return run_bound(self._session, {"image": images, **extra}, self.outputs, device, self.settings.device_id)

    @property
    def dimensions(self) -> int:
        """2 for a model of images, 3 of volumes."""
        return len(self._preprocess["size"])

    @property
    def frames(self) -> str | None:
        """What became of files of several frames in training: `members`, `volume`; None: they were refused."""
        return cast("str | None", self.spec["data"].get("frames"))

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in the order of `concept_values`; empty for a model without."""
        return tuple((self.spec.get("concepts") or {"names": ()})["names"])

    @property
    def takes_bags(self) -> bool:
        """Whether a sample is a bag of any number of members: `predict_cases` then pools their features."""
        return COUNTS in self.inputs

    def embed_texts(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Return (N, E) unit embeddings of texts, with a text tower's file; longer ones are cut (`tokenizer.truncated`).

        OnnxFileError if the file is no text tower; ConfigError if there is no text, one is empty, or the batch size is below 1.
        """
        tokenizer = self.tokenizer

        def run(part: Sequence[str]) -> NDArray[np.float32]:
            return self._batches.run(self.outputs[:1], {"tokens": tokenizer(part)}, ["tokens"], self._piece)[self.outputs[0]]

        return embedded(texts, batch_size, run)

    def class_embeddings(self, classes: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """Return (K, E) class vectors: the unit mean of each class's prompt embeddings, with a text tower's file.

        `classes` are class → its prompts, at least one each; ConfigError if there is no class, or one has no prompt.
        """
        return unit_means([self.embed_texts(list(prompts)) for prompts in classes.values()])

    @property
    def tokenizer(self) -> Tokenizer:
        """The text tower's tokenizer; raises OnnxFileError if the file has none."""
        if self._tokenizer is None:
            raise OnnxFileError("this file embeds no text; open text.onnx, which medzoo export writes beside it")
        return self._tokenizer

    def predict_cases(self, cases: Sequence[Sequence[Image]], *, batch_size: int = 32) -> dict[str, NDArray[Any]]:
        """Run cases of one or several photographs each: logits are averaged over a case's photographs, as in training.

        Where a bottleneck's classes are not linear in the concepts' logits, those are averaged. Bags are pooled inside the graph.

        Args:
            cases: Images of each case, as for `predict`, or `{"images": ..., "views": ["PA"]}`; of rows (n, F) arrays or files.
            batch_size: Images a run; a larger bag runs alone.

        Returns:
            `logits` and `probabilities`, (N cases, K), in the order given; `calls` as `predict` does; of a file of bags also
            `attention` (N, V), where members are weighed by it, NaN where a bag has no such member.

        Raises:
            ImageError: If a case has no image, or an image cannot be read.
            OnnxFileError: If the model has no labels, or its classes do not follow from averages.
        """
        return self.answer_bags(cases, batch_size, self.read) if self.takes_bags else predict_means(self, cases, batch_size)

    def read(self, image: Image) -> NDArray[Any]:
        """Return one image as the graph takes it: (H, W, C) or (D, H, W, C) of the model's channels and type."""
        wanted = self._preprocess
        return read_as_trained(
            image, self.spec["data"], channels=wanted["channels"], dtype=wanted["dtype"], dimensions=self.dimensions,
            remedy=TAKE_EACH,
        )  # fmt: skip
