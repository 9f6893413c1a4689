"""Several images a sample, each with a reader of its own and a name: whether a row has each, and what they may be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import DatasetError
from medzoo.data.images.given import no_text
from medzoo.data.images.reader import Reader

ONE = "image"
"""What the one image of a sample is called as a modality; of several only the first may be called so."""
RESERVED = ("inputs", "text", "present")
"""What else a sample of several modalities holds: no modality may be called so."""


def presence(table: pd.DataFrame, reader: Reader) -> NDArray[np.bool_]:
    """Return (N,) whether each row has a reader's image: none of its columns is missing, of several views not all of them."""
    there = table[list(reader.columns)].notna()
    return np.asarray(there.any(axis=1) if reader.views else there.all(axis=1), dtype=np.bool_)


def check_modalities(dataset: str, own: Reader, modalities: Mapping[str, Any]) -> None:
    """Check the names and readers of a dataset's modalities; DatasetError with what is wrong.

    Args:
        dataset: Name for messages.
        own: The dataset's reader, which must be the first of them.
        modalities: Name → reader.
    """
    for place, (name, reader) in enumerate(modalities.items()):
        if not is_name(name) or (place and name == ONE):
            raise DatasetError(
                f"{dataset}: {name!r} is no name of a modality: letters, digits and '_', not {', '.join(RESERVED)}, and {ONE!r} "
                "for the first alone"
            )
        if not isinstance(reader, Reader):
            raise DatasetError(f"{dataset}: the reader of modality {name!r} is a {type(reader).__name__}, which is no Reader")
        if not place and reader is not own:
            raise DatasetError(f"{dataset}: the first modality, {name!r}, is not read by the dataset's own reader")


def check_presence(dataset: str, table: pd.DataFrame, modalities: Mapping[str, Reader]) -> None:
    """Raise DatasetError if a modality is missing in every row of a table."""
    for name, reader in modalities.items():
        if not presence(table, reader).any():
            raise DatasetError(f"{dataset}: modality {name!r} is missing in all {len(table)} samples; leave it out")


def text_columns(texts: Sequence[str]) -> list[str]:
    """Return the table's columns that hold the texts of some names."""
    return [f"text.{name}" for name in texts]


def written(table: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Return (N,) whether each row has a text of a name: neither missing nor `no_text`."""
    cells = table[f"text.{name}"]
    return np.asarray(cells.notna() & ~cells.fillna("").astype(str).map(no_text).astype(np.bool_), dtype=np.bool_)


def check_texts(dataset: str, table: pd.DataFrame, texts: Sequence[str], modalities: Mapping[str, Reader]) -> None:
    """Check the names of a dataset's texts, and that some row has each; DatasetError with what is wrong."""
    for place, name in enumerate(texts):
        if not is_name(name) or name == ONE:
            raise DatasetError(
                f"{dataset}: {name!r} is no name of a text: letters, digits and '_', not {', '.join((*RESERVED, ONE))}"
            )
        if name in modalities or name in texts[:place]:
            raise DatasetError(f"{dataset}: two modalities are called {name!r}; rename one")
        if not written(table, name).any():
            raise DatasetError(f"{dataset}: text {name!r} is missing in all {len(table)} samples; leave it out")


def is_name(name: object) -> bool:
    """Whether a modality may be called so: letters, digits and `_`, and none of `RESERVED`."""
    return isinstance(name, str) and name.isidentifier() and name not in RESERVED


def reading_card(reader: Reader) -> dict[str, Any]:
    """Return how a modality's files become pixels, beside its preprocessing (JSON-ready): for whoever reads others later."""
    return {
        "window": None if reader.window is None else [float(v) for v in reader.window],
        **({} if reader.frames is None else {"frames": reader.frames}),
        **({} if reader.stack is None else {"stack": reader.stack.to_dict()}),
        **({"channels": 1} if reader.reads_gray else {}),
    }
