"""Running an exported file with NumPy, Pillow and ONNX Runtime alone: no torch, and no preprocessing of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from medzoo.data.decode import PixelType, read_image, same_shape_batches
from medzoo.data.errors import ImageError, MissingDependencyError, OnnxFileError, ProviderError
from medzoo.data.labels import LabelSpace
from medzoo.export.integrity import check

if TYPE_CHECKING:
    from medzoo.data.tokenizer import Tokenizer

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

Image = str | Path | bytes | NDArray[Any]


class OnnxModel:
    """An exported model: images in, named outputs out.

    Args:
        path: A file written by `medzoo export`; its checksum is verified first.
        provider: `cpu`, `cuda` or `tensorrt`; one that does not truly run is an error, never a quiet fall back.
        threads: CPU threads an operator may use; None: ONNX Runtime's choice.

    Attributes:
        spec: The model's spec, as in `spec.json`.
        labels: What the columns of `logits` and `probabilities` mean; None for a model without.
        outputs: Output names.

    Raises:
        OnnxFileError: If the file is damaged, altered or not medzoo's.
        ProviderError: If the provider does not run.
        MissingDependencyError: If ONNX Runtime is not installed.
    """

    def __init__(self, path: str | Path, *, provider: str = "cpu", threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingDependencyError("onnxruntime is not installed; pip install 'medzoo[cpu]' (or [gpu])") from error
        if provider not in PROVIDERS:
            raise ProviderError(f"unknown provider {provider!r}; choose {', '.join(PROVIDERS)}")
        check(Path(path))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        wanted = PROVIDERS[provider]
        if wanted not in onnxruntime.get_available_providers():
            raise ProviderError(f"this onnxruntime was built without {wanted}; install 'medzoo[gpu]', or use provider=cpu")
        if provider != "cpu" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[wanted])
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise OnnxFileError(f"onnxruntime cannot load {path}: {' '.join(str(error).split())[:200]}") from error
        if wanted not in self._session.get_providers():
            raise ProviderError(
                f"{wanted} was asked for and does not run here (no GPU, driver or CUDA libraries); use provider=cpu"
            )
        metadata = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("medzoo.format") != "1":
            raise OnnxFileError(f"{path} has format {metadata.get('medzoo.format')!r}, this medzoo reads '1'; update medzoo")
        self.spec: dict[str, Any] = json.loads(metadata["medzoo.spec"])
        labels = json.loads(metadata["medzoo.labels"])
        self.labels = None if labels is None else LabelSpace.from_dict(labels)
        self.outputs: tuple[str, ...] = tuple(json.loads(metadata["medzoo.outputs"]))
        self.inputs: tuple[str, ...] = tuple(given.name for given in self._session.get_inputs())
        self._preprocess: dict[str, Any] = self.spec["preprocess"]
        self._tokenizer: Tokenizer | None = None
        if "medzoo.tokenizer" in metadata:
            from medzoo.data.tokenizer import Tokenizer

            self._tokenizer = Tokenizer.from_dict(json.loads(metadata["medzoo.tokenizer"]))

    def predict(
        self,
        images: Sequence[Image] | NDArray[Any],
        *,
        batch_size: int = 32,
        class_embeddings: NDArray[np.float32] | None = None,
        concept_values: NDArray[np.float32] | None = None,
        concept_mask: NDArray[np.float32] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run images of any sizes; those of one size share batches.

        Args:
            images: Paths, encoded bytes, or arrays (H, W), (H, W, C) (volumes: (D, H, W), (D, H, W, C)), uint8 in 0..255 or
                float32 in 0..1; or one array of them. Nothing is rescaled.
            batch_size: Images a run.
            class_embeddings: (K, E) unit vectors, for a file that takes them (`zeroshot_open.onnx`).
            concept_values: (N, M) corrected concepts in 0..1, for a concept bottleneck; see `concepts`.
            concept_mask: (N, M), 1 where a concept is corrected.

        Returns:
            Output name → array whose first dimension is the images, in the order given.

        Raises:
            ImageError: If an image cannot be read or has the wrong shape, type or range.
            OnnxFileError: If the file takes class vectors and none are given, or the other way round, or takes no images.
        """
        if "image" not in self.inputs:
            raise OnnxFileError("this file takes text, not images; use embed_texts")
        if ("class_embeddings" in self.inputs) != (class_embeddings is not None):
            wants = "needs" if class_embeddings is None else "does not take"
            raise OnnxFileError(f"this file {wants} class_embeddings; see OnnxModel.class_embeddings of the text tower's file")
        extra = {} if class_embeddings is None else {"class_embeddings": np.ascontiguousarray(class_embeddings, np.float32)}
        corrections = self._corrections(len(images), concept_values, concept_mask)
        pixels = [self.read(image) for image in images]
        found: list[list[NDArray[Any]]] = [[] for _ in pixels]
        for chosen in same_shape_batches(pixels, batch_size):
            results = self._session.run(list(self.outputs), self._feed(pixels, chosen, extra, corrections))
            for place, index in enumerate(chosen):
                found[index] = [result[place] for result in results]
        width = 0 if self.labels is None else self.labels.width
        if not pixels:
            return {name: np.zeros((0, width), np.float32) for name in self.outputs}
        return {name: np.stack([row[k] for row in found]) for k, name in enumerate(self.outputs)}

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in the order of `concept_values`; empty for a model without."""
        described = self.spec.get("concepts")
        return tuple(described["names"]) if described else ()

    def _corrections(self, count: int, values: Any, mask: Any) -> dict[str, NDArray[np.float32]]:
        if values is None and mask is None:
            return {}
        if not self.concepts:
            raise OnnxFileError("this file has no concepts to correct")
        if values is None or mask is None:
            raise OnnxFileError("give concept_values and concept_mask together")
        found = {"concept_values": np.asarray(values, np.float32), "concept_mask": np.asarray(mask, np.float32)}
        for name, given in found.items():
            if given.shape != (count, len(self.concepts)):
                wanted = f"[{count}, {len(self.concepts)}]: one row an image, one column a concept"
                raise OnnxFileError(f"{name} has shape {list(given.shape)}, not {wanted}")
        return found

    @staticmethod
    def _feed(
        pixels: list[NDArray[Any]], chosen: list[int], extra: dict[str, Any], corrections: dict[str, NDArray[np.float32]]
    ) -> dict[str, Any]:
        rows = {name: np.ascontiguousarray(given[chosen]) for name, given in corrections.items()}
        return {"image": np.stack([pixels[i] for i in chosen]), **extra, **rows}

    def embed_texts(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Return (N, E) unit embeddings of texts, with a text tower's file; longer ones are cut (`tokenizer.truncated`).

        Raises:
            OnnxFileError: If the file is no text tower.
            ConfigError: If a text is empty; names its position.
            MissingDependencyError: If the `text` extra is not installed.
        """
        tokenizer = self.tokenizer
        parts = [
            self._session.run([self.outputs[0]], {"tokens": tokenizer(list(texts[start : start + batch_size]))})[0]
            for start in range(0, len(texts), batch_size)
        ]
        embeddings: NDArray[np.float32] = np.concatenate(parts)
        return embeddings

    def class_embeddings(self, classes: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """Return (K, E) class vectors: the unit mean of each class's prompt embeddings, with a text tower's file.

        Args:
            classes: Class → its prompts, at least one each.
        """
        means = [self.embed_texts(list(prompts)).mean(axis=0) for prompts in classes.values()]
        vectors: NDArray[np.float32] = np.stack([mean / np.linalg.norm(mean) for mean in means]).astype(np.float32)
        return vectors

    @property
    def tokenizer(self) -> Tokenizer:
        """The text tower's tokenizer; raises OnnxFileError if the file has none."""
        if self._tokenizer is None:
            raise OnnxFileError("this file embeds no text; open text.onnx, which medzoo export writes beside it")
        return self._tokenizer

    def predict_cases(self, cases: Sequence[Sequence[Image]], *, batch_size: int = 32) -> dict[str, NDArray[Any]]:
        """Run cases of one or several photographs each: logits are averaged over a case's photographs, as in training.

        Args:
            cases: Images of each case; as for `predict`.
            batch_size: Images a run.

        Returns:
            `logits` and `probabilities`, (N cases, K), in the order given.

        Raises:
            ImageError: If a case has no image, or an image cannot be read.
            OnnxFileError: If the model has no labels.
        """
        if self.labels is None:
            raise OnnxFileError("this model has no labels to average over a case")
        empty = [str(place) for place, case in enumerate(cases) if not len(case)]
        if empty:
            raise ImageError(f"case {empty[0]} has no image")
        logits = self.predict([image for case in cases for image in case], batch_size=batch_size)["logits"]
        starts = np.cumsum([0, *(len(case) for case in cases)])[:-1]
        counts = np.array([len(case) for case in cases], dtype=np.float32)[:, None]
        mean = np.add.reduceat(logits, starts, axis=0) / counts if len(cases) else logits
        return {"logits": mean, "probabilities": probabilities(mean, self.labels)}

    def read(self, image: Image) -> NDArray[Any]:
        """Return one image as the graph takes it: (H, W, C) or (D, H, W, C) of the model's channels and type."""
        channels, dtype = self._preprocess["channels"], cast(PixelType, self._preprocess["dtype"])
        window = self.spec["data"].get("window")
        given = None if window is None else (float(window[0]), float(window[1]))
        return read_image(image, channels=channels, dtype=dtype, dimensions=len(self._preprocess["size"]), window=given)


def probabilities(logits: NDArray[Any], labels: LabelSpace) -> NDArray[Any]:
    """Turn (N, K) logits into what they mean: softmax, sigmoid, or the values themselves for regression."""
    if labels.kind == "regression":
        return logits
    if labels.kind == "multilabel":
        odds: NDArray[Any] = 1 / (1 + np.exp(-logits))
        return odds
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[Any] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
