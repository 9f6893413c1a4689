"""What a model of several modalities says when some of them are left out: beside the predictions file, read without the model.

One row a sample: `sample_id`, then `there.<modality>` (0 or 1), then a column `<number>.<class>` of logits for each variant,
which the schema's metadata name: without a modality, only it, and an input shuffled, exchanged between the samples that have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.predictions import Predictions
from medzoo.store.parquet import write_parquet

WITHOUT, ONLY, SHUFFLED = "without", "only", "shuffled"


@dataclass(frozen=True)
class Variants:
    """Logits of one split under each variant.

    Attributes:
        split: Of which.
        sample_id: (N,) text.
        there: Modality → (N,) whether a sample has it.
        logits: (kind, name, repeat) → (N, K); kind one of `WITHOUT`, `ONLY`, `SHUFFLED`, name a modality or an input.
        classes: What the columns mean.
        details: What they were made with: `spec` and `weights`.
    """

    split: str
    sample_id: NDArray[Any]
    there: Mapping[str, NDArray[np.bool_]]
    logits: Mapping[tuple[str, str, int], NDArray[np.float32]]
    classes: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    def of_the_same(self, predictions: Predictions) -> bool:
        """Whether predictions are of the same model with the same weights, and no average over copies."""
        told = {"spec": predictions.spec_hash, "weights": predictions.details.get("weights")}
        if predictions.details.get("tta"):
            return False
        return all(self.details.get(name) == value for name, value in told.items())

    def write(self, path: Path) -> None:
        """Write the file in one step; TrainingError if it cannot be written."""
        columns: dict[str, Any] = {"sample_id": self.sample_id}
        columns |= {f"there.{name}": shown.astype(np.int8) for name, shown in self.there.items()}
        for place, values in enumerate(self.logits.values()):
            columns |= {f"{place}.{name}": values[:, k] for k, name in enumerate(self.classes)}
        about = {
            "split": self.split, "there": list(self.there), "variants": [list(key) for key in self.logits],
            "classes": list(self.classes), "details": dict(self.details),
        }  # fmt: skip
        write_parquet(path, columns, about)

    @classmethod
    def read(cls, path: Path) -> Variants:
        """Read the file; EvaluationError if it is damaged."""
        try:
            table = pq.read_table(path)
            about, frame = json.loads((table.schema.metadata or {})[b"medzoo"]), table.to_pandas()
            classes = tuple(about["classes"])
            logits = {
                (kind, name, int(repeat)): frame[[f"{place}.{one}" for one in classes]].to_numpy(dtype=np.float32)
                for place, (kind, name, repeat) in enumerate(about["variants"])
            }
            there = {name: frame[f"there.{name}"].to_numpy() == 1 for name in about["there"]}
            ids = frame["sample_id"].to_numpy(dtype=object)
            return cls(about["split"], ids, there, logits, classes, about["details"])
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise EvaluationError(f"{path} is damaged ({type(error).__name__}); make it again with medzoo evaluate") from error
