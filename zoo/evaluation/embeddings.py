"""The embeddings file: where a model puts each image and each caption, without the model and without the images.

One row an image with at most one caption, in Parquet: `sample_id, split, group, image_key, text` as text, then `image` and,
where the model embeds captions, `text_embedding` as lists of one fixed width; then `length`, where vectors were scaled to 1, and
what is known of the image, `target.<name>` and `subgroup.<name>` as in the predictions file. The schema's metadata under `medzoo`
holds the width, the spec's hash, the label space and details; files of before have fewer columns and are read as well. Retrieval
is scored from it (`medzoo.evaluation.retrieval`, `medzoo.evaluation.nearest`) and images are searched in it
(`medzoo.commands.search`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.metrics import Floats
from medzoo.store.storage import write_file

FORMAT = 1
KIND = "embeddings"
TILE = 2048
"""Rows compared with rows at once: 32 MiB of similarities, whatever the number of images."""

_TEXTS = ("sample_id", "split", "group", "image_key", "text")
_ARRAYS = (*_TEXTS, "image", "text_embedding", "length", "targets")
_UNIT_TOLERANCE = 1e-3
"""How far a length may be from 1: a vector normalised in float16 is off by up to half of this."""
_GRID = 2**30
_ROWS = 2**32


@dataclass(frozen=True)
class Embeddings:
    """What a model made of each image and caption. Checked when made.

    Attributes:
        sample_id: (N,) text.
        split: (N,) train, val or test.
        group: (N,) text; the unit no split may cut.
        image: (N, E) float32 unit vectors.
        image_key: (N,) text: which image a row shows. Rows of one image (with several captions) share it.
        text: (N,) captions; empty text where there is none.
        text_embedding: (N, E) float32 unit vectors, a row of NaN where there is no caption; None for a model without a text
            encoder.
        spec_hash: SHA-256 of the model's spec.
        details: Further facts, JSON-ready. `split_unit` (what a group is: `patient`, `image`, ...) enters the retrieval report.
        length: (N,) float32, what an image's features were divided by to have length 1; None: the model gives unit vectors.
        labels: What the columns of `targets` mean; None where the data have no labels.
        targets: (N, K) float32, NaN where missing.
        subgroups: (N rows) one column a subgroup; None: the file has none.

    Raises:
        EvaluationError: If shapes or types differ from these, or a vector is not finite or not of length 1.
    """

    sample_id: NDArray[Any]
    split: NDArray[Any]
    group: NDArray[Any]
    image: NDArray[np.float32]
    image_key: NDArray[Any]
    text: NDArray[Any]
    text_embedding: NDArray[np.float32] | None = None
    spec_hash: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    length: NDArray[np.float32] | None = None
    labels: LabelSpace | None = None
    targets: NDArray[np.float32] | None = None
    subgroups: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.dtype != np.float32 or 0 in self.image.shape:
            raise EvaluationError(f"image embeddings are {self.image.dtype} {list(self.image.shape)}, not float32 [rows, width]")
        for name in _TEXTS:
            values = getattr(self, name)
            if values.shape != (len(self.image),) or not all(isinstance(value, str) for value in values):
                raise EvaluationError(f"{name} is not one text for each of the {len(self.image)} image embeddings")
        _check_unit("image", self.image, self.sample_id, np.ones(len(self.image), dtype=bool))
        width = None if self.labels is None else self.labels.width
        if (width is None) != (self.targets is None) or (self.targets is not None and self.targets.shape != (len(self), width)):
            raise EvaluationError(f"targets are not {width} values for each of the {len(self)} image embeddings")
        if self.text_embedding is None:
            return
        if self.text_embedding.shape != self.image.shape or self.text_embedding.dtype != np.float32:
            shape, kind = list(self.text_embedding.shape), self.text_embedding.dtype
            raise EvaluationError(f"text embeddings are {kind} {shape}, not float32 {list(self.image.shape)} as the images are")
        _check_unit("text", self.text_embedding, self.sample_id, self.captioned)

    def __len__(self) -> int:
        return len(self.image)

    @property
    def width(self) -> int:
        """Values in a vector (E)."""
        return int(self.image.shape[1])

    @cached_property
    def captioned(self) -> NDArray[np.bool_]:
        """(N,) whether a row has a caption."""
        return np.array([bool(text) for text in self.text])

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """(I,) the first row of every distinct image, ascending; the image is compared by that row's vector."""
        return np.flatnonzero(~pd.Series(self.image_key).duplicated().to_numpy()).astype(np.int64)

    def of_split(self, *splits: str) -> Embeddings:
        """Return the rows of one split, or of several; UnknownNameError if there is none of one."""
        for split in splits:
            if split not in self.split:
                raise UnknownNameError("split", split, set(map(str, self.split)), where=" in the embeddings")
        return self.take(np.array([value in splits for value in self.split]))

    def take(self, keep: NDArray[Any]) -> Embeddings:
        """Return the rows where `keep` (N,) holds, or those that it counts."""
        chosen: dict[str, Any] = {name: None if getattr(self, name) is None else getattr(self, name)[keep] for name in _ARRAYS}
        known = None if self.subgroups is None else self.subgroups[keep] if keep.dtype == bool else self.subgroups.iloc[keep]
        return replace(self, **chosen, subgroups=None if known is None else known.reset_index(drop=True))

    @property
    def features(self) -> NDArray[np.float32]:
        """(N, E) image vectors as the model gave them, of their own length."""
        return self.image if self.length is None else self.image * self.length[:, None]

    def nearest(self, query: NDArray[Any], k: int) -> tuple[NDArray[np.int64], Floats]:
        """Find the images most like a vector by cosine similarity; an image of several rows counts once, by its first.

        Exact search over tiles, so memory stays bounded. Similarities are rounded to a grid of 2⁻³⁰ (about 1e-9), so that
        equal vectors tie whatever the order of summation, and ties go to the earlier row.

        Args:
            query: (M, E) finite vectors of any length but 0.
            k: How many to find, 1 to the number of distinct images.

        Returns:
            (M, k) rows of these embeddings, most like first; and (M, k) their similarities in −1..1.

        Raises:
            EvaluationError: If a query is not finite, is zero or has another width, or there are fewer than k images.
        """
        if query.ndim != 2 or query.shape[1] != self.width:
            raise EvaluationError(
                f"query of shape {list(query.shape)} is not [queries, {self.width}], the width of the embeddings"
            )
        if not np.isfinite(query).all() or not query.any(axis=1).all():
            raise EvaluationError("a query holds NaN or infinite values, or zeros alone; it has no direction to compare")
        gallery = self.first_rows
        if not 1 <= k <= len(gallery):
            raise EvaluationError(f"cannot find the {k} nearest of {len(gallery)} distinct images; k must be 1 to {len(gallery)}")
        found = np.empty((len(query), k), dtype=np.int64)
        for start in range(0, len(query), TILE):
            block = unit_rows(query[start : start + TILE])
            best = np.empty((len(block), 0), dtype=np.int64)
            for first in range(0, len(gallery), TILE):
                rows = gallery[first : first + TILE]
                level = np.rint(block @ unit_rows(self.image[rows]).T * _GRID).astype(np.int64)
                # Similarity and row in one number: a larger one is more like, or as like and earlier; none are equal.
                best = np.concatenate([best, level * _ROWS + (_ROWS - 1 - rows)], axis=1)
                if best.shape[1] > k:
                    best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:]
            found[start : start + TILE] = np.sort(best, axis=1)[:, ::-1]
        return _ROWS - 1 - found % _ROWS, (found // _ROWS) / _GRID

    def write(self, path: Path) -> None:
        """Write the file in one step; TrainingError if it cannot be written."""
        columns: dict[str, Any] = {name: pa.array(list(map(str, getattr(self, name))), pa.string()) for name in _TEXTS}
        columns["image"] = _vectors(self.image)
        if self.text_embedding is not None:
            columns["text_embedding"] = _vectors(self.text_embedding)
        about = {"format": FORMAT, "kind": KIND, "width": self.width, "spec": self.spec_hash, "details": dict(self.details)}
        if self.length is not None:
            columns["length"] = pa.array(self.length)
        if self.labels is not None and self.targets is not None:
            columns |= {f"target.{name}": pa.array(self.targets[:, k]) for k, name in enumerate(self.labels.names)}
            about["labels"] = self.labels.to_dict()
        if self.subgroups is not None:
            columns |= {f"subgroup.{name}": pa.array(column, from_pandas=True) for name, column in self.subgroups.items()}
        table = pa.table(columns).replace_schema_metadata({b"medzoo": json.dumps(about).encode("utf-8")})
        content = io.BytesIO()
        pq.write_table(table, content, use_dictionary=list(_TEXTS), write_page_checksum=True)  # vectors do not repeat
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> Embeddings:
        """Read an embeddings file.

        Raises:
            EvaluationError: If it is missing, damaged, not medzoo's, of a newer format, or its vectors have the wrong width.
        """
        if not path.is_file():
            raise EvaluationError(
                f"no embeddings file at {path}; medzoo evaluate run=... evaluation.embeddings=true writes a run's"
            )
        try:
            # Not read_table: it would take folders named key=value, as those of sweeps are, for columns.
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                about = _about(path, file.schema_arrow.metadata)
                table = file.read()
            texts: dict[str, Any] = {name: np.array(table[name].to_pylist(), dtype=object) for name in _TEXTS}
            image = _matrix(path, table, "image", about["width"])
            embedded = "text_embedding" in table.column_names
            text_embedding = _matrix(path, table, "text_embedding", about["width"]) if embedded else None
            spec_hash, details = str(about["spec"]), dict(about["details"])
            known = _known(table, about)
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise EvaluationError(f"{path} is damaged or not a medzoo embeddings file: {type(error).__name__}") from error
        try:
            return cls(image=image, text_embedding=text_embedding, spec_hash=spec_hash, details=details, **texts, **known)
        except EvaluationError as error:
            raise EvaluationError(f"{path} is damaged: {error}") from error


def unit_rows(vectors: NDArray[Any]) -> Floats:
    """Return (N, E) finite vectors, none of them zero, as float64 scaled to length 1, so that a product of two is a cosine.

    In float64 the product of two float32 numbers is exact, so that equal vectors are equally alike to about 1e-15.
    """
    exact = np.asarray(vectors, dtype=np.float64)
    scaled: Floats = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return scaled


def _check_unit(kind: str, vectors: NDArray[np.float32], names: NDArray[Any], present: NDArray[np.bool_]) -> None:
    squared = np.einsum("ne,ne->n", vectors, vectors)
    bad = np.where(present, ~(np.abs(np.sqrt(squared) - 1) <= _UNIT_TOLERANCE), ~np.isnan(squared))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        found = f"has length {np.sqrt(squared[row]):g}, not 1" if present[row] else "stands without a caption; NaN belongs there"
        raise EvaluationError(f"the {kind} embedding of {names[row]!r} {found} ({int(bad.sum())} such rows)")


def _vectors(values: NDArray[np.float32]) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def _about(path: Path, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    described = json.loads((metadata or {})[b"medzoo"])
    if not isinstance(described, dict) or described.get("kind") != KIND:
        raise EvaluationError(f"{path} is a medzoo file, but not one of embeddings")
    if described["format"] != FORMAT:
        raise EvaluationError(
            f"{path} has format {described['format']}, this medzoo reads {FORMAT}; update medzoo or write it again"
        )
    return described


def _known(table: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says of its images beside where they are; files of before say nothing."""
    known: dict[str, Any] = {}
    if "length" in table.column_names:
        known["length"] = table["length"].to_numpy().astype(np.float32)
    if about.get("labels") is not None:
        labels = LabelSpace.from_dict(about["labels"])
        columns = [table[f"target.{name}"].to_numpy() for name in labels.names]
        known |= {"labels": labels, "targets": np.stack(columns, axis=1).astype(np.float32)}
    named = [name for name in table.column_names if name.startswith("subgroup.")]
    if named:
        known["subgroups"] = table.select(named).to_pandas().rename(columns=lambda name: name.removeprefix("subgroup."))
    return known


def _matrix(path: Path, table: Any, name: str, width: int) -> NDArray[np.float32]:
    column, wanted = table[name], pa.list_(pa.float32(), width)
    if column.type != wanted or column.null_count:
        missing = f", {column.null_count} missing" if column.null_count else ""
        raise EvaluationError(f"{path}: column {name} holds {column.type}{missing}; the file promises {wanted}")
    parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)
