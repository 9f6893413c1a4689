"""Whether the texts beside the images name the labels: what a model then reads off a report, it does not see in an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from medzoo.data.dataset import Dataset, each_target, target_matrix
from medzoo.data.images.modalities import written

MOST = 10_000
"""Texts that are looked through, evenly spread over the table."""
SHARE, TIMES = 0.05, 2.0
"""A label is told by a text where at least this share of its own texts name it, so many times oftener than the others do."""
SHOWN = 6


def named_labels(dataset: Dataset) -> dict[str, Any]:
    """Return how often a dataset's texts name the labels of their samples; empty without texts or named labels.

    Names are compared as words, in any case of letters and with any punctuation; that "no pneumonia" denies it is not understood,
    which is why the texts of samples without the label are counted beside.

    Returns:
        Text → `texts` looked through, and `told`: label, of several targets `target: label` → the share of its own samples'
        texts that name it, and of the others'.
    """
    found: dict[str, Any] = {}
    for target, alone in each_target(dataset).items():
        labels = alone.labels
        if labels is None or labels.kind == "regression":
            continue
        for name in dataset.texts:
            rows = alone.table[written(alone.table, name)]
            rows = rows.iloc[:: max(1, -(-len(rows) // MOST))]
            words = [_words(str(text)) for text in rows[f"text.{name}"]]
            about = found.setdefault(name, {"texts": len(rows), "told": {}})
            for label, column in zip(labels.names, target_matrix(rows, labels).T, strict=True):
                if not _words(label).strip():
                    continue
                named = np.array([_words(label) in text for text in words])
                own, other = named[column > 0.5], named[column <= 0.5]
                share, beside = (float(part.mean()) if len(part) else 0.0 for part in (own, other))
                if share >= SHARE and share >= TIMES * beside:
                    about["told"][f"{target}: {label}" if target else label] = {"own": share, "others": beside}
    return found


def naming_warnings(found: Mapping[str, Any]) -> list[str]:
    """Return what `medzoo verify` warns of: texts that tell their labels by name."""
    lines = []
    for name, about in found.items():
        told = about["told"]
        if not told:
            continue
        worst = sorted(told, key=lambda label: -told[label]["own"])
        shown = ", ".join(f"{one} in {told[one]['own']:.0%} (of others' {told[one]['others']:.0%})" for one in worst[:SHOWN])
        more = f" and {len(worst) - SHOWN} more labels" if len(worst) > SHOWN else ""
        lines.append(
            f"text {name!r} names the label that is asked for: {shown}{more}; a model reads it there instead of seeing it: take "
            "what was written before the diagnosis, or leave the text out (docs/multimodal.md)"
        )
    return lines


def _words(text: str) -> str:
    """Return a text's words between single spaces, with one at each end, so that a name is found as whole words alone."""
    return " " + re.sub(r"[\W_]+", " ", text.casefold()).strip() + " "
