"""The card of a table of a user's own."""

from __future__ import annotations

from typing import Any

from medzoo.data.info import DatasetInfo


def table_info(
    name: str, modality: str, labels: Any, unit: str, notes: tuple[str, ...], value_type: str, licence: str = "your own",
    populations: tuple[str, ...] = (),
) -> DatasetInfo:  # fmt: skip
    """Return the card of a table by its name: what is known of it and no more; `populations` are whose patients are in it."""
    return DatasetInfo(
        name="table" if name.startswith("a table") else f"table/{name}",
        title=name,
        modality=modality,
        licence=licence,
        citation="",
        homepage="",
        labels=labels,
        split_unit=unit,
        value_type=value_type,
        notes=notes,
        population=f"table/{name}",  # patients of other tables may bear the same names
        populations=populations,
    )
