"""The operating points that a run has chosen, beside its metrics: operating_points.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzoo.data.errors import CheckpointError
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file


def write_points(run: RunDirectory, described: Mapping[str, Any]) -> None:
    """Write points as `OperatingPoints.to_dict` describes them, in place of earlier ones."""
    write_file(run.operating_points, json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8"))


def read_points(path: Path, labels: LabelSpace | None) -> OperatingPoints | None:
    """Return the points of a run directory, or None if it has chosen none, or its model has no labels.

    Args:
        path: The run directory.
        labels: Of its model.

    Raises:
        CheckpointError: If the file is damaged, or of other labels.
    """
    file = RunDirectory(path).operating_points
    if labels is None or not file.is_file():
        return None
    try:
        return OperatingPoints.from_dict(json.loads(file.read_text(encoding="utf-8")), labels)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} cannot be used ({error}); choose again with medzoo evaluate evaluation.operating_points=[...], or remove it"
        ) from error
