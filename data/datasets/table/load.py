"""Your own images: a CSV, Excel, Parquet or JSONL table with one row a sample, its columns mapped by name.

Images lie below one folder (PNG, JPEG, TIFF, BMP, DICOM; NIfTI for volumes). What a column means is said in the
configuration, nothing is guessed from its name; see docs/datasets.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from medzoo.data.dataset import Dataset
from medzoo.data.datasets.table.cells import read_yes_no, replace_values
from medzoo.data.datasets.table.columns import captions, quantities, subgroup
from medzoo.data.datasets.table.frames import check_frames, frame_numbers, frame_rows
from medzoo.data.datasets.table.groups import group_names, sample_names, split_words
from medzoo.data.datasets.table.paths import Places, image_paths, refuse_absent
from medzoo.data.datasets.table.reading import read_table
from medzoo.data.datasets.table.targets import Kind, make_targets
from medzoo.data.errors import ConfigError
from medzoo.data.images.files import FRAME, SAY_FRAMES, FileReader, Missing, list_files, range_notes, with_files
from medzoo.data.images.frames import MEMBERS, Frames
from medzoo.data.images.kinds import VOLUME_SUFFIXES
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace
from medzoo.data.options import (
    choices,
    frames_option,
    gray_or_colour,
    local_path,
    low_high,
    one_text,
    require_numbers,
    text_list,
    text_mapping,
)  # fmt: skip
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import hash_split
from medzoo.data.splits.populations import population_keys
from medzoo.data.splits.stratified import check_rule, split_by_group
from medzoo.data.tables.words import clean, plain_number, unify


def infos() -> list[DatasetInfo]:
    """Return the card of a table; the data's own is made when one is loaded."""
    return [_info("a table of your own", "none", None, "image", (), "uint8")]


def load(
    file: str | Path | None = None,
    root: str | Path | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    decimal: str = ".",
    image: str | list[str] = "image",
    path: str | None = None,
    id: str | None = None,  # noqa: A002  # the column's usual name
    target: str | list[str] | None = None,
    kind: Kind = "auto",
    names: Sequence[str | float] | None = None,
    units: list[str] | None = None,
    separator: str | None = None,
    empty_words: Sequence[str | float] | None = None,
    values: Mapping[str | float, str | float | None] | None = None,
    concepts: list[str] | None = None,
    caption: str | None = None,
    group: str | None = None,
    group_pattern: str | None = None,
    split: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    split_rule: int = 2,
    subgroups: list[str] | None = None,
    inputs: list[str] | None = None,
    modality: str = "none",
    channels: int = 3,
    window: list[float] | None = None,
    deep: bool = False,
    frames: Frames | None = None,
    frame_number: str | None = None,
    licence: str = "your own",
    missing: Missing = "error",
) -> Dataset:
    r"""Load a table of the user's own.

    Args:
        file: `.csv`, `.tsv`, `.txt` (each may be packed: `.gz`, `.bz2`, `.xz`, `.zip`), `.xlsx`, `.parquet` or `.jsonl`.
        root: Folder the image paths are relative to; None: the folder of the file.
        sheet: Sheet of a workbook; None: the only one that holds anything.
        encoding: Of text, such as cp1252; None: UTF-8, or UTF-16 by its mark.
        decimal: What stands before the fraction of a number, `.` or `,`.
        image: Column with the image's path; several columns are views of one case (an empty cell is a view that is not there).
            Absolute paths and those of another machine are read where the files lie below `root`.
        path: How a cell becomes a path: `images/{}.jpg`, with {} for the cell and {column} for another one. None: as it is.
        id: Column with a unique, stable name of the sample; None: the (first) image's path.
        target: Column with the class name, an integer, a quantity, or several names with a `separator`; or several columns,
            each 0, 1 or empty (multilabel), or quantities (`kind=regression`). A whole number may be written 1 or 1.0.
        kind: auto, multiclass, ordinal, multilabel or regression; auto: multilabel for several columns or a separator, else
            multiclass.
        names: Class names in index order: for ordinal labels from low to high; numbers are taken as text. None: as they sort.
        units: A unit for each quantity.
        separator: What stands between several findings in one cell; an empty cell is missing, `names` must be given.
        empty_words: Words and numbers that mean missing, such as [unknown, n/a, -1], in columns of targets, concepts, inputs,
            captions and subgroups.
        values: Word → what it means, such as {A: pathologic, P: normal, X: 1}, in target and concept columns; null: missing.
        concepts: Columns of 0, 1 or empty.
        caption: Column with text.
        group: Column that no split may cut (the patient); None: every image is its own group, and results say so.
        group_pattern: Regular expression whose first group finds the patient in the cell of `group`, or without one in the
            image file's name (in its path, if the pattern has a slash), such as `^(\d+)_`.
        split: Column with train, val or test (training, valid, validation, dev, testing are understood). None: by group.
        test_fraction: Share of the groups held out for testing where there is no split column.
        seed: Seed of that split.
        split_rule: 2: by group and seed, of fewer than 500 groups by class too. 1: as medzoo read and split tables at first.
        subgroups: Columns results are broken down by.
        inputs: Columns with numbers (tabular inputs).
        modality: What the images are, for the default augmentation: a policy such as xray, skin, fundus, oct, ct, or none.
        channels: 1 (gray) or 3 (RGB).
        window: [low, high], the values that become black and white in images of more than 8 bits (Hounsfield units for CT).
        deep: Keep more than 8 bits: images are then float32 in 0..1.
        frames: What becomes of files of several frames: members, each frame a sample with its row's labels and group; volume,
            all of a file one volume; None: they are refused.
        frame_number: Column with the number of the frame, from 0, where a row is one frame of a file; instead of `frames`.
        licence: The data's licence, kept in the model's spec.
        missing: error, skip or ignore image files that are not there.

    Raises:
        ConfigError: If the mapping is incomplete or contradicts itself, or one text is given for a list.
        DatasetError: If the file, a column or a row is not what it must be; names the line.
    """
    if file is None:
        raise ConfigError("data=table needs data.file=<your table>.csv (or .xlsx, .parquet, .jsonl) and data.target=<column>")
    choices(modality=(modality, POLICIES), missing=(missing, Missing))
    require_numbers({"seed": seed}, {"test_fraction": test_fraction})
    channels, rule = gray_or_colour(channels), check_rule(split_rule)
    names, units, empty_words = text_list(names, "names"), text_list(units, "units"), text_list(empty_words, "empty_words")
    concepts, subgroups, inputs = text_list(concepts, "concepts"), text_list(subgroups, "subgroups"), text_list(inputs, "inputs")
    id, caption = one_text(id, "id"), one_text(caption, "caption")  # noqa: A001  # the option's name
    group, split = one_text(group, "group"), one_text(split, "split")
    path, group_pattern, sheet = one_text(path, "path"), one_text(group_pattern, "group_pattern"), one_text(sheet, "sheet")
    target = target if target is None or isinstance(target, str) else text_list(target, "target")
    meanings, empty = text_mapping(values, "values"), empty_words or []
    source = local_path(file, "file")
    folder = source.parent if root is None else local_path(root, "root")
    columns = [image] if isinstance(image, str) else text_list(image, "image")
    if not columns:
        raise ConfigError(
            "data.image names no column; give the one with the image's path, or a list of them for views of one case"
        )
    frames, frame = frames_option(frames, rule), one_text(frame_number, "frame_number")
    check_frames(frames, frame, len(columns), rule)
    if rule != 1:  # as the table's header is read
        id, group, split, caption, frame = (  # noqa: A001
            None if one is None else clean(one) for one in (id, group, split, caption, frame)
        )
        concepts, subgroups, inputs = (None if some is None else list(map(clean, some)) for some in (concepts, subgroups, inputs))
        target = clean(target) if isinstance(target, str) else None if target is None else list(map(clean, target))
        columns = list(map(clean, columns))
    rows, merged = read_table(source, sheet=sheet, encoding=encoding, decimal=decimal, rule=rule)
    said = [target] if isinstance(target, str) else target or []
    for column in (*columns, id, group, split, caption, frame, *said, *(concepts or []), *(subgroups or []), *(inputs or [])):
        if column is not None:
            _ = rows[column]  # a column that is not there is named before a file is looked for
    notes = [found.note(repr(column)) for column, found in merged.items() if column in (group, split, *said, *(subgroups or []))]
    if meanings:
        rows, unused = replace_values(rows, dict.fromkeys([*said, *(concepts or [])]), meanings)
        notes += unused
    views = len(columns) > 1
    paths = [f"path_{i + 1}" for i in range(len(columns))] if views else ["path"]
    present = [] if missing == "ignore" else list_files(folder)
    places = Places(folder, source.parent, None if missing == "ignore" else present)
    found, more = image_paths(rows, columns, places, path)
    notes += more
    table = found.set_axis(paths, axis=1)
    numbers = None if frame is None else frame_numbers(rows, frame)
    table.insert(0, "sample_id", sample_names(rows, table[paths], columns, id, rule, numbers))
    if rule == 1:
        if group is not None:
            rows.refuse(rows[group] == "", group, remedy="every sample needs its group")
        table["group"] = table["sample_id"] if group is None else rows[group]
    else:
        table["group"], more = group_names(rows, table["sample_id"], table[paths], group, group_pattern)
        notes += more
    space, targets = (None, pd.DataFrame(index=table.index))
    if target is not None:
        space, targets = make_targets(
            rows, target, kind=kind, names=names, units=units, separator=separator, empty_words=empty, ask=rule != 1
        )
        if rule != 1 and isinstance(target, str) and space.exclusive and (one := unify(rows[target], plain_number)[1]):
            notes.append(one.note(f"classes of {target!r}"))
    elif kind != "auto" or names or units or separator or meanings:
        raise ConfigError("data.kind, names, units, separator and values describe data.target, which is not given")
    own = {"sample_id", "split", "group", "target", "caption", *paths, *targets.columns}
    own |= set() if frames is None and frame is None else {FRAME}
    for name in subgroups or []:
        if name in own:
            raise ConfigError(f"data.subgroups: {name!r} is a name of medzoo's own columns; rename the column in {source.name}")
    extra = {f"concept.{name}": read_yes_no(rows, name, empty) for name in concepts or []}
    extra |= {f"input.{name}": quantities(rows, name, empty) for name in inputs or []}
    for name in subgroups or []:
        extra[name], more = subgroup(rows, name, empty, rule)
        notes += more
    if caption is not None:
        extra["caption"] = captions(rows, caption, empty, rule)
    table = pd.concat([table, targets, pd.DataFrame(extra, index=table.index)], axis=1)
    if split is not None:
        table["split"] = split_words(rows, split)
    if numbers is not None:
        table[FRAME] = numbers
    elif frames == MEMBERS:
        table, more = frame_rows(table, folder, present, missing)
        notes += more
    if split is None and rule == 1:
        table["split"] = hash_split(table["group"], salt=f"table/{source.stem}/{seed}", fractions=(0.0, test_fraction))
    elif split is None:
        table["split"] = split_by_group(table, space, test_fraction, seed)
    volume = bool(table[paths[0]].dropna().astype(str).str.lower().str.endswith(VOLUME_SUFFIXES).any())
    if missing != "ignore":
        refuse_absent(table, present, paths, missing, source.stem)
    table, lacking = with_files(table, present, paths, missing, source.stem)
    value_type: Literal["uint8", "float32"] = "float32" if deep else "uint8"
    if volume and channels != 1:
        raise ConfigError("NIfTI volumes have one channel: set data.channels=1")
    if volume and (frames is not None or frame is not None):
        raise ConfigError("NIfTI files are volumes already, turned alike: leave data.frames and data.frame_number out")
    frames = "members" if frame is not None else frames
    taken = (*paths, FRAME) if frames == MEMBERS else tuple(paths)
    reader = FileReader(folder, taken, channels, value_type, low_high(window, "window"), views, frames, SAY_FRAMES)
    lacking += range_notes(reader, table[paths[0]].dropna())
    nobody = "file" if frames == MEMBERS else "image"
    unit = group if group is not None else "patient" if group_pattern is not None and rule != 1 else nobody
    known = population_keys(folder, source.read_bytes(), table[paths])
    return Dataset(
        _info(source.stem, modality, space, unit, (*notes, *lacking), value_type, licence, known),
        table.reset_index(drop=True),
        reader,
        space,
        concepts=ConceptSpace(tuple(concepts)) if concepts else None,
        subgroups=tuple(subgroups or ()),
    )  # fmt: skip


def _info(
    name: str, modality: str, labels: Any, unit: str, notes: tuple[str, ...], value_type: str, licence: str = "your own",
    populations: tuple[str, ...] = (),
) -> DatasetInfo:  # fmt: skip
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
