"""What travels with the package: a model, four images and what was measured, read strictly; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.data.errors import OnnxFileError
from medzoo.export.files.integrity import check, read_metadata

HOME = Path(__file__).parent / "files"
"""Where the package has them; made by `medzoo.demo.make`."""
MODEL, METRICS, ANSWERS = "model.onnx", "metrics.json", "answers.json"
"""Names of the exported file, of its run's report, and of what it answered where it was made."""


@dataclass(frozen=True)
class Answer:
    """What the model said of an image where it was made.

    Attributes:
        file: Name of the image's file.
        sample: Its sample in the dataset.
        truth: Name of its class.
        said: Name of the class that the model gave it.
        probability: Of that class.
    """

    file: str
    sample: str
    truth: str
    said: str
    probability: float


@dataclass(frozen=True)
class Shipped:
    """The demo's files, checked.

    Attributes:
        folder: Where they lie.
        answers: What the model said of each image.
        proof: The export's report, as it stands in the model's file.
        metrics: The run's report, `metrics.json`, of the same weights.
    """

    folder: Path
    answers: tuple[Answer, ...]
    proof: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The exported file."""
        return self.folder / MODEL

    @property
    def images(self) -> list[Path]:
        """The images' files, in the order of the answers."""
        return [self.folder / answer.file for answer in self.answers]


def read_shipped(folder: Path = HOME) -> Shipped:
    """Read the demo's files.

    Args:
        folder: Where they lie.

    Returns:
        Files of which the model's sum is right and whose figures are of that model's weights.

    Raises:
        OnnxFileError: One line, if one is missing or damaged, or the figures are those of other weights.
    """
    check(folder / MODEL)
    try:
        proof: dict[str, Any] = json.loads(read_metadata(folder / MODEL, "medzoo.report") or "")
        metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        answers = tuple(Answer(**row) for row in json.loads((folder / ANSWERS).read_text(encoding="utf-8")))
        proven, measured = proof["weights"], metrics["details"]["weights"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OnnxFileError(f"the demo's files in {folder} cannot be read ({error}); install medzoo again") from error
    if proven != measured:
        raise OnnxFileError(f"{folder / METRICS} is of other weights than {MODEL} beside it; install medzoo again")
    return Shipped(folder, answers, proof, metrics)
