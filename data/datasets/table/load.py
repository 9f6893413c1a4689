"""Your own images: a CSV, Parquet or JSONL table with one row a sample, its columns mapped by name.

Images lie below one folder (PNG, JPEG, TIFF, BMP, DICOM; NIfTI for volumes). What a column means is said in the
configuration, nothing is guessed from its name; see docs/datasets.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medzoo.data.dataset import SPLIT_WORDS, Dataset
from medzoo.data.datasets.table.cells import read_table, read_yes_no
from medzoo.data.datasets.table.targets import Kind, make_targets
from medzoo.data.errors import ConfigError
from medzoo.data.images.files import FileReader, Missing, list_files, range_notes, with_files
from medzoo.data.images.kinds import VOLUME_SUFFIXES
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace
from medzoo.data.options import choices, gray_or_colour, low_high, one_text, text_list
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import hash_split
from medzoo.data.tables import TextTable, leaves_root


def infos() -> list[DatasetInfo]:
    """Return the card of a table; the data's own is made when one is loaded."""
    return [_info("a table of your own", "none", None, "image", (), "uint8")]


def load(
    file: str | Path | None = None,
    root: str | Path | None = None,
    image: str | list[str] = "image",
    id: str | None = None,  # noqa: A002  # the column's usual name
    target: str | list[str] | None = None,
    kind: Kind = "auto",
    names: Sequence[str | float] | None = None,
    units: list[str] | None = None,
    separator: str | None = None,
    empty_words: Sequence[str | float] | None = None,
    concepts: list[str] | None = None,
    caption: str | None = None,
    group: str | None = None,
    split: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    subgroups: list[str] | None = None,
    inputs: list[str] | None = None,
    modality: str = "none",
    channels: int = 3,
    window: list[float] | None = None,
    deep: bool = False,
    licence: str = "your own",
    missing: Missing = "error",
) -> Dataset:
    """Load a table of the user's own.

    Args:
        file: `.csv`, `.tsv`, `.parquet` or `.jsonl`.
        root: Folder the image paths are relative to; None: the folder of the file.
        image: Column with the image's path; several columns are views of one case (an empty cell is a view that is not there).
        id: Column with a unique, stable name of the sample; None: the (first) image's path.
        target: Column with the class name, an integer, a quantity, or several names with a `separator`; or several columns,
            each 0, 1 or empty (multilabel), or quantities (`kind=regression`). A whole number may be written 1 or 1.0.
        kind: auto, multiclass, ordinal, multilabel or regression; auto: multilabel for several columns or a separator, else
            multiclass.
        names: Class names in index order: for ordinal labels from low to high; numbers are taken as text. None: as they sort.
        units: A unit for each quantity.
        separator: What stands between several findings in one cell; an empty cell is missing, `names` must be given.
        empty_words: Words and numbers that mean missing, such as [unknown, n/a, -1], in target and concept columns.
        concepts: Columns of 0, 1 or empty.
        caption: Column with text.
        group: Column that no split may cut (the patient); None: every image is its own group, and results say so.
        split: Column with train, val or test (training, valid, validation, dev, testing are understood). None: by group.
        test_fraction: Share of the groups held out for testing where there is no split column.
        seed: Seed of that split.
        subgroups: Columns results are broken down by.
        inputs: Columns with numbers (tabular inputs).
        modality: What the images are, for the default augmentation: a policy such as xray, skin, fundus, oct, ct, or none.
        channels: 1 (gray) or 3 (RGB).
        window: [low, high], the values that become black and white in images of more than 8 bits (Hounsfield units for CT).
        deep: Keep more than 8 bits: images are then float32 in 0..1.
        licence: The data's licence, kept in the model's spec.
        missing: error, skip or ignore image files that are not there.

    Raises:
        ConfigError: If the mapping is incomplete or contradicts itself, or one text is given for a list.
        DatasetError: If the file, a column or a row is not what it must be; names the line.
    """
    if file is None:
        raise ConfigError("data=table needs data.file=<your table>.csv (or .parquet, .jsonl) and data.target=<column>")
    choices(modality=(modality, POLICIES), missing=(missing, Missing))
    channels = gray_or_colour(channels)
    names, units, empty_words = text_list(names, "names"), text_list(units, "units"), text_list(empty_words, "empty_words")
    concepts, subgroups, inputs = text_list(concepts, "concepts"), text_list(subgroups, "subgroups"), text_list(inputs, "inputs")
    id, caption = one_text(id, "id"), one_text(caption, "caption")  # noqa: A001  # the option's name
    group, split = one_text(group, "group"), one_text(split, "split")
    target = target if target is None or isinstance(target, str) else text_list(target, "target")
    source = Path(file).expanduser()
    folder = source.parent if root is None else Path(root).expanduser()
    rows = read_table(source)
    columns = [image] if isinstance(image, str) else text_list(image, "image")
    if not columns:
        raise ConfigError(
            "data.image names no column; give the one with the image's path, or a list of them for views of one case"
        )
    views = len(columns) > 1
    paths = [f"path_{i + 1}" for i in range(len(columns))] if views else ["path"]
    table = pd.DataFrame({path: _paths(rows, column) for path, column in zip(paths, columns, strict=True)})
    table.insert(0, "sample_id", _ids(rows, table[paths], columns, id))
    if group is not None:
        rows.refuse(rows[group] == "", group, remedy="every sample needs its group")
    table["group"] = table["sample_id"] if group is None else rows[group]
    space, targets = (None, pd.DataFrame(index=table.index))
    if target is not None:
        space, targets = make_targets(
            rows, target, kind=kind, names=names, units=units, separator=separator, empty_words=empty_words or ()
        )
    elif kind != "auto" or names or units or separator:
        raise ConfigError("data.kind, names, units and separator describe data.target, which is not given")
    own = {"sample_id", "split", "group", "target", "caption", *paths, *targets.columns}
    for name in subgroups or []:
        if name in own:
            raise ConfigError(f"data.subgroups: {name!r} is a name of medzoo's own columns; rename the column in {source.name}")
    extra = {f"concept.{name}": read_yes_no(rows, name, empty_words or ()) for name in concepts or []}
    extra |= {f"input.{name}": rows.numbers(name).astype(np.float32) for name in inputs or []}
    extra |= {name: _subgroup(rows[name]) for name in subgroups or []}
    if caption is not None:
        extra["caption"] = rows[caption].where(rows[caption] != "", None)
    table = pd.concat([table, targets, pd.DataFrame(extra, index=table.index)], axis=1)
    if split is None:
        table["split"] = hash_split(table["group"], salt=f"table/{source.stem}/{seed}", fractions=(0.0, test_fraction))
    else:
        words = rows[split].str.lower()
        rows.refuse(~words.isin(list(SPLIT_WORDS)), split, "not train, val or test")
        table["split"] = words.map(SPLIT_WORDS)
    present = [] if missing == "ignore" else list_files(folder)
    volume = bool(table[paths[0]].dropna().astype(str).str.lower().str.endswith(VOLUME_SUFFIXES).any())
    table, notes = with_files(table, present, paths, missing, source.stem)
    value_type: Literal["uint8", "float32"] = "float32" if deep else "uint8"
    if volume and channels != 1:
        raise ConfigError("NIfTI volumes have one channel: set data.channels=1")
    reader = FileReader(folder, tuple(paths), channels, value_type, low_high(window, "window"), views)
    notes += range_notes(reader, table[paths[0]].dropna())
    return Dataset(
        _info(source.stem, modality, space, "image" if group is None else group, notes, value_type, licence),
        table.reset_index(drop=True),
        reader,
        space,
        concepts=ConceptSpace(tuple(concepts)) if concepts else None,
        subgroups=tuple(subgroups or ()),
    )  # fmt: skip


def _info(
    name: str, modality: str, labels: Any, unit: str, notes: tuple[str, ...], value_type: str, licence: str = "your own"
) -> DatasetInfo:
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
    )


def _paths(rows: TextTable, column: str) -> pd.Series:
    """Return relative paths with forward slashes, missing where the cell is empty."""
    text = rows[column].str.replace("\\", "/", regex=False).str.removeprefix("./")
    rows.refuse(leaves_root(text), column, "which leaves the dataset's folder", "paths must lie below it")
    return text.where(text != "", None)


def _ids(rows: TextTable, paths: pd.DataFrame, images: list[str], column: str | None) -> pd.Series:
    rows.refuse(paths.isna().all(axis=1), images, "so no image is named")
    if column is None:
        ids: pd.Series = paths.bfill(axis=1).iloc[:, 0]
        rows.refuse_repeats(ids, "image", "name a column with unique names as data.id")
        return ids
    rows.refuse(rows[column] == "", column, remedy="every sample needs a name")
    rows.refuse_repeats(rows[column], column, "every sample needs a name of its own")
    return rows[column]


def _subgroup(column: pd.Series) -> pd.Series:
    """Return numbers where every filled cell is one, so that many values are banded; else text."""
    filled = column.where(column != "", None)
    numbers = pd.to_numeric(filled, errors="coerce")
    return numbers if numbers.notna().sum() == filled.notna().sum() else filled
