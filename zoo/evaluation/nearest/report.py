"""What a report says of an embeddings file: label retrieval, prototypes and robustness of each split, in JSON and as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medzoo.data.info import NO_PATIENT
from medzoo.data.splits.subgroups import level_names
from medzoo.evaluation.bootstrap import Interval, group_codes, value_text
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.nearest.gallery import Gallery
from medzoo.evaluation.nearest.labels import label_retrieval
from medzoo.evaluation.nearest.prototypes import prototype_metrics
from medzoo.evaluation.nearest.robustness import robustness_index
from medzoo.settings.robustness import robustness_columns


def embeddings_report(embeddings: Embeddings, splits: Sequence[str], interval: Interval, columns: Any = ()) -> dict[str, Any]:
    """Score an embeddings file by split; JSON-ready.

    The images of a split are each other's gallery: but for train's, the model has learnt from none of them. An image of several
    rows counts once, with what its first row says.

    Args:
        embeddings: With labels, or without.
        splits: To report; each must be in the file.
        interval: How intervals are made.
        columns: Subgroup columns that a robustness index is made of, as `evaluation.robustness_index` has them.

    Raises:
        UnknownNameError: If there is no such split or column.
    """
    known = [] if embeddings.subgroups is None else list(map(str, embeddings.subgroups.columns))
    named = robustness_columns(columns, known)
    images = embeddings.take(embeddings.first_rows)
    train = images.of_split("train") if "train" in images.split else None
    return {split: _of_split(images, images.of_split(split), train, interval, named) for split in splits}


def _of_split(
    images: Embeddings, part: Embeddings, train: Embeddings | None, interval: Interval, columns: Sequence[str]
) -> dict[str, Any]:
    unit, codes = str(part.details.get("split_unit", "")), group_codes(list(part.group))
    report: dict[str, Any] = {
        "images": len(part), "width": part.width, "groups": int(codes.max()) + 1,
        "interval": {"method": f"percentile bootstrap over {unit or 'all'} groups", "unit": unit, **interval.told},
        "gallery": f"the other images of the split, none of the query's own {unit or 'group'}"
        + ("; the dataset knows no patient, so images of one may find each other" if unit in NO_PATIENT else ""),
    }  # fmt: skip
    if part.labels is None or part.targets is None:
        return {**report, "undefined": "the data have no labels"}
    if part.labels.kind == "regression":
        return {**report, "undefined": "quantities are never the same"}
    report["retrieval"] = label_retrieval(Gallery(part.image, codes), part.labels, part.targets, interval, unit)
    report["prototypes"] = {"undefined": "the file has no train split, which the prototypes are of"}
    if train is not None:
        report["prototypes"] = prototype_metrics(train, part, interval)
    if columns:
        report["robustness_index"] = {column: _robustness(images, part, column, interval, unit) for column in columns}
    return report


def _robustness(images: Embeddings, part: Embeddings, column: str, interval: Interval, unit: str) -> dict[str, Any]:
    """Return the index of the images whose class and level are known; numbers are banded over all splits alike."""
    assert images.subgroups is not None
    assert part.subgroups is not None
    assert part.labels is not None
    assert part.targets is not None
    if not part.labels.exclusive:
        return {"undefined": "of classes and grades alone, and these labels are findings"}
    levels = dict(zip(images.sample_id, level_names(images.subgroups[column]), strict=True))
    data = scored(part.labels, part.targets, np.zeros_like(part.targets))
    known = data.observed[:, 0] & part.subgroups[column].notna().to_numpy()
    if not known.any():
        return {"undefined": f"no image has both a class and a value of {column}"}
    level = group_codes([str(levels[name]) for name in part.sample_id[known]])
    gallery = Gallery(part.image[known], group_codes(list(part.group[known])))
    found = robustness_index(gallery, data.truth[known].argmax(axis=1), level, interval, unit)
    return {"left_out": int((~known).sum()), **found}


def embedding_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the measures of every split as lines for a terminal."""
    lines = []
    for split, part in report.items():
        lines.append(f"{split}: embeddings of {part['images']} images, {part['width']} wide")
        if "undefined" in part:
            lines.append(f"  no measures: {part['undefined']}")
            continue
        lines.append(f"  label retrieval, right is {part['retrieval']['right']}: {_shown(part['retrieval'])}")
        lines.append(f"  nearest prototype: {_shown(part['prototypes'])}")
        for column, found in part.get("robustness_index", {}).items():
            measured = found.get("undefined") or _shown({f"k={k}": value for k, value in found["k"].items()})
            random = f"; at random {value_text(found['at_random'])}" if "at_random" in found else ""
            lines.append(f"  robustness index by {column}: {measured}{random}")
    return lines


def _shown(measures: Mapping[str, Any]) -> str:
    if "undefined" in measures:
        return str(measures["undefined"])
    return "  ".join(
        f"{name} {value_text(value['value'], value['low'], value['high'])}"
        for name, value in measures.items()
        if isinstance(value, dict)
    )
