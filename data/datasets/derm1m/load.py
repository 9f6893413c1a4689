"""Derm1M (v2): about 423,000 skin images with captions, diagnoses in a hierarchy, and concepts, from eight kinds of source.

Yan et al. 2025 (arXiv 2503.14911). Files, columns and sentinels are those of the dataset card (Hugging Face
redlessone/Derm1M, gated, CC BY-NC 4.0) and of SiyuanYan1/Derm1M @92d8fa9; no file of the authors was at hand when this was
written. The CSV files hold both a `source` and what the source says of the patient; the rules are in
`medzoo.data.datasets.derm1m.labels` (classes, concepts) and `.rows` (samples, groups, image files, ages and genders).

The authors publish a pretrain and a validation file and no test file. By default validation becomes `test` and val is
carved from pretrain by group: an epoch is chosen on val, so a number on the official validation rows would be optimistic if
they were val, and there would be no other rows to report on. `validation=val` keeps the authors' word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from medzoo.data.dataset import Dataset, concept_columns
from medzoo.data.datasets.derm1m.labels import class_targets, concept_values
from medzoo.data.datasets.derm1m.rows import (
    age_bands,
    ages,
    content_ids,
    drop_copies,
    genders,
    in_both,
    place_images,
    sample_ids,
    source_groups,
)
from medzoo.data.datasets.derm1m.tables import HOMEPAGE, NAME, read_filenames, read_ontology, read_rows
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.images.files import FileReader, Missing, list_files, with_files
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace
from medzoo.data.options import choices, chosen
from medzoo.data.tables import count_note

Derm1MLabels = Literal["level1", "level2", "level3", "level4", "disease", "none"]
Caption = Literal["full", "truncated", "none"]
Validation = Literal["test", "val"]
Overlap = Literal["error", "drop_pretrain", "keep"]

PRETRAIN, VALIDATION = "Derm1M_v2_pretrain.csv", "Derm1M_v2_validation.csv"
VALIDATION_ROWS = 9_806  # SiyuanYan1/DermFM-Zero, README
_CAPTIONS = {"full": "caption", "truncated": "truncated_caption"}


def infos() -> list[DatasetInfo]:
    """Return the dataset's one card; its classes and concepts are known when its files are read."""
    return [_info("test")]


def load(
    labels: Derm1MLabels = "level1",
    min_count: int = 20,
    caption: Caption = "truncated",
    texts: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    validation: Validation = "test",
    overlap: Overlap = "error",
    root: str | Path = "~/data/derm1m",
    missing: Missing = "error",
) -> Dataset:
    """Load the table of all rows; images are read when needed.

    Args:
        labels: What is the class: the diagnosis at a level of `hierarchical_disease_label` (`level1` is next to the root),
            `disease_label`, or nothing. Rows whose path is too short have no target.
        min_count: Classes and concepts in fewer pretrain rows than this are left out, and counted. They are counted before
            images are looked for, so that a part of the download has the same classes.
        caption: The `full` one, the `truncated` one that the authors train CLIP on, or none.
        texts: What a model may read beside the image: `caption`, the one chosen above. It often names the diagnosis, which is
            then no longer asked of the image: `medzoo verify` counts that. None: nothing.
        sources: Keep rows of these values of column `source` alone; None keeps all.
        validation: What the authors' validation file becomes; see the module's text.
        overlap: What to do with pretrain rows of a video or image that has validation rows: stop with an `error`,
            `drop_pretrain` rows and count them, or `keep` them (which needs `data.allow_shared_groups=true`).
        root: Folder with `Derm1M_v2_pretrain.csv`, `Derm1M_v2_validation.csv`, `ontology.json` (if there, paths are held
            against it) and the unpacked archives, which may have lost or doubled their top folder.
        missing: What to do when images are not there: `error`, `skip` their rows and say so, or `ignore`, which does not
            look (images are then read from where the table names them).

    Returns:
        One row an image and caption. `group` is the video or the image. Multiclass `target` codes; `concept.<name>` 1 where
        named, 0 where the row names others, NaN where it names none; `caption`; `age` in years, `age_band`, `gender`,
        `source`, `source_type`, `body_location`, `symptoms`. Images (3, H, W) uint8.

    Raises:
        UnknownNameError: On a word or source that is not known.
        ConfigError: If `min_count` is below 1.
        DatasetError: If a file or column is missing, a row is bad, images are not there, or pretrain and validation rows
            share a group; one line that names the file and line.
    """
    choices(labels=(labels, Derm1MLabels), caption=(caption, Caption), validation=(validation, Validation))
    choices(overlap=(overlap, Overlap), missing=(missing, Missing))
    told = tuple(chosen(texts, "texts", ("caption",)) or ())
    if told and caption == "none":
        raise ConfigError("data.texts=[caption] with data.caption=none: say which caption, full or truncated")
    if not isinstance(min_count, int) or min_count < 1:
        raise ConfigError(f"{NAME}: min_count={min_count!r} is not a whole number of at least 1")
    folder = Path(root).expanduser()
    rows, notes = _chosen_rows(folder, validation, sources, overlap)
    pretrain = rows["split"] == "train"
    table, more = _plain_columns(rows, caption)
    notes += more
    info, space = _info(validation), None
    if labels != "none":
        targets = class_targets(rows, labels, min_count, read_ontology(folder / "ontology.json"), pretrain)
        table["target"], space = targets.codes, targets.labels
        notes += targets.notes
    table, concepts, more = _with_concepts(table, rows["skin_concept"], min_count, pretrain)
    notes += (*more, *_concept_file(folder / "concept.csv", rows["filename"]))
    present = [] if missing == "ignore" else list_files(folder)
    table["path"] = place_images(rows["filename"], present) if present else rows["filename"]
    del rows  # the captions alone are half a gigabyte
    table, more = with_files(table, present, ["path"], missing, NAME)
    table = table.assign(**{f"text.{name}": table[name] for name in told})
    return Dataset(
        info=replace(info, labels=space, concepts=concepts, notes=(*info.notes, *notes, *more)),
        table=table.reset_index(drop=True),
        reader=FileReader(folder),
        labels=space,
        concepts=concepts,
        subgroups=("source_type", "gender", "age_band"),
        texts=told,
    )


def _chosen_rows(
    folder: Path, validation: Validation, sources: Sequence[str] | None, overlap: Overlap
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows that stay, with `sample_id`, `split` and `group`, and notes that count the others."""
    rows, notes = _of_sources(*_read_both(folder, validation), sources)
    rows, ids, more = drop_copies(rows, content_ids(rows))
    notes += more
    groups = source_groups(rows["filename"])
    shared = in_both(groups, rows["split"] == "train")
    if overlap == "error" and shared.any():
        raise DatasetError(
            f"{NAME}: {groups[shared].nunique()} videos or images (such as {groups[shared].min()!r}) stand in {PRETRAIN} and in "
            f"{VALIDATION}; leave out their {int(shared.sum())} pretrain rows with data.overlap=drop_pretrain, or keep them with "
            "data.overlap=keep data.allow_shared_groups=true"
        )
    if overlap == "drop_pretrain" and shared.any():
        notes += (f"{int(shared.sum())} pretrain rows of videos or images with validation rows are left out",)
        rows, ids, groups = rows[~shared], ids[~shared], groups[~shared]
        if not (rows["split"] == "train").any():
            raise DatasetError(f"{NAME}: every row of {PRETRAIN} is of a video or image with validation rows")
    ids, more = sample_ids(rows, ids)
    return rows.assign(sample_id=ids, group=groups), notes + more


def _read_both(folder: Path, validation: Validation) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows of both files with their split, pretrain first, and a note if they are not the official ones."""
    parts = {"train": read_rows(folder / PRETRAIN), validation: read_rows(folder / VALIDATION)}
    found = len(parts[validation])
    notes = (f"not the official release: {found} validation rows, officially {VALIDATION_ROWS}",) * (found != VALIDATION_ROWS)
    return pd.concat([part.assign(split=split) for split, part in parts.items()], ignore_index=True), notes


def _of_sources(
    rows: pd.DataFrame, notes: tuple[str, ...], sources: Sequence[str] | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if sources is None:
        return rows, notes
    wanted = [sources] if isinstance(sources, str) else list(sources)
    known = [str(source) for source in rows["source"].dropna().unique()]
    for source in wanted:
        if source not in known:
            raise UnknownNameError("Derm1M source", source, known)
    kept = rows[rows["source"].isin(wanted)]
    if not (kept["split"] == "train").any():
        raise DatasetError(f"{NAME}: no row of {PRETRAIN} is of data.sources={','.join(wanted) or '[]'}; choose more sources")
    return kept, (*notes, f"{len(kept)} of {len(rows)} rows are of the chosen sources ({', '.join(wanted)})")


def _plain_columns(rows: pd.DataFrame, caption: Caption) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns that are neither labels nor ids, and notes that count what they lack."""
    table = rows[["sample_id", "split", "group", "source", "source_type", "body_location", "symptoms"]].copy()
    table["age"], notes = ages(rows["age"])
    table["age_band"] = age_bands(table["age"])
    table["gender"], more = genders(rows["gender"])
    notes += more
    if caption != "none":
        table["caption"] = rows[_CAPTIONS[caption]]
        notes += count_note(table["caption"].isna(), f"rows have no {caption} caption")
    return table, notes


def _with_concepts(
    table: pd.DataFrame, listed: pd.Series, min_count: int, pretrain: pd.Series
) -> tuple[pd.DataFrame, ConceptSpace | None, tuple[str, ...]]:
    concepts = concept_values(listed, min_count, pretrain)
    if concepts.space is None:
        return table, None, concepts.notes
    values = pd.DataFrame(concepts.values, index=table.index, columns=concept_columns(concepts.space))
    return pd.concat([table, values], axis=1), concepts.space, concepts.notes


def _concept_file(path: Path, filenames: pd.Series) -> tuple[str, ...]:
    """Return a note on concept.csv, of which only the key is documented: concepts come from `skin_concept` alone."""
    if not path.is_file():
        return ()
    try:
        named = read_filenames(path)
    except DatasetError as error:
        return (f"concept.csv is not used: {error}",)
    images = filenames.drop_duplicates()
    return (f"concept.csv is not used, for its columns are not documented; it names {int(images.isin(named).sum())} of "
            f"{len(images)} images",)  # fmt: skip


def _info(validation: str) -> DatasetInfo:
    return DatasetInfo(
        name=NAME,
        title="Derm1M",
        modality="skin",
        licence="CC BY-NC 4.0",
        citation="Yan S, Hu M, Jiang Y, et al. Derm1M: a million-scale vision-language dataset aligned with clinical ontology "
        "knowledge for dermatology. 2025, arXiv 2503.14911.",
        homepage=HOMEPAGE,
        labels=None,
        split_unit="video or image",
        counts={validation: VALIDATION_ROWS},
        notes=(
            "groups are YouTube videos, else single images: no article, post or patient is known, so those of one may stand in "
            "two splits and intervals may be too narrow",
            # SiyuanYan1/Derm1M's list of public sources.
            "SCIN is among the public sources: a model trained here is not new to SCIN",
            "rows come from videos, papers, forums, public datasets and teaching slides: labels are not of one standard",
        ),
    )
