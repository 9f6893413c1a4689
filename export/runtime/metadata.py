"""What an exported file says of itself, read once it is known to be whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.data.errors import MedzooError, OnnxFileError
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.evaluation.calibration.calibrator import Calibrator
from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.export.runtime.cases import behind_logits

POINTS, TARGETS = "medzoo.operating_points", "medzoo.targets"


@dataclass(frozen=True)
class FileMetadata:
    """The parts of a file's metadata that the runtime needs.

    Attributes:
        spec: The model's spec, as in `spec.json`.
        labels: What the columns of `logits` and `probabilities` mean; None for a model without.
        outputs: What the graph returns.
        tokenizer: Of a text tower; None of others.
        texts: Text beside a sample's images → its tokenizer.
        points: Thresholds that travel with the model; None: there are none.
        calibrator: What stands behind its own logits; None: nothing.
        conformal: Thresholds of its prediction sets; None: it has none.
        targets: Of a model of several targets what the outputs of each mean, `<target>.logits` and so on; empty of others.
    """

    spec: dict[str, Any]
    labels: LabelSpace | None
    outputs: tuple[str, ...]
    tokenizer: Tokenizer | None
    texts: Mapping[str, Tokenizer]
    points: OperatingPoints | None
    calibrator: Calibrator | None
    conformal: Conformal | None
    targets: dict[str, LabelSpace]

    @classmethod
    def read(cls, path: str | Path, metadata: Mapping[str, str]) -> FileMetadata:
        """Read a file's `metadata_props`; OnnxFileError if it is of another format, or something in them is not right."""
        if metadata.get("medzoo.format") != "1":
            raise OnnxFileError(f"{path} has format {metadata.get('medzoo.format')!r}, this medzoo reads '1'; update medzoo")
        try:
            return cls._read(path, metadata)
        except OnnxFileError:
            raise
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
            MedzooError,
        ) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise OnnxFileError(
                f"{path}: what its metadata says of the model cannot be used ({said}); export it again"
            ) from error

    @classmethod
    def _read(cls, path: str | Path, metadata: Mapping[str, str]) -> FileMetadata:
        labels, spec = json.loads(metadata["medzoo.labels"]), json.loads(metadata["medzoo.spec"])
        size = spec["preprocess"]["size"]
        if not isinstance(size, list) or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(f"a size of {size}")
        space = None if labels is None else LabelSpace.from_dict(labels)
        tokenizer = metadata.get("medzoo.tokenizer")
        return cls(
            spec, space, tuple(json.loads(metadata["medzoo.outputs"])),
            None if tokenizer is None else Tokenizer.from_dict(json.loads(tokenizer)),
            {name: Tokenizer.from_dict(one) for name, one in json.loads(metadata.get("medzoo.tokenizers", "{}")).items()},
            _points(path, metadata.get(POINTS), space), *behind_logits(metadata),
            {name: LabelSpace.from_dict(own) for name, own in json.loads(metadata.get(TARGETS, "{}")).items()},
        )  # fmt: skip

    def require_fitting(self, path: str | Path, gives: Sequence[Any]) -> None:
        """Check that a graph gives what its metadata says; OnnxFileError if not, rather than answers by other names.

        Args:
            path: Of the file.
            gives: The graph's outputs, as ONNX Runtime describes them.
        """
        shapes = {one.name: one.shape for one in gives}
        if not self.outputs or not {*self.outputs} <= {*shapes}:
            raise OnnxFileError(f"{path}: its graph does not give {', '.join(self.outputs) or 'anything'}; export it again")
        width, count = (shapes.get("probabilities") or [None])[-1], None if self.labels is None else len(self.labels.names)
        if isinstance(width, int) and count is not None and width != count:
            raise OnnxFileError(f"{path}: its graph gives {width} probabilities, its metadata names {count}; export it again")


def _points(path: str | Path, text: str | None, labels: LabelSpace | None) -> OperatingPoints | None:
    if text is None:
        return None
    try:
        if labels is None:
            raise ValueError("operating points of a model without labels")
        return OperatingPoints.from_dict(json.loads(text), labels)
    except (ValueError, RecursionError) as error:
        raise OnnxFileError(f"{path}: {POINTS} in its metadata cannot be used ({error}); export the run again") from error
