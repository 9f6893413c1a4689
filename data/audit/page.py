"""The audit as one HTML page with sample images; no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.audit.audit import as_lines
from medzoo.data.dataset import SPLITS, Dataset, target_matrix
from medzoo.data.errors import MedzooError
from medzoo.data.labels import LabelSpace
from medzoo.data.seeding import stable_hash

EACH = 8
"""Sample images a split."""
SIDE = 160
STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;margin:2rem;max-width:72rem}pre{background:#f5f5f5;padding:1rem;overflow:auto}"
    "figure{display:inline-block;margin:.4rem;width:10.5rem;vertical-align:top}figcaption{font-size:12px;overflow-wrap:anywhere}"
    ".bad{color:#a00}"
)


def page(dataset: Dataset, report: Mapping[str, Any]) -> str:
    """Return the audit of a dataset as HTML: problems first, then every table, then a few images of each split."""
    warned = [f"<p class=bad>{escape(warning)}</p>" for warning in report.get("warnings", ())]
    verdict = warned + [f"<p class=bad>{escape(problem)}</p>" for problem in report["problems"]] or ["<p>No problem found.</p>"]
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{escape(str(report['dataset']))}</title><style>{STYLE}</style>",
        f"<h1>{escape(str(report['title']))}</h1>",
        *verdict,
        f"<pre>{escape(chr(10).join(as_lines(report)))}</pre>",
    ]
    for split in SPLITS:
        if figures := _figures(dataset, split):
            parts.append(f"<h2>{split}</h2>{''.join(figures)}")
    return "\n".join(parts) + "\n"


def _figures(dataset: Dataset, split: str) -> Sequence[str]:
    rows = dataset.rows(split)
    order = sorted(range(len(rows)), key=lambda i: stable_hash(str(rows["sample_id"].iloc[i])))[:EACH]
    targets = None if dataset.labels is None else target_matrix(rows, dataset.labels)
    figures = []
    for place in order:
        images = dataset.reader.images(*(rows[column].iloc[place] for column in dataset.reader.columns))
        said = "" if targets is None or dataset.labels is None else _label(dataset.labels, targets[place])
        try:
            thumbnail = _thumbnail(dataset.reader.read(*next(iter(images.values()))))
            shown = f"<img width={SIDE} src='data:image/png;base64,{thumbnail}'>"
        except (MedzooError, OSError) as error:
            shown = f"<p class=bad>{escape(str(error))}</p>"
        name = escape(str(rows["sample_id"].iloc[place]))
        figures.append(f"<figure>{shown}<figcaption>{name}<br>{escape(said)}</figcaption></figure>")
    return figures


def _label(labels: LabelSpace, target: NDArray[np.float32]) -> str:
    if np.isnan(target).all():
        return "no label"
    if labels.kind == "regression":
        return ", ".join(f"{n} {v:.4g}" for n, v in zip(labels.names, target, strict=True) if not np.isnan(v))
    held = [(n, v) for n, v in zip(labels.names, target, strict=True) if v > 0]
    return ", ".join(n if v == 1 else f"{n} {v:.2f}" for n, v in held) or "none"


def _thumbnail(pixels: NDArray[Any]) -> str:
    flat = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    levels = np.round(flat * 255).astype(np.uint8) if flat.dtype == np.float32 else flat
    image = Image.fromarray(levels[0] if levels.shape[0] == 1 else np.moveaxis(levels, 0, -1))
    image.thumbnail((SIDE, SIDE))
    content = BytesIO()
    image.save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")
