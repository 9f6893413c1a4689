"""Shards: tar files of samples as WebDataset has them, read by an index of offsets, any sample at any time.

Nothing is unpickled and no command is run. The order of an epoch is a function of its seed, as of every dataset, and not of the
files: a training that is killed goes on to the same bits, and a sample comes once an epoch whatever ranks and workers share it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.dataset import Dataset
from medzoo.data.datasets.shards.columns import (
    caption_column,
    concept_columns,
    group_names,
    input_columns,
    label_columns,
    sample_ids,
    split_words,
    splits_of_names,
    subgroup_columns,
)
from medzoo.data.datasets.shards.fields import Shards, read_fields
from medzoo.data.datasets.shards.meanings import Meanings, with_card
from medzoo.data.datasets.shards.reader import ShardReader, image_endings
from medzoo.data.datasets.shards.urls import checksum_of, find_shards, read_checksums
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import Missing
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.options import choices, image_channels, local_path, low_high, one_text, require_numbers, text_list
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.populations import population_keys
from medzoo.data.splits.stratified import split_by_group
from medzoo.data.tables.targets import Kind
from medzoo.data.tars.index import open_index


def infos() -> list[DatasetInfo]:
    """Return the card of shards; the data's own is made when some are loaded."""
    return [_info("shards", "shards of your own", "none", None, None, "image", "your own", "uint8", ())]


def load(
    urls: str | list[str] | None = None,
    root: str | Path | None = None,
    card: str | None = "shards.json",
    checksums: Any = None,
    download: bool = False,
    image: Any = None,
    id: str | None = None,  # noqa: A002  # as of a table
    by_shard: bool = False,
    target: str | list[str] | None = None,
    kind: Kind = "auto",
    names: Sequence[str | float] | None = None,
    units: list[str] | None = None,
    separator: str | None = None,
    left_out: Sequence[str] | None = None,
    empty_words: Sequence[str | float] | None = None,
    values: Mapping[str | float, str | float | None] | None = None,
    soft: bool = False,
    weight: str | None = None,
    concepts: list[str] | None = None,
    graded: bool = False,
    concept_groups: Any = None,
    caption: str | None = None,
    group: str | None = None,
    group_pattern: str | None = None,
    split_unit: str | None = None,
    split: str | None = None,
    split_pattern: str | None = None,
    anew: bool = False,
    test_fraction: float = 0.2,
    seed: int = 0,
    split_rule: int = 2,
    subgroups: list[str] | None = None,
    keep: list[str] | None = None,
    inputs: list[str] | None = None,
    categories: Any = None,
    modality: str = "none",
    channels: int = 3,
    window: list[float] | None = None,
    deep: bool = False,
    licence: str = "your own",
    missing: Missing = "error",
) -> Dataset:
    r"""Load shards.

    Fields are those of the samples' JSON; with a dot before it (`.cls`, `.txt`) the words of the member of that ending.

    Args:
        urls: Tar files, or a list of them: `train-{000..009}.tar`, `*/*.tar`, `https://...`,
            `hf://datasets/<owner>/<name>/<file>`. None: every .tar file of the root.
        root: Folder that names are relative to, and that addresses are fetched into.
        card: File beside the shards that says what fields mean, as `medzoo prepare` writes it; options that are given count more.
            None: it is not read.
        checksums: A file as `sha256sum` writes it, or {name: sum}; shards of an address need it, others are compared once.
        download: Fetch shards of addresses that are not there.
        image: Ending of the members that are images, or a list; None: the one that is named as an image file or an array (.npy).
        id: Field with a unique name of the sample; None: its key.
        by_shard: Names are shard and key, where keys repeat from shard to shard; the shard with its folders, where two have one
            name.
        target: Field with the class name, an integer, a quantity, or several names with a `separator`; or several fields.
        kind: auto, multiclass, ordinal, multilabel or regression; auto: multilabel for several fields or a separator, else
            multiclass.
        names: Class names in index order; for ordinal labels from low to high. None: as they sort.
        units: A unit for each quantity.
        separator: Between several findings in one field, or `[]` of a list; needs `names`.
        left_out: Findings that are no labels; `*`: all that `names` does not list.
        empty_words: Words that mean missing.
        values: Word → what it means in target and concept fields; null: missing.
        soft: Targets are shares from 0 to 1, a field each, of exclusive classes or with kind=multilabel of findings.
        weight: Field with how much each sample counts in training.
        concepts: Fields of 0, 1 or nothing.
        graded: Concepts are numbers from 0 to 1.
        concept_groups: Concepts that are corrected together, {group: [concepts]}.
        caption: Field with text; `.txt` is read from the mapped index and needs no column in memory.
        group: Field that no split may cut (the patient); None: every sample is its own group, and results say so.
        group_pattern: Regular expression whose first group finds the patient in that field, or without one in the key.
        split_unit: What a group is, where it is no patient; None: patient where there are groups.
        split: Field with train, val or test; None: as the shards' names or folders say, or by group where none says anything.
        split_pattern: Regular expression whose first group finds the split in a shard's name, or if it has a slash in its path
            below the root; None: a word of the name, or a folder that is one.
        anew: Split by group, whatever shards or fields say.
        test_fraction: Share of the groups held out for testing where nothing says the split.
        seed: Seed of that split.
        split_rule: 2: by group and seed, of fewer than 500 groups by class too.
        subgroups: Fields results are broken down by.
        keep: Fields that predictions carry.
        inputs: Fields with values beside the image.
        categories: Those of the inputs that are words: a list, or each with its words in order.
        modality: What the images are, for the default augmentation.
        channels: 1 (gray) or 3 (RGB).
        window: [low, high], the values that become black and white in images of more than 8 bits.
        deep: Keep more than 8 bits: images are then float32 in 0..1.
        licence: The data's licence.
        missing: error, skip or ignore samples without an image.

    Raises:
        ConfigError: If options are missing, wrong or contradict each other.
        DatasetError: If a shard, a field or a sample is not what it must be; names it.
    """
    asked = dict(locals())
    choices(missing=(missing, Missing))
    require_numbers({"seed": seed}, {"test_fraction": test_fraction})
    if split_rule != 2:
        raise ConfigError(f"data.split_rule={split_rule!r}: shards know rule 2 alone")
    folder = None if root is None else local_path(root, "root")
    sums = read_checksums(checksums, folder)
    paths = find_shards(urls, folder, download, sums)
    defaults = {name: one.default for name, one in inspect.signature(load).parameters.items()}
    asked, notes = with_card(asked, defaults, paths)
    choices(modality=(asked["modality"], POLICIES))
    meanings = Meanings.read(asked)
    shards = Shards(tuple(open_index(path, checksum_of(path, sums)) for path in paths), folder)
    reader, there = _reader(shards, asked)
    rows = read_fields(shards, meanings.fields)
    ids = sample_ids(shards, rows, meanings)
    groups, of_groups = group_names(rows, ids, meanings)
    labels, targets, of_targets = label_columns(rows, meanings)
    space, known = concept_columns(rows, meanings)
    beside, values_beside = input_columns(rows, meanings)
    levels, of_levels = subgroup_columns(rows, meanings)
    columns: dict[str, Any] = {"sample_id": ids, "group": groups, "position": np.arange(len(shards), dtype=np.int64)}
    columns |= {str(name): column for part in (targets, known, values_beside, levels) for name, column in part.items()}
    if meanings.weight is not None:
        rows.refuse(rows[meanings.weight] == "", meanings.weight, remedy="every sample needs a weight")
        columns["sample_weight"] = rows.numbers(meanings.weight)
    if (texts := caption_column(shards, rows, meanings)) is not None:
        columns["caption"] = texts
    said = None
    if not asked["anew"]:
        pattern = meanings.split_pattern
        said = split_words(rows, meanings.split) if meanings.split is not None else splits_of_names(shards, pattern)
    if said is not None:
        columns["split"] = said
    table = pd.DataFrame(columns, copy=False)
    told = [*notes, *of_groups, *of_targets, *of_levels, *_stray_notes(shards)]
    if missing == "error" and not there.all():
        place = int(np.argmin(there))
        raise DatasetError(
            f"{shards.where(place)} has no image ({int((~there).sum())} such samples); leave them out with data.missing=skip"
        )
    if missing == "skip" and not there.all():
        table = table[there].reset_index(drop=True)
        told.append(f"{int((~there).sum())} of {len(there)} samples left out: they have no image")
    if said is None:
        table["split"] = split_by_group(table, labels, test_fraction, seed)
    own = meanings.group is not None or meanings.group_pattern is not None
    unit = one_text(asked["split_unit"], "split_unit") or ("patient" if own else "image")
    title = shards.folder.name or "shards"
    info = _info(
        f"shards/{title}", title, asked["modality"], labels, space, unit, str(asked["licence"]), reader.dtype, tuple(told),
        _populations(shards),
    )  # fmt: skip
    return Dataset(
        info, table, reader, labels, space, subgroups=tuple(meanings.subgroups), inputs=beside, kept=tuple(meanings.keep)
    )


def _reader(shards: Shards, asked: Mapping[str, Any]) -> tuple[ShardReader, Any]:
    image = asked["image"]
    endings = image.split(";") if isinstance(image, str) else text_list(image, "image")
    endings = None if endings is None else [ending.removeprefix(".").lower() for ending in endings]
    found, there = image_endings(shards, endings)
    window, dtype = low_high(asked["window"], "window"), "float32" if asked["deep"] else "uint8"
    paths = tuple(index.path for index in shards.indexes)
    channels, frames = image_channels(asked["channels"], None)
    reader = ShardReader(paths, found, channels, dtype, window, frames=frames)  # type: ignore[arg-type]  # one of two types
    reader._opened.append(shards)
    return reader, there


def _stray_notes(shards: Shards) -> list[str]:
    strays = sum(int(index.about["strays"]) for index in shards.indexes)
    named = [name for index in shards.indexes for name in index.about["passed_over"]][:3]
    return [f"{strays} members of shards are of no sample and passed over, such as {', '.join(named)}"] if strays else []


def _populations(shards: Shards) -> tuple[str, ...]:
    digest = hashlib.sha256("\n".join(sorted(index.digest() for index in shards.indexes)).encode("ascii"))
    return population_keys(shards.folder, digest.digest(), pd.DataFrame())


def _info(
    name: str, title: str, modality: str, labels: LabelSpace | None, concepts: ConceptSpace | None, unit: str, licence: str,
    value_type: str, notes: tuple[str, ...], populations: tuple[str, ...] = (),
) -> DatasetInfo:  # fmt: skip
    return DatasetInfo(
        name=name, title=title, modality=modality, licence=licence, citation="", homepage="", labels=labels, concepts=concepts,
        split_unit=unit, value_type=value_type, notes=notes, population=name, populations=populations,
    )  # fmt: skip
