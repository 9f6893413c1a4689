"""Your own images in one folder a class: `folder/class/*.png`, or `folder/train/class/*.png` beside val and test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.dataset import SPLIT_WORDS, Dataset
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.images.files import FileReader, range_notes
from medzoo.data.images.kinds import READ, summary
from medzoo.data.images.listing import images_below
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choice, gray_or_colour, low_high, text_list
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import hash_split


def infos() -> list[DatasetInfo]:
    """Return the card of a folder; the data's own is made when one is loaded."""
    return [_info("folder", "a folder of your own", "none", None, "image", "your own", ())]


def load(
    root: str | Path | None = None,
    names: Sequence[str | float] | None = None,
    ordinal: bool = False,
    group_pattern: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    modality: str = "none",
    channels: int = 3,
    window: list[float] | None = None,
    licence: str = "your own",
) -> Dataset:
    r"""Load a folder of class folders.

    Args:
        root: The folder. If its subfolders are splits (train, val, test, in the usual spellings), classes lie below them.
        names: Class folders in index order; numbers are taken as text. Images below any other folder are an error; a class
            without images stays a class, and every report says so. None: as they sort, and each must hold an image (in one of
            the splits).
        ordinal: Whether the order of the classes counts (grades).
        group_pattern: Regular expression whose first group finds the patient in a file's name, such as `^(\d+)_`; None: every
            image is its own group, and results say so.
        test_fraction: Share of the groups held out for testing where the folders know no split.
        seed: Seed of that split.
        modality: What the images are, for the default augmentation: a policy such as xray, skin, fundus, oct, or none.
        channels: 1 (gray) or 3 (RGB).
        window: [low, high], the values that become black and white in images of more than 8 bits (Hounsfield units for CT).
        licence: The data's licence, kept in the model's spec.

    Raises:
        ConfigError: If an option is missing or wrong.
        DatasetError: If there are no images, a class folder holds none, a class is unknown, or a name does not hold its patient.
    """
    if root is None:
        raise ConfigError("data=folder needs data.root=<folder with a subfolder for each class>")
    choice("modality", modality, POLICIES)
    channels = gray_or_colour(channels)
    names = text_list(names, "names")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"no folder at {folder}; set data.root to where the dataset lies")
    paths, left_out = images_below(folder)
    if not paths:
        beside = f"; it holds {summary(left_out)}" if left_out else ""
        raise DatasetError(f"no image below {folder} (known: {READ}){beside}")
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    splits = bool(tops) and all(top.lower() in SPLIT_WORDS for top in tops)
    depth = 1 if splits else 0
    loose = [path for path in paths if path.count("/") <= depth]
    if loose:
        form = "split/class/image" if splits else "class/image"
        raise DatasetError(f"{folder / loose[0]} lies in no class folder ({len(loose)} such images); images lie as {form}")
    parts = [path.split("/") for path in paths]
    classes = [part[depth] for part in parts]
    if names is None:
        _check_class_folders(folder, splits, set(classes))
    space = LabelSpace("ordinal" if ordinal else "multiclass", tuple(names) if names is not None else tuple(sorted(set(classes))))
    unknown = [place for place, name in enumerate(classes) if name not in space.names]
    if unknown:
        error = UnknownNameError("class folder", classes[unknown[0]], space.names)
        raise DatasetError(f"{folder / paths[unknown[0]]}: {error}")
    table = pd.DataFrame({"sample_id": paths, "path": paths, "target": [float(space.index(name)) for name in classes]})
    table["group"] = table["sample_id"] if group_pattern is None else _groups(parts, group_pattern)
    if splits:
        table["split"] = [SPLIT_WORDS[part[0].lower()] for part in parts]
    else:
        table["split"] = hash_split(table["group"], salt=f"folder/{folder.name}/{seed}", fractions=(0.0, test_fraction))
    absent = [name for name in space.names if name not in classes]
    notes: tuple[str, ...] = (f"no image of {', '.join(absent)}",) if absent else ()
    if left_out:
        notes += (f"left out: {summary(left_out)} (not images that are read here)",)
    reader = FileReader(folder, channels=channels, window=low_high(window, "window"))
    notes += range_notes(reader, paths)
    unit = "image" if group_pattern is None else "patient"
    return Dataset(
        _info(f"folder/{folder.name}", folder.name, modality, space, unit, licence, notes),
        table.astype({"target": np.float64}),
        reader,
        space,
    )


def _check_class_folders(folder: Path, splits: bool, filled: set[str]) -> None:
    """Refuse a class folder without images: left out in silence, the model would have a class less than the user sees."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if splits:  # a class may be absent from some of them
        tops = [path for path in folders if path.name.lower() in SPLIT_WORDS]
        folders = [path for top in tops for path in sorted(top.iterdir()) if path.is_dir()]
    for path in folders:
        if not path.name.startswith(".") and path.name not in filled:
            raise DatasetError(
                f"{path} holds no image (known: {READ}); fill or remove it, or list the classes in data.names=[...]"
            )


def _groups(parts: list[list[str]], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"data.group_pattern={pattern!r} is not a regular expression ({error})") from None
    if compiled.groups < 1:
        raise ConfigError(f"data.group_pattern={pattern!r} has no group in parentheses to take the patient from")
    found = [compiled.search(part[-1]) for part in parts]
    for part, match in zip(parts, found, strict=True):
        if match is None or not match.group(1):
            raise DatasetError(f"{'/'.join(part)}: data.group_pattern={pattern!r} finds no patient in the file's name")
    return [match.group(1) for match in found if match is not None]


def _info(
    name: str, title: str, modality: str, labels: LabelSpace | None, unit: str, licence: str, notes: tuple[str, ...]
) -> DatasetInfo:
    return DatasetInfo(
        name=name, title=title, modality=modality, licence=licence, citation="", homepage="", labels=labels, split_unit=unit,
        notes=notes, population=name,
    )  # fmt: skip
