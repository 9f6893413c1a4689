"""Your own images in one folder a class: `folder/class/*.png`, or `folder/train/class/*.png` beside val and test."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from medzoo.data.dataset import SPLIT_WORDS, Dataset
from medzoo.data.datasets.folder.layout import (
    Layout,
    check_alike,
    check_class_folders,
    check_one_folder,
    check_words,
    merged_folders,
    read_layout,
)
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.images.files import FRAME, SAY_FRAMES, FileReader, list_files, range_notes, with_frames
from medzoo.data.images.frames import CHANNELS, MEMBERS, Frames
from medzoo.data.images.kinds import READ, summary
from medzoo.data.images.listing import images_below, same_files
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choices, frames_option, image_channels, local_path, low_high, require_numbers, text_list
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import hash_split, merge_groups
from medzoo.data.splits.patterns import groups_by_pattern
from medzoo.data.splits.populations import population_keys
from medzoo.data.splits.stratified import check_rule, split_by_group
from medzoo.data.tables.numbered import KEEP_ONE, number_of, refuse_equal_grades, unquoted
from medzoo.data.tables.targets import refuse_gap
from medzoo.data.tables.words import identifier, refuse_nobodies, unify

Split = Literal["auto", "group"]
FIRST_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
"""What rule 1 took for images."""


def infos() -> list[DatasetInfo]:
    """Return the card of a folder; the data's own is made when one is loaded."""
    return [_info("folder", "a folder of your own", "none", None, "image", "your own", ())]


def load(
    root: str | Path | None = None,
    names: Sequence[str | float] | None = None,
    ordinal: bool = False,
    group_pattern: str | None = None,
    domain_pattern: str | None = None,
    split: Split = "auto",
    test_fraction: float = 0.2,
    seed: int = 0,
    split_rule: int = 2,
    modality: str = "none",
    channels: int = 3,
    window: list[float] | None = None,
    deep: bool = False,
    frames: Frames | None = None,
    licence: str = "your own",
) -> Dataset:
    r"""Load a folder of class folders.

    Args:
        root: The folder. If its subfolders are splits (train, val, test, in the usual spellings), classes lie below them; or
            splits lie inside every class folder.
        names: Class folders in index order; numbers are taken as text. Images below any other folder are an error; a class
            without images stays a class, and every report says so. None: as they sort, and each must hold an image (in one of
            the splits).
        ordinal: Whether the order of the classes counts (grades); words, and whole numbers with a gap between them, need `names`
            then.
        group_pattern: Regular expression whose first group finds the patient in a file's name (in its path below `root`, if the
            pattern has a slash), such as `^(\d+)_`; None: every image is its own group, and results say so.
        domain_pattern: The same for the site, scanner or year: its first group becomes the column `domain`, which
            data.domain=domain names.
        split: auto: that of the folders, or by group where they know none; group: anew by group, whatever the folders say.
        test_fraction: Share of the groups held out for testing where the folders know no split.
        seed: Seed of that split.
        split_rule: 2: by group and seed, of fewer than 500 groups by class too. 1: as medzoo read and split folders at first.
        modality: What the images are, for the default augmentation: a policy such as xray, skin, fundus, oct, or none.
        channels: 1 (gray) or 3 (RGB); any other number, to 32: the planes that each file holds (TIFF, .npy).
        window: [low, high], the values that become black and white in images of more than 8 bits (Hounsfield units for CT).
        deep: Keep more than 8 bits: images are then float32 in 0..1.
        frames: What becomes of files of several frames: members, each frame an image of its own with its file's class, the
            frames of a file one group; volume, all of a file one volume; channels, those of an image; None: they are refused.
        licence: The data's licence, kept in the model's spec.

    Raises:
        ConfigError: If an option is missing or wrong, grades without names are words or have a gap, or two grades are one
            number.
        DatasetError: If there are no images, a class folder holds none, a class is unknown, or a name does not hold its patient.
    """
    if root is None:
        raise ConfigError("data=folder needs data.root=<folder with a subfolder for each class>")
    choices(modality=(modality, POLICIES), split=(split, Split))
    require_numbers({"seed": seed}, {"test_fraction": test_fraction})
    rule = check_rule(split_rule)
    channels, frames = image_channels(channels, frames_option(frames, rule))
    names = text_list(names, "names")
    folder = local_path(root, "root")
    if not folder.is_dir():
        raise DatasetError(f"no folder at {folder}; set data.root to where the dataset lies")
    paths, left_out = (list_files(folder, FIRST_SUFFIXES), []) if rule == 1 else images_below(folder, planes=frames == CHANNELS)
    if not paths:
        beside = f"; it holds {summary(left_out)}" if left_out else ""
        raise DatasetError(f"no image below {folder} (known: {READ}){beside}")
    given = names if names is None or rule == 1 else [identifier(name) for name in names]
    layout = _first_layout(folder, paths) if rule == 1 else read_layout(folder, paths, given)
    if names is None:
        check_class_folders(folder, layout)
        if rule != 1:
            check_words(folder, layout)
            check_alike(folder, layout)
    found = given if given is not None else _in_order(set(layout.classes), ordinal, folder, rule)
    if ordinal and given is not None and rule != 1:
        refuse_equal_grades(given, "data.names", KEEP_ONE)
    space = LabelSpace("ordinal" if ordinal else "multiclass", tuple(names if names is not None else found))
    place = {name: float(code) for code, name in enumerate(found)}
    unknown = [index for index, name in enumerate(layout.classes) if name not in place]
    if unknown:
        error = UnknownNameError("class folder", layout.classes[unknown[0]], space.names)
        raise DatasetError(f"{folder / paths[unknown[0]]}: {error}{unquoted(layout.classes[unknown[0]], space.names)}")
    ids = paths if rule == 1 else [path if path.isascii() else unicodedata.normalize("NFC", path) for path in paths]
    table = pd.DataFrame({"sample_id": ids, "path": paths, "target": [place[name] for name in layout.classes]})
    notes = [f"no image of {', '.join(lacking)}"] if (lacking := [name for name in found if name not in layout.classes]) else []
    notes += [] if rule == 1 else merged_folders(paths, layout)
    table["group"] = table["sample_id"]
    if group_pattern is not None:
        table["group"] = groups_by_pattern(paths, group_pattern)
        if rule != 1:
            refuse_nobodies(list(table["group"]), group_pattern)
            table["group"], merged = unify(table["group"], identifier)
            notes += [] if merged is None else [merged.note("groups")]
    if domain_pattern is not None:
        table["domain"] = groups_by_pattern(paths, domain_pattern, option="domain_pattern", what="domain")
    if rule != 1 and (stands := same_files(folder, paths)):
        notes += check_one_folder(folder, paths, layout, stands)
        alike = pd.Series(paths).map(stands).dropna()
        table["group"] = merge_groups(list(table["group"]), map(list, alike.groupby(alike).groups.values()))
    if layout.splits is not None and split == "auto":
        table["split"] = layout.splits
    known = population_keys(folder, "\n".join(paths).encode("utf-8", "surrogatepass"), table[["path"]])
    if frames == MEMBERS:
        table, more = with_frames(table, folder)
        notes += more
    if "split" not in table and rule == 1:
        table["split"] = hash_split(table["group"], salt=f"folder/{folder.name}/{seed}", fractions=(0.0, test_fraction))
    elif "split" not in table:
        table["split"] = split_by_group(table, space, test_fraction, seed)
        if layout.splits is not None:
            notes.append("split anew by group (data.split=group): the folders' own train, val and test do not count")
    if left_out:
        notes.append(f"left out: {summary(left_out)} (not images that are read here)")
    columns = ("path", FRAME) if frames == MEMBERS else ("path",)
    value_type: Literal["uint8", "float32"] = "float32" if deep else "uint8"
    reader = FileReader(folder, columns, channels, value_type, low_high(window, "window"), frames=frames, remedy=SAY_FRAMES)
    notes += range_notes(reader, paths)
    unit = "patient" if group_pattern is not None else "file" if frames == MEMBERS else "image"
    return Dataset(
        _info(f"folder/{folder.name}", folder.name, modality, space, unit, licence, tuple(notes), known, value_type),
        table.astype({"target": np.float64}),
        reader,
        space,
        subgroups=() if domain_pattern is None else ("domain",),
    )


def _in_order(classes: set[str], ordinal: bool, folder: Path, rule: int) -> list[str]:
    """Return class folders as they sort, numbers as numbers; words alone tell no order of grades, nor numbers with a gap all."""
    if rule == 1:
        return sorted(classes)
    numbers = {name: number_of(name) for name in classes}
    if ordinal and any(number is None for number in numbers.values()):
        raise ConfigError(
            f"the grades of {folder} are words: give their order, from low to high, as data.names=[...] "
            f"({', '.join(sorted(classes)[:12])})"
        )
    found = sorted(classes, key=lambda name: (numbers[name] is None, numbers[name] or 0.0, name))
    if ordinal:
        refuse_equal_grades(found, f"class folders of {folder}", "put their images into one folder")
        refuse_gap(found, f"no folder of {folder}")
    return found


def _first_layout(folder: Path, paths: Sequence[str]) -> Layout:
    """Return the layout as medzoo found it under rule 1: all folders are splits, or all are classes."""
    parts = [path.split("/") for path in paths]
    tops = {part[0] for part in parts if len(part) > 1}
    depth = int(bool(tops) and all(top.lower() in SPLIT_WORDS for top in tops))
    loose = [path for path in paths if path.count("/") <= depth]
    if loose:
        form = "split/class/image" if depth else "class/image"
        raise DatasetError(f"{folder / loose[0]} lies in no class folder ({len(loose)} such images); images lie as {form}")
    splits = [SPLIT_WORDS[part[0].lower()] for part in parts] if depth else None
    return Layout([part[depth] for part in parts], splits, depth)


def _info(
    name: str, title: str, modality: str, labels: LabelSpace | None, unit: str, licence: str, notes: tuple[str, ...],
    populations: tuple[str, ...] = (), value_type: str = "uint8",
) -> DatasetInfo:  # fmt: skip
    return DatasetInfo(
        name=name, title=title, modality=modality, licence=licence, citation="", homepage="", labels=labels, split_unit=unit,
        notes=notes, population=name, populations=populations, value_type=value_type,
    )  # fmt: skip
