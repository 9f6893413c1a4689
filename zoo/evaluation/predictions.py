"""The predictions file: all that evaluation needs, without the model and without the images.

One row a sample: `sample_id, split, group`, then `target.<name>, logit.<name>, prob.<name>` for every label, then subgroup
columns as `subgroup.<name>`. A concept bottleneck adds `concept.<name>` (the true one), `concept_logit.<name>` and, with a
residual path, `residual_logit.<class>`. The schema's metadata under `medzoo` holds the label space, the split unit, notes and
the spec's hash. Logits are kept because saturated probabilities tie and cannot be recalibrated.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace, sigmoid
from medzoo.store.storage import write_file

FORMAT = 1
_MATRICES = (
    ("target", "targets", "labels"),
    ("logit", "logits", "labels"),
    ("prob", "probabilities", "labels"),
    ("concept", "concept_targets", "concepts"),
    ("concept_logit", "concept_logits", "concepts"),
    ("residual_logit", "residual_logits", "labels"),
)
"""Prefix of the columns, field, and the field that names the columns; in the file's order."""


@dataclass(frozen=True)
class Predictions:
    """What a model said of each sample, and what was true.

    Attributes:
        labels: What the columns mean.
        sample_id: (N,) text.
        split: (N,) train, val or test.
        group: (N,) text.
        targets: (N, K) float32; NaN where missing.
        logits: (N, K) float32.
        probabilities: (N, K) float32.
        subgroups: (N rows) one column a subgroup.
        concepts: What a concept bottleneck predicts on the way; None for other models.
        concept_targets: (N, M) float32, NaN where missing.
        concept_logits: (N, M) float32.
        concept_scale: `logit`, or `score` where concepts rank samples and their sigmoid means nothing.
        residual_logits: (N, K) what the path beside the concepts adds to `logits`.
        spec_hash: SHA-256 of the model's spec.
        split_unit: What a group is (`patient`, `image`, ...).
        notes: Limits that belong in every report.
        details: Further facts of the run (checkpoint, chosen epoch).
    """

    labels: LabelSpace
    sample_id: NDArray[Any]
    split: NDArray[Any]
    group: NDArray[Any]
    targets: NDArray[np.float32]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    subgroups: pd.DataFrame
    concepts: ConceptSpace | None = None
    concept_targets: NDArray[np.float32] | None = None
    concept_logits: NDArray[np.float32] | None = None
    concept_scale: str = "logit"
    residual_logits: NDArray[np.float32] | None = None
    spec_hash: str = ""
    split_unit: str = "image"
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sample_id)

    def of_split(self, split: str) -> Predictions:
        """Return the rows of one split; UnknownNameError if there is none."""
        keep = self.split == split
        if not keep.any():
            raise UnknownNameError("split", split, set(map(str, self.split)), where=" in the predictions")
        return self.take(keep)

    def take(self, keep: NDArray[np.bool_]) -> Predictions:
        """Return the rows where `keep` holds."""
        names = ("sample_id", "split", "group", *(field_name for _, field_name, _ in _MATRICES))
        chosen: dict[str, Any] = {name: None if getattr(self, name) is None else getattr(self, name)[keep] for name in names}
        return replace(self, **chosen, subgroups=self.subgroups[keep].reset_index(drop=True))

    def as_concepts(self) -> Predictions:
        """Return the predicted concepts as independent findings, to be scored as such; EvaluationError if there are none."""
        if self.concepts is None or self.concept_targets is None or self.concept_logits is None:
            raise EvaluationError("these predictions are of a model without concepts")
        return replace(
            self, labels=LabelSpace("multilabel", self.concepts.names), targets=self.concept_targets, logits=self.concept_logits,
            probabilities=sigmoid(self.concept_logits.astype(np.float64)).astype(np.float32), concepts=None, concept_targets=None,
            concept_logits=None, residual_logits=None,
        )  # fmt: skip

    def write(self, path: Path) -> None:
        """Write the file in one step; TrainingError if it cannot be written."""
        columns: dict[str, Any] = {"sample_id": self.sample_id, "split": self.split, "group": self.group}
        for prefix, field_name, space in _MATRICES:
            values, named = getattr(self, field_name), getattr(self, space)
            if values is not None and named is not None:
                columns |= {f"{prefix}.{name}": values[:, place] for place, name in enumerate(named.names)}
        for name in self.subgroups.columns:
            columns[f"subgroup.{name}"] = self.subgroups[name].to_numpy()
        about = {
            "format": FORMAT,
            "labels": self.labels.to_dict(),
            "concepts": None if self.concepts is None else self.concepts.to_dict(),
            "concept_scale": self.concept_scale,
            "spec": self.spec_hash,
            "split_unit": self.split_unit,
            "notes": list(self.notes),
            "details": dict(self.details),
        }
        table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"medzoo": json.dumps(about).encode("utf-8")})
        content = io.BytesIO()
        pq.write_table(table, content)
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read a predictions file; EvaluationError if it is missing, damaged or not medzoo's."""
        if not path.is_file():
            raise EvaluationError(f"no predictions at {path}; make them with medzoo evaluate run=...")
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[b"medzoo"])
            labels = LabelSpace.from_dict(about["labels"])
            frame = table.to_pandas()
            concepts = None if about.get("concepts") is None else ConceptSpace.from_dict(about["concepts"])
            read: dict[str, Any] = {name: frame[name].to_numpy(dtype=object) for name in ("sample_id", "split", "group")}
            for prefix, field_name, space in _MATRICES:
                named = labels if space == "labels" else concepts
                names = [] if named is None else [f"{prefix}.{name}" for name in named.names]
                if names and (prefix != "residual_logit" or set(names) <= set(frame.columns)):
                    read[field_name] = frame[names].to_numpy(dtype=np.float32)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise EvaluationError(f"{path} is damaged or not a medzoo predictions file: {type(error).__name__}") from error
        kept = [c for c in frame.columns if c.startswith("subgroup.")]
        subgroups = frame[kept].rename(columns=lambda c: c.removeprefix("subgroup."))
        return cls(
            **read, labels=labels, subgroups=subgroups, concepts=concepts, concept_scale=about.get("concept_scale", "logit"),
            spec_hash=about["spec"], split_unit=about["split_unit"], notes=tuple(about["notes"]), details=about["details"],
        )  # fmt: skip
