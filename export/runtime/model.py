"""Running an exported file with NumPy, Pillow and ONNX Runtime alone: no torch, and no preprocessing of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medzoo.data.corrections import Corrections, check_corrections
from medzoo.data.errors import ConfigError, ImageError, OnnxFileError
from medzoo.data.images.decode import GIVE_A_FRAME, read_image, require_several
from medzoo.data.images.pixels import PixelType
from medzoo.data.labels import LabelSpace, probabilities
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.export.files.integrity import check
from medzoo.export.runtime.batch_session import BatchSession, images_per_piece
from medzoo.export.runtime.binding import blank_feed, check_batch, is_tensor, run_bound
from medzoo.export.runtime.cases import mean_of_cases, mean_of_concepts
from medzoo.export.runtime.inputs import check_class_embeddings, pixel_bytes, unit_means
from medzoo.export.runtime.providers import PROVIDERS, SessionSettings
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
        labels: What the columns of `logits` and `probabilities` mean; None for a model without.
        outputs: Output names.
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
        metadata = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("medzoo.format") != "1":
            raise OnnxFileError(f"{path} has format {metadata.get('medzoo.format')!r}, this medzoo reads '1'; update medzoo")
        self.spec: dict[str, Any] = json.loads(metadata["medzoo.spec"])
        labels = json.loads(metadata["medzoo.labels"])
        self.labels = None if labels is None else LabelSpace.from_dict(labels)
        self.outputs: tuple[str, ...] = tuple(json.loads(metadata["medzoo.outputs"]))
        self.inputs: tuple[str, ...] = tuple(given.name for given in self._session.get_inputs())
        self._preprocess: dict[str, Any] = self.spec["preprocess"]
        self._piece = images_per_piece(self._preprocess["size"] if "image" in self.inputs else ())
        tokenizer = metadata.get("medzoo.tokenizer")
        self._tokenizer = None if tokenizer is None else Tokenizer.from_dict(json.loads(tokenizer))

    def predict(
        self,
        images: Sequence[Image] | NDArray[Any],
        *,
        batch_size: int = 32,
        class_embeddings: NDArray[np.float32] | None = None,
        concept_values: Corrections | None = None,
        concept_mask: Corrections | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run images of any sizes; those of one size share batches. For more than fit into memory: `stream`.

        Args:
            images: Paths, encoded bytes, frames of them, Pillow images (of a model of volumes: paths or bytes of NIfTI, turned as
                in training, or of files of several frames where it was trained with `data.frames=volume`),
                or arrays (H, W), (H, W, C) (volumes: (D, H, W), (D, H, W, C)), uint8 in 0..255 or float32 in 0..1; or one array
                of them; or a torch tensor as `run_batch` takes. Nothing is rescaled.
            batch_size: Images a run.
            class_embeddings: (K, E) unit vectors, for a file that takes them (`zeroshot_open.onnx`).
            concept_values: Corrected concepts of a bottleneck, in 0..1: by name (`{"lesion": 1}`) for all images, or (N, M), or
                one row for all; see `concepts`.
            concept_mask: With rows of values: 1 where a concept is corrected, else 0.

        Returns:
            Output name → array whose first dimension is the images, in the order given.

        Raises:
            ImageError: If an image cannot be read or has the wrong shape, type or range, or it is a single image.
            ConfigError: If the batch size is below 1, or corrections do not fit the model or the images.
            OnnxFileError: If the file takes class vectors and none are given, or the other way round, or takes no images.
            ProviderError: If a torch tensor lies on another device than the model.
        """
        require_several(images, len(self._preprocess["size"]))
        if not hasattr(images, "__len__"):
            raise ImageError("predict takes a list of images, or one array of them; for an iterator use stream")
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size} must be at least 1")
        extra = self._extra(class_embeddings)
        corrections = check_corrections(len(images), self.concepts, concept_values, concept_mask)
        if is_tensor(images):
            return self._predict_tensor(images, batch_size, extra, corrections)
        rows = [prediction.outputs for prediction in self._stream(images, extra, corrections, batch_size=batch_size)]
        return {name: np.stack([row[name] for row in rows]) if rows else self._nothing(name) for name in self.outputs}

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
        extra = {**self._extra(class_embeddings), **check_corrections(1, self.concepts, concept_values, concept_mask)}
        return self._stream(images, extra, {}, batch_size=batch_size, on_error=on_error, window=window, max_bytes=max_bytes)

    def run_batch(self, images: Any, *, class_embeddings: NDArray[np.float32] | None = None) -> dict[str, Any]:
        """Run one batch in place by I/O binding; outputs stay on the device.

        Args:
            images: (N, H, W, C), volumes (N, D, H, W, C), of the model's channels and type (see `spec["preprocess"]`): a NumPy
                array, or a contiguous torch tensor on the model's device, which is not copied.
            class_embeddings: (K, E) unit vectors, for a file that takes them.

        Returns:
            Output name → `onnxruntime.OrtValue`; `.numpy()` brings it to the host, `torch.from_dlpack` shares it.

        Raises:
            ImageError: If shape or type are not the model's.
            ProviderError: If a torch tensor lies on another device.
            OnnxFileError: As for `predict`.
        """
        return self._run(images, self._extra(class_embeddings))

    def warm_up(self, runs: int = 2, batch_size: int = 1) -> None:
        """Run black images of the model's own size, so that the first real one finds memory, kernels and engines ready.

        Args:
            runs: How often.
            batch_size: As it will be: larger batches are cut (`split_batches`), for which a second session is opened.

        Raises:
            ConfigError: If a number is below 1.
        """
        if runs < 1 or batch_size < 1:
            raise ConfigError(f"warm_up takes at least 1 run of at least 1 image, not {runs} of {batch_size}")
        feed = blank_feed(self._session, batch_size, [*self._preprocess["size"], self._preprocess["channels"]])
        rows = [name for name in ("image", "tokens") if name in feed]
        for _ in range(runs):
            self._batches.run(self.outputs, feed, rows, self._piece)

    def _stream(
        self, images: Iterable[Image], extra: dict[str, Any], corrections: dict[str, NDArray[np.float32]], **options: Any
    ) -> Iterator[Prediction]:
        def run(pixels: NDArray[Any], places: list[int]) -> dict[str, NDArray[Any]]:
            rows = {name: np.ascontiguousarray(given[places]) for name, given in corrections.items()}
            return self._batches.run(self.outputs, {"image": pixels, **extra, **rows}, ["image", *rows], self._piece)

        return stream_batches(images, self.read, run, measure=lambda image: pixel_bytes(image, self._preprocess), **options)

    def _predict_tensor(
        self, images: Any, batch_size: int, extra: dict[str, Any], corrections: dict[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[Any]]:
        found: dict[str, list[NDArray[Any]]] = {name: [] for name in self.outputs}
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            rows = {name: given[part] for name, given in corrections.items()}
            for name, value in self._run(images[part], {**extra, **rows}).items():
                found[name].append(value.numpy())
        return {name: np.concatenate(values) if values else self._nothing(name) for name, values in found.items()}

    def _run(self, images: Any, extra: dict[str, Any]) -> dict[str, Any]:
        check_batch(images, self._preprocess)
        device = "cuda" if self.settings.on_gpu else "cpu"
        return run_bound(self._session, {"image": images, **extra}, self.outputs, device, self.settings.device_id)

    def _nothing(self, output: str) -> NDArray[np.float32]:
        """Return what an output is of no image."""
        shape = next(found.shape for found in self._session.get_outputs() if found.name == output)
        return np.zeros((0, *(side if isinstance(side, int) else 0 for side in shape[1:])), np.float32)

    def _extra(self, class_embeddings: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return what every batch takes beside the images."""
        if "image" not in self.inputs:
            raise OnnxFileError("this file takes text, not images; use embed_texts")
        if ("class_embeddings" in self.inputs) != (class_embeddings is not None):
            wants = "needs" if class_embeddings is None else "does not take"
            raise OnnxFileError(f"this file {wants} class_embeddings; see OnnxModel.class_embeddings of the text tower's file")
        if class_embeddings is None:
            return {}
        width = next(given.shape[1] for given in self._session.get_inputs() if given.name == "class_embeddings")
        return {"class_embeddings": check_class_embeddings(class_embeddings, width)}

    @property
    def dimensions(self) -> int:
        """2 for a model of images, 3 of volumes."""
        return len(self._preprocess["size"])

    @property
    def frames(self) -> str | None:
        """What became of files of several frames in training: `members`, `volume`; None: they were refused."""
        said: str | None = self.spec["data"].get("frames")
        return said

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in the order of `concept_values`; empty for a model without."""
        described = self.spec.get("concepts")
        return tuple(described["names"]) if described else ()

    def embed_texts(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Return (N, E) unit embeddings of texts, with a text tower's file; longer ones are cut (`tokenizer.truncated`).

        Raises:
            OnnxFileError: If the file is no text tower.
            ConfigError: If there is no text, or one is empty; names its position. If the batch size is below 1.
            MissingDependencyError: If the `text` extra is not installed.
        """
        tokenizer = self.tokenizer
        if isinstance(texts, str) or not len(texts):
            raise ConfigError("embed_texts takes a list of at least one text")
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size} must be at least 1")
        parts = []
        for start in range(0, len(texts), batch_size):
            feed = {"tokens": tokenizer(list(texts[start : start + batch_size]))}
            parts.append(self._batches.run(self.outputs[:1], feed, ["tokens"], self._piece)[self.outputs[0]])
        return np.concatenate(parts)

    def class_embeddings(self, classes: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """Return (K, E) class vectors: the unit mean of each class's prompt embeddings, with a text tower's file.

        Args:
            classes: Class → its prompts, at least one each.

        Raises:
            ConfigError: If there is no class, or one has no prompt.
        """
        if not classes:
            raise ConfigError("class_embeddings takes at least one class with its prompts")
        return unit_means(self.embed_texts(list(prompts)) for prompts in classes.values())

    @property
    def tokenizer(self) -> Tokenizer:
        """The text tower's tokenizer; raises OnnxFileError if the file has none."""
        if self._tokenizer is None:
            raise OnnxFileError("this file embeds no text; open text.onnx, which medzoo export writes beside it")
        return self._tokenizer

    def predict_cases(self, cases: Sequence[Sequence[Image]], *, batch_size: int = 32) -> dict[str, NDArray[Any]]:
        """Run cases of one or several photographs each: logits are averaged over a case's photographs, as in training.

        Of a concept bottleneck whose classes are not linear in the concepts' logits, those are averaged and the classes follow.

        Args:
            cases: Images of each case; as for `predict`.
            batch_size: Images a run.

        Returns:
            `logits` and `probabilities`, (N cases, K), in the order given.

        Raises:
            ImageError: If a case has no image, or an image cannot be read.
            OnnxFileError: If the model has no labels, or its classes do not follow from averages.
        """
        if self.labels is None:
            raise OnnxFileError("this model has no labels to average over a case")
        lengths = [len(case) for case in cases]
        if 0 in lengths:
            raise ImageError(f"case {lengths.index(0)} has no image")
        outputs = self.predict([image for case in cases for image in case], batch_size=batch_size)
        if self.spec["objective"].get("kind") in ("soft", "hard") and max(lengths, default=1) > 1:
            if self.spec["objective"]["residual"]:
                raise OnnxFileError(
                    "a case's photographs cannot be averaged behind this bottleneck's residual path; use medzoo.load"
                )
            values = mean_of_concepts(outputs["concepts"], lengths)
            first = [case[0] for case in cases]
            outputs = self.predict(first, batch_size=batch_size, concept_values=values, concept_mask=np.ones_like(values))
            return {name: outputs[name] for name in ("logits", "probabilities")}
        return mean_of_cases(outputs["logits"], lengths, self.labels)

    def read(self, image: Image) -> NDArray[Any]:
        """Return one image as the graph takes it: (H, W, C) or (D, H, W, C) of the model's channels and type."""
        channels, dtype = self._preprocess["channels"], cast(PixelType, self._preprocess["dtype"])
        window = self.spec["data"].get("window")
        given = None if window is None else (float(window[0]), float(window[1]))
        return read_image(
            image, channels=channels, dtype=dtype, dimensions=self.dimensions, window=given, frames=self.frames, remedy=TAKE_EACH,
            read_as=self.spec["data"].get("channels"),
        )  # fmt: skip
