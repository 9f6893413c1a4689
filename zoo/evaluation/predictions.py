"""The predictions file: all that evaluation needs, without the model and without the images.

One row a sample: `sample_id, split, group`, then `target.<name>, logit.<name>, prob.<name>` for every label, then subgroup
columns as `subgroup.<name>` and kept ones, by which rows answer together, as `kept.<name>`. Where the target is a later visit's,
`carried.<name>` is what it is at this one. A concept bottleneck adds
`concept.<name>` (the true one), `concept_logit.<name>` and, with a residual path, `residual_logit.<class>`; one of
embeddings `absent_logit.<class>` and a list `concept_effects`, concept by concept a number a class; one of prototypes a list
`prototype_scores`, concept by concept; attention over bags a list
`attention`, a weight a member. The schema's metadata
under `medzoo` holds the label space, the split unit, notes and the spec's hash. Logits are kept because saturated probabilities
tie and cannot be recalibrated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from medzoo.store.directory import TARGETS
from medzoo.store.parquet import write_parquet

FORMAT = 1
_MATRICES = (
    ("target", "targets", "labels"),
    ("logit", "logits", "labels"),
    ("prob", "probabilities", "labels"),
    ("concept", "concept_targets", "concepts"),
    ("concept_logit", "concept_logits", "concepts"),
    ("residual_logit", "residual_logits", "labels"),
    ("absent_logit", "absent_logits", "labels"),
    ("carried", "carried", "labels"),
)
"""Prefix of the columns, field, and the field that names the columns; in the file's order."""
_OPTIONAL = ("residual_logit", "absent_logit", "carried")
"""Those that a file with labels may lack."""


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
        absent_logits: (N, K) class outputs where every concept is absent, of a bottleneck of embeddings.
        concept_effects: (N, M, K) what each concept adds to them where it is there: `logits` are the former and, times the
            concepts' probabilities, the latter.
        prototype_scores: (N, M · P) scores of each concept's prototypes, of a bottleneck of prototypes.
        carried: (N, K) what the target is at this visit, where it is a later one's; NaN where missing.
        attention: (N, V) weights of the members of a bag, NaN where a bag has no such member; None: nothing weighs them.
        kept: (N rows) further columns, as text, by which rows may answer together; None: there are none.
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
    absent_logits: NDArray[np.float32] | None = None
    concept_effects: NDArray[np.float32] | None = None
    prototype_scores: NDArray[np.float32] | None = None
    carried: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None
    kept: pd.DataFrame | None = None
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
        beside = ("attention", "concept_effects", "prototype_scores")
        names = ("sample_id", "split", "group", *beside, *(field_name for _, field_name, _ in _MATRICES))
        chosen: dict[str, Any] = {name: None if getattr(self, name) is None else getattr(self, name)[keep] for name in names}
        kept = None if self.kept is None else self.kept[keep].reset_index(drop=True)
        return replace(self, **chosen, subgroups=self.subgroups[keep].reset_index(drop=True), kept=kept)

    def take_splits(self, splits: Sequence[str]) -> Predictions:
        """Return the rows of some splits; UnknownNameError if there is no row of one."""
        for split in splits:
            if not (self.split == split).any():
                raise UnknownNameError("split", split, set(map(str, self.split)), where=" in the predictions")
        return self.take(np.isin(self.split.astype(str), list(splits)))

    def as_concepts(self) -> Predictions:
        """Return the predicted concepts as independent findings, to be scored as such; EvaluationError if there are none."""
        if self.concepts is None or self.concept_targets is None or self.concept_logits is None:
            raise EvaluationError("these predictions are of a model without concepts")
        return replace(
            self, labels=LabelSpace("multilabel", self.concepts.names), targets=self.concept_targets, logits=self.concept_logits,
            probabilities=sigmoid(self.concept_logits.astype(np.float64)).astype(np.float32), concepts=None, concept_targets=None,
            concept_logits=None, residual_logits=None, absent_logits=None, concept_effects=None, prototype_scores=None,
            carried=None,
        )  # fmt: skip

    def further_columns(self) -> dict[str, Any]:
        """Return the file's columns of subgroups and of what is kept, which no target has to do with."""
        columns = {f"subgroup.{name}": self.subgroups[name].to_numpy() for name in self.subgroups.columns}
        kept = () if self.kept is None else self.kept.columns
        return columns | {f"kept.{name}": _as_text(self.kept[name]) for name in kept if self.kept is not None}

    def write(self, path: Path) -> None:
        """Write the file in one step; TrainingError if it cannot be written."""
        columns: dict[str, Any] = {"sample_id": self.sample_id, "split": self.split, "group": self.group}
        for prefix, field_name, space in _MATRICES:
            values, named = getattr(self, field_name), getattr(self, space)
            if values is not None and named is not None:
                columns |= {f"{prefix}.{name}": values[:, place] for place, name in enumerate(named.names)}
        if self.attention is not None:
            columns["attention"] = [weights[~np.isnan(weights)].tolist() for weights in self.attention]
        if self.concept_effects is not None:
            columns["concept_effects"] = [effects.ravel() for effects in self.concept_effects]
        if self.prototype_scores is not None:
            columns["prototype_scores"] = list(self.prototype_scores)
        columns |= self.further_columns()
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
        write_parquet(path, columns, about)

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read a predictions file; EvaluationError if it is missing, damaged or not medzoo's."""
        if not path.is_file():
            raise EvaluationError(f"no predictions at {path}; make them with medzoo evaluate run=...")
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[b"medzoo"])
            if several := about.get("targets"):
                raise EvaluationError(
                    f"{path} is of several targets: take {path.parent / TARGETS / next(iter(several))}, or another"
                )
            labels = LabelSpace.from_dict(about["labels"])
            frame = table.to_pandas()
            concepts = None if about.get("concepts") is None else ConceptSpace.from_dict(about["concepts"])
            read: dict[str, Any] = {name: frame[name].to_numpy(dtype=object) for name in ("sample_id", "split", "group")}
            for prefix, field_name, space in _MATRICES:
                named = labels if space == "labels" else concepts
                names = [] if named is None else [f"{prefix}.{name}" for name in named.names]
                if names and (prefix not in _OPTIONAL or set(names) <= set(frame.columns)):
                    read[field_name] = frame[names].to_numpy(dtype=np.float32)
            if "attention" in frame.columns:
                read["attention"] = joined([np.asarray(row, np.float32)[None] for row in frame["attention"]])
            if "concept_effects" in frame.columns and concepts is not None:
                effects = np.array(frame["concept_effects"].tolist(), dtype=np.float32)
                read["concept_effects"] = effects.reshape(len(frame), concepts.width, labels.width)
            if "prototype_scores" in frame.columns:
                read["prototype_scores"] = np.array(frame["prototype_scores"].tolist(), dtype=np.float32)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise EvaluationError(f"{path} is damaged or not a medzoo predictions file: {type(error).__name__}") from error
        subgroups, kept = (
            frame[[c for c in frame.columns if c.startswith(begin)]].rename(columns=lambda c, begin=begin: c.removeprefix(begin))
            for begin in ("subgroup.", "kept.")
        )
        return cls(
            **read, labels=labels, subgroups=subgroups, concepts=concepts, concept_scale=about.get("concept_scale", "logit"),
            kept=kept if len(kept.columns) else None,
            spec_hash=about["spec"], split_unit=about["split_unit"], notes=tuple(about["notes"]), details=about["details"],
        )  # fmt: skip


def _as_text(column: pd.Series) -> NDArray[np.object_]:
    """Return cells as text, whole numbers without a fraction, None where missing: what only names a group has one form."""
    texts = [None if pd.isna(cell) else f"{cell:.15g}" if isinstance(cell, float) else str(cell) for cell in column]
    return np.array(texts, dtype=object)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays one after the other; rows of fewer columns than the widest, such as weights of small bags, end in NaN."""
    widest = max((part.shape[1] for part in parts if part.ndim == 2), default=0)
    if any(part.ndim == 2 and part.shape[1] < widest for part in parts):
        parts = [np.pad(part, ((0, 0), (0, widest - part.shape[1])), constant_values=np.nan) for part in parts]
    return np.concatenate(parts)
