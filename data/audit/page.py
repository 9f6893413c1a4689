"""The audit as one HTML page with sample images; no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.audit.audit import as_lines
from medzoo.data.dataset import SPLITS, Dataset, readers_of, target_matrix
from medzoo.data.errors import MedzooError
from medzoo.data.images.thumbnail import thumbnail
from medzoo.data.labels import LabelSpace
from medzoo.data.seeding import stable_hash

EACH = 8
"""Sample images a split."""
SIDE = 160
TEMPLATE = "page.html"


def page(dataset: Dataset, report: Mapping[str, Any]) -> str:
    """Return the audit of a dataset as HTML: problems first, then every table, then a few images of each split."""
    import jinja2

    text = files("medzoo.data.audit").joinpath(TEMPLATE).read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(text)
    figures = {split: _figures(dataset, split) for split in SPLITS}
    return template.render(report=report, lines="\n".join(as_lines(report)), figures=figures, side=SIDE) + "\n"


def _figures(dataset: Dataset, split: str) -> list[dict[str, str]]:
    """Return `name`, `label` and either `image` (PNG, base64) or `error` of a few samples, chosen by a hash of their names."""
    rows = dataset.rows(split)
    order = sorted(range(len(rows)), key=lambda i: stable_hash(str(rows["sample_id"].iloc[i])))[:EACH]
    targets = None if dataset.labels is None else target_matrix(rows, dataset.labels)
    figures = []
    for place in order:
        # Of several modalities the first that the sample has.
        shown = (
            (reader, key)
            for reader in readers_of(dataset).values()
            for key in reader.images(*(rows[column].iloc[place] for column in reader.columns)).values()
        )
        reader, key = next(shown, (dataset.reader, None))
        said = "" if targets is None or dataset.labels is None else _label(dataset.labels, targets[place])
        figure = {"name": str(rows["sample_id"].iloc[place]), "label": said}
        if key is None:
            figure["error"] = "no image"
            figures.append(figure)
            continue
        try:
            figure["image"] = thumbnail(reader.read(*key), SIDE)
        except (MedzooError, OSError) as error:
            figure["error"] = str(error)
        figures.append(figure)
    return figures


def _label(labels: LabelSpace, target: NDArray[np.float32]) -> str:
    if np.isnan(target).all():
        return "no label"
    if labels.kind == "regression":
        return ", ".join(f"{n} {v:.4g}" for n, v in zip(labels.names, target, strict=True) if not np.isnan(v))
    held = [(n, v) for n, v in zip(labels.names, target, strict=True) if v > 0]
    return ", ".join(n if v == 1 else f"{n} {v:.2f}" for n, v in held) or "none"
