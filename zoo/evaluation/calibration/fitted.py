"""`calibration.json` of a run: a calibrator with what it was fitted on, and the model it belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.calibration.calibrator import Calibrator
from medzoo.evaluation.predictions import Predictions
from medzoo.store.storage import write_file


@dataclass(frozen=True)
class Fitted:
    """A calibrator and its origin.

    Attributes:
        calibrator: What it is.
        spec: SHA-256 of the spec of the model whose logits it takes.
        weights: SHA-256 of that model's weights; None where the predictions do not say.
        tta: Augmented copies that the logits were averaged over; 0: none.
        samples: Labelled samples of the val split that it was fitted on.
        groups: Groups they are of.
        unit: What a group is.
        notes: What is to be said of it.
    """

    calibrator: Calibrator
    spec: str
    weights: str | None
    tta: int
    samples: int
    groups: int
    unit: str
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the file in one step."""
        told = {
            "format": 1, "spec": self.spec, "weights": self.weights, "tta": self.tta,
            "fitted_on": {"split": "val", "samples": self.samples, "groups": self.groups, "unit": self.unit},
            "calibrator": self.calibrator.to_dict(), "notes": list(self.notes),
        }  # fmt: skip
        write_file(path, json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8"))

    @classmethod
    def read(cls, path: Path) -> Fitted:
        """Read the file; EvaluationError if it is missing or damaged."""
        if not path.is_file():
            raise EvaluationError(
                f"no calibrator at {path}; fit one with medzoo evaluate run={path.parent} evaluation.calibration=temperature"
            )
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            calibrator, on = Calibrator.from_dict(told["calibrator"]), told["fitted_on"]
            return cls(
                calibrator, str(told["spec"]), told["weights"], int(told["tta"]), int(on["samples"]), int(on["groups"]),
                str(on["unit"]), tuple(told["notes"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{path} is damaged ({type(error).__name__}); fit it again with medzoo evaluate") from error

    def require(self, path: Path, spec: str, weights: str | None, tta: int) -> None:
        """Refuse a calibrator of other logits than a model's of now; EvaluationError names what differs."""
        for what, own, given in (("spec", self.spec, spec), ("weights", self.weights, weights)):
            if own is not None and given is not None and own != given:
                raise EvaluationError(f"{path} is of a model of another {what}; fit it again: medzoo evaluate run={path.parent}")
        if self.tta != tta:
            raise EvaluationError(
                f"{path} was fitted with evaluation.tta={self.tta}, and these logits are of tta={tta}; fit it again with that"
            )

    def require_for(self, path: Path, predictions: Predictions) -> None:
        """Refuse a calibrator of another model than predictions are of."""
        details = predictions.details
        self.require(path, predictions.spec_hash, details.get("weights"), int(details.get("tta", 0)))
