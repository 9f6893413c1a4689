"""Fields of samples in shards → the columns of a dataset's table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from medzoo.data.dataset import SPLIT_WORDS, target_columns
from medzoo.data.datasets.shards.fields import SampleTable, Shards
from medzoo.data.datasets.shards.meanings import Meanings, plain_name, plain_names
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.given import no_text
from medzoo.data.inputs import InputSpace
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.splits.patterns import groups_by_pattern
from medzoo.data.tables.cells import read_share, read_yes_no, refuse_nobody, replace_values
from medzoo.data.tables.columns import captions, category, input_space, quantities, subgroup
from medzoo.data.tables.targets import make_targets
from medzoo.data.tables.words import identifier, refuse_nobodies, split_of, unify

_STEP = 65_536
"""Captions that are looked at at a time."""
_MAYBE_BLANK = r"^(?:$|[&\p{Cf}\p{Cc}])"
"""How captions begin, without white space, of which nothing may show."""


def sample_ids(shards: Shards, rows: SampleTable, meanings: Meanings) -> pd.Series:
    """Return the samples' names: their keys, a field, or shard and key; DatasetError if two have one."""
    if meanings.id is not None:
        rows.refuse(rows[meanings.id] == "", meanings.id, remedy="every sample needs a name")
        ids = rows[meanings.id]
    else:
        ids = shards.keys()
    if meanings.by_shard:
        if meanings.id is not None:
            raise ConfigError("data.by_shard puts the shard before the key, and data.id names a field; give one of the two")
        names = [name.removesuffix(".tar") for name in shards.names]
        of_row = np.repeat(np.array(names, dtype=object), [len(index) for index in shards.indexes])
        ids = pd.Series(of_row, dtype=str) + "/" + ids
    repeated = ids.duplicated()
    if repeated.any():
        name = ids[repeated].iloc[0]
        first, second = (shards.where(int(place)) for place in ids.index[ids == name][:2])
        other = "" if meanings.by_shard else ", or by shard and key, data.by_shard=true"
        raise DatasetError(f"{first} and {second} are both called {name!r}; name samples by a field, data.id=<field>{other}")
    return ids


def splits_of_names(shards: Shards, pattern: str | None) -> pd.Series | None:
    """Return the split that each sample's shard says by its name or its folders; None where none says one.

    Args:
        shards: The samples.
        pattern: Regular expression whose first group finds the word, in the path below the root if it has a slash; None: a
            word of the name, or a folder that is one.

    Raises:
        DatasetError: If some shards say one and others do not, or a name says two.
    """
    names = shards.paths
    if pattern is not None:
        found = [{word.lower()} for word in groups_by_pattern(names, pattern, option="split_pattern", what="split")]
        for name, words in zip(names, found, strict=True):
            if not words & SPLIT_WORDS.keys():
                raise DatasetError(f"{name}: data.split_pattern={pattern!r} finds {words.pop()!r}, not train, val or test")
    else:
        found = [_said(name) for name in names]
    splits = [sorted({SPLIT_WORDS[word] for word in words}) for words in found]
    if not any(splits):
        return None
    for name, said in zip(names, splits, strict=True):
        if len(said) != 1:
            what = f"says {' and '.join(said)}" if said else "says no split, and others do"
            raise DatasetError(
                f"{name}: its {'path' if '/' in name else 'name'} {what}; give data.split_pattern or data.split=<field>, or "
                "split by group, data.anew=true"
            )
    counts = [len(index) for index in shards.indexes]
    return pd.Series(np.repeat(np.array([said[0] for said in splits], dtype=object), counts), dtype=str)


def _said(path: str) -> set[str]:
    """Return the words of splits that a shard's path holds: those of its name, and its folders that are one."""
    *folders, name = path.split("/")
    found = set(re.split(r"[^a-z]+", name.lower())) & SPLIT_WORDS.keys()
    return found | {word for folder in folders if (word := split_of(folder)) is not None}


def group_names(rows: SampleTable, ids: pd.Series, meanings: Meanings) -> tuple[pd.Series, tuple[str, ...]]:
    """Return each sample's group, and notes; DatasetError if a field names nobody, or a pattern finds nothing."""
    column, pattern = meanings.group, meanings.group_pattern
    if column is None and pattern is None:
        return ids, ()
    if column is not None:
        refuse_nobody(rows, column)
    groups = ids if column is None else rows[column]
    if pattern is not None:
        found = groups_by_pattern(list(groups), pattern, column=column or "key")
        refuse_nobodies(found, pattern)
        groups = pd.Series(found, index=groups.index, dtype=str)
    groups, merged = unify(groups, identifier)
    return groups, () if merged is None else (merged.note("groups"),)


def split_words(rows: SampleTable, column: str) -> pd.Series:
    """Return train, val or test of each sample's field; DatasetError on any other word."""
    words = rows[column].str.lower()
    rows.refuse(~words.isin(list(SPLIT_WORDS)), column, "not train, val or test")
    return words.map(SPLIT_WORDS).astype(str)


def label_columns(rows: SampleTable, meanings: Meanings) -> tuple[LabelSpace | None, pd.DataFrame, tuple[str, ...]]:
    """Return the label space, the target columns and notes, as `medzoo.data.tables.targets` reads them."""
    if meanings.target is None:
        if meanings.soft:
            raise ConfigError("data.soft=true is of targets; name their fields in data.target")
        return None, pd.DataFrame(index=rows.rows.index), ()
    notes: tuple[str, ...] = ()
    names = meanings.names
    if names is None and not isinstance(meanings.target, str):
        names = plain_names(meanings.targets, "target")
    if meanings.soft:
        return (*_soft(rows, meanings, names or []), notes)
    if meanings.values and meanings.separator is None:
        rows, notes = _replaced(rows, meanings)
    space, targets, more = make_targets(
        rows, meanings.target, kind=meanings.kind, names=names, units=meanings.units, separator=meanings.separator,
        empty_words=meanings.empty_words, values=meanings.values if meanings.separator else None, left_out=meanings.left_out,
    )  # fmt: skip
    return space, targets, (*notes, *more)


def concept_columns(rows: SampleTable, meanings: Meanings) -> tuple[ConceptSpace | None, pd.DataFrame]:
    """Return the concept space and the columns of concepts."""
    if not meanings.concepts:
        return None, pd.DataFrame(index=rows.rows.index)
    if meanings.values and meanings.separator is None:
        rows, _ = _replaced(rows, meanings)
    read = read_share if meanings.graded else read_yes_no
    names = plain_names(meanings.concepts, "concept")
    found = {
        f"concept.{name}": read(rows, column, meanings.empty_words) for name, column in zip(names, meanings.concepts, strict=True)
    }
    return ConceptSpace(tuple(names), {group: tuple(of) for group, of in meanings.concept_groups.items()}), pd.DataFrame(found)


def input_columns(rows: SampleTable, meanings: Meanings) -> tuple[InputSpace | None, pd.DataFrame]:
    """Return what stands beside the images, and its columns: quantities, and categories as the places of their words."""
    words: dict[str, Sequence[str]] = {}
    found = {}
    for column in meanings.inputs or []:
        name = plain_name(column, "input")
        if column in meanings.categories:
            found[f"input.{name}"], words[name] = category(rows, column, meanings.categories[column], meanings.empty_words)
        else:
            found[f"input.{name}"] = quantities(rows, column, meanings.empty_words)
    return input_space(plain_names(meanings.inputs or [], "input"), words), pd.DataFrame(found, index=rows.rows.index)


def subgroup_columns(rows: SampleTable, meanings: Meanings) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns that results are broken down by, those that predictions carry, and notes."""
    found, notes = dict[str, pd.Series](), list[str]()
    for column in dict.fromkeys(meanings.subgroups):
        found[column], more = subgroup(rows, column, meanings.empty_words, 2)
        notes += more
    found |= {name: rows[name].where(rows[name] != "", None) for name in meanings.keep if name not in found}  # as of a table
    return pd.DataFrame(found, index=rows.rows.index), tuple(notes)


def caption_column(shards: Shards, rows: SampleTable, meanings: Meanings) -> pd.Series | None:
    """Return captions, missing where there is none: of members as they are mapped from disk, of fields as words."""
    if meanings.caption is None:
        return None
    if not meanings.caption_is_mapped:
        return captions(rows, meanings.caption, meanings.empty_words, 2)
    texts = shards.texts(meanings.caption[1:])
    blank = np.concatenate([_blank(texts.iloc[start : start + _STEP]) for start in range(0, len(texts), _STEP)])
    return texts.mask(blank) if blank.any() else texts


def _blank(texts: pd.Series) -> NDArray[np.bool_]:
    """Return (N,) which of some texts are there and hold nothing but blanks, in HTML either."""
    packed: Any = pa.array(texts.array, from_pandas=True)
    # Nearly all texts begin with a letter: the others alone become Python objects.
    blank = np.array(pc.match_substring_regex(pc.utf8_trim_whitespace(packed), _MAYBE_BLANK).fill_null(False), np.bool_)
    blank[blank] = [no_text(text) for text in packed.filter(pa.array(blank)).to_pylist()]
    return blank


def _soft(rows: SampleTable, meanings: Meanings, names: Sequence[str]) -> tuple[LabelSpace, pd.DataFrame]:
    """Return classes or findings of which a sample has shares, a field each."""
    if meanings.kind == "regression" or isinstance(meanings.target, str):
        raise ConfigError("data.soft=true takes a list of fields, the share of each class or finding")
    if len(names) != len(meanings.targets):
        raise ConfigError(f"data.names has {len(names)} names for {len(meanings.targets)} fields of shares")
    space = LabelSpace("multiclass" if meanings.kind == "auto" else meanings.kind, tuple(names))
    shares = [read_share(rows, column, meanings.empty_words) for column in meanings.targets]
    return space, pd.DataFrame(dict(zip(target_columns(space), shares, strict=True)))


def _replaced(rows: SampleTable, meanings: Meanings) -> tuple[SampleTable, tuple[str, ...]]:
    changed = list(dict.fromkeys([*meanings.targets, *(meanings.concepts or [])]))
    table, notes = replace_values(rows, changed, meanings.values)
    assert isinstance(table, SampleTable)
    return table, notes
