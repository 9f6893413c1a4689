"""Captions from labels, concepts and metadata, so that any dataset with labels can feed CLIP.

Class sets become image-text pairs by templates, as UniMed-CLIP does it (Khattak et al. 2024, arXiv 2412.10372; there a
language model wrote them). A caption says what is known of a sample and nothing else: missing labels are never mentioned,
and the wording that `Prompts` hold out is never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, UnknownColumnError, concept_matrix, target_columns
from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.text.prompts import Prompts
from medzoo.data.text.wording import listed


class CaptionWriter:
    """Writes captions for the rows of a dataset.

    - Multiclass and ordinal labels: a synonym of the class; of soft labels the class of the largest weight, of several that
      tie any.
    - Multilabel: the findings whose label is 1, joined. Where every label is 0, one of the prompts' `no_finding`; where none
      is 1 and some are missing or fractions, a negative text of one finding whose label is 0.
    - Regression: `<name> of <value> <unit>`, joined. Values in the shortest form that reads back as the same float32.

    The text is put into one of the templates; present concepts and metadata follow in a sentence each, if asked for.

    Args:
        dataset: The table and what its columns mean.
        prompts: The wording; `Prompts.for_labels` is applied.
        split: Rows to write for (`train`, ...); None: the whole table.
        concepts: Append the concepts whose value is 1.
        metadata: Table columns to append (`sex`, `age`), where they are not missing. What a caption tells of a patient, a
            model may use to guess the label by.

    Attributes:
        prompts: The wording in use, whose `hash` belongs into the results.

    Raises:
        ConfigError: If the dataset has no labels, or no concepts where they are asked for, or the prompts do not suit it.
        UnknownColumnError: If a metadata column is not in the table.
        UnknownNameError: If there is no such split.
    """

    def __init__(
        self,
        dataset: Dataset,
        prompts: Prompts,
        *,
        split: str | None = None,
        concepts: bool = False,
        metadata: Sequence[str] = (),
    ) -> None:
        labels, name = dataset.labels, dataset.info.name
        if labels is None:
            raise ConfigError(f"{name} has no labels to make captions of; use its caption column")
        if concepts and dataset.concepts is None:
            raise ConfigError(f"{name} has no concepts to put into captions; leave concepts out")
        self.prompts = prompts.for_labels(labels, dataset.concepts)
        self.prompts.check(labels, dataset.concepts)
        rows = dataset.table if split is None else dataset.rows(split)
        self._name, self._kind, self._labels = name, labels.kind, labels
        self._templates = self.prompts.caption_templates or self.prompts.templates
        pairs = self.prompts.pairs
        self._words = [pairs[n][0] if labels.kind == "multilabel" else self.prompts.classes[n] for n in labels.names]
        self._negatives = [pairs[n][1] if labels.kind == "multilabel" else () for n in labels.names]
        self._codes, self._values = _targets(rows, labels)
        self._length = len(rows)
        count = int((self._values == 0).all(axis=1).sum())
        if labels.kind == "multilabel" and not self.prompts.no_finding and count:
            raise ConfigError(f"{name}: {count} rows are without any finding and prompts {self.prompts.name!r} have no words for "
                              "that; give no_finding")  # fmt: skip
        self._concepts: NDArray[np.bool_] | None = None
        self._concept_words: list[tuple[str, ...]] = []
        if concepts and dataset.concepts is not None:
            self._concepts = concept_matrix(rows, dataset.concepts) == 1
            attributes = self.prompts.concepts
            self._concept_words = [attributes[n][0] if n in attributes else (n,) for n in dataset.concepts.names]
        for column in metadata:
            if column not in rows.columns:
                raise UnknownColumnError(name, column, [str(c) for c in rows.columns])
        self._metadata = [(column.replace("_", " "), rows[column].to_numpy(dtype=object)) for column in metadata]

    def __len__(self) -> int:
        return self._length

    def count(self, position: int) -> int:
        """Return how many captions a row has: the ways to choose template and synonyms; 0 for a row without a label.

        Raises:
            IndexError: If there is no such row.
        """
        slots = self._slots(position)
        return prod(map(len, self._all(position, slots))) if slots else 0

    def write(self, position: int, draw: int) -> str:
        """Return one caption of a row.

        Args:
            position: Row, counted in the table (or in the split's rows) from 0.
            draw: Whole number from 0, such as `derived_seed(seed, "caption", epoch, sample)`; draws 0 to `count` - 1 give every
                caption once, further ones begin again.

        Returns:
            The caption; empty for a row without a label, which is then not to be trained on.

        Raises:
            IndexError: If there is no such row.
        """
        slots = self._slots(position)
        if not slots:
            return ""
        chosen, rest = [], int(draw)
        for options in self._all(position, slots):
            rest, place = divmod(rest, len(options))
            chosen.append(options[place])
        said = 1 + len(slots)
        text = chosen[0].replace("{}", listed(chosen[1:said]))
        if concepts := chosen[said:]:
            text += " " + self.prompts.concept_template.replace("{}", listed(concepts))
        if known := [f"{name} {_shown(values[position])}" for name, values in self._metadata if not pd.isna(values[position])]:
            text += " " + self.prompts.metadata_template.replace("{}", ", ".join(known))
        return text

    def _all(self, position: int, slots: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Return the options of every choice: the template, what the labels say, the concepts."""
        present = np.flatnonzero(self._concepts[position]) if self._concepts is not None else ()
        return [self._templates, *slots, *(self._concept_words[m] for m in present)]

    def _slots(self, position: int) -> list[tuple[str, ...]]:
        """Return the options for each thing the labels say; none without a label."""
        if not 0 <= position < self._length:
            raise IndexError(f"{self._name}: no row {position} of {self._length}")
        if self._codes is not None:
            code = int(self._codes[position])
            return [self._words[code]] if code >= 0 else []
        row = self._values[position]
        if self._kind == "regression":
            return [self._quantity(int(k), row[k]) for k in np.flatnonzero(~np.isnan(row))]
        if self._kind == "multilabel":
            return self._findings(row)
        if np.isnan(row).any():
            return []
        return [_concatenated(self._words[k] for k in np.flatnonzero(row == row.max()))]

    def _findings(self, row: NDArray[np.float32]) -> list[tuple[str, ...]]:
        present = np.flatnonzero(row == 1)
        if len(present):
            return [self._words[k] for k in present]
        if (row == 0).all():
            return [self.prompts.no_finding]
        absent = _concatenated(self._negatives[k] for k in np.flatnonzero(row == 0))
        return [absent] if absent else []

    def _quantity(self, index: int, value: np.float32) -> tuple[str, ...]:
        unit = f" {self._labels.units[index]}" if self._labels.units is not None else ""
        return tuple(f"{word} of {_shown(value)}{unit}" for word in self._words[index])


def _targets(rows: pd.DataFrame, labels: LabelSpace) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
    """Return (N,) class codes, -1 where missing, or None and the (N, K) values."""
    if "target" in rows.columns:  # codes stay codes: one-hot vectors of 400,000 rows and 400 classes would take 640 MB
        codes = rows["target"].to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isnan(codes) | (codes < 0), -1, codes).astype(np.int64), np.empty((0, labels.width), np.float32)
    return None, rows[target_columns(labels)].to_numpy(dtype=np.float32, na_value=np.nan)


def _concatenated(words: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(word for several in words for word in several)


def _shown(value: object) -> str:
    if isinstance(value, float | np.floating):
        return str(np.format_float_positional(value, trim="-"))  # shortest that reads back: 31.27, not 31.2700004577
    return str(value)
