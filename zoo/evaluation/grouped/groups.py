"""Rows of a predictions file → one row a group of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.info import NO_PATIENT
from medzoo.data.labels import probabilities
from medzoo.data.splits.groups import merge_groups
from medzoo.data.splits.subgroups import joined_names
from medzoo.evaluation.grouped.votes import check_vote, truths, voted
from medzoo.evaluation.predictions import Predictions

SHOWN = 3
"""Names that a message gives."""


def group_predictions(rows: Predictions, columns: Sequence[str], vote: str) -> Predictions:
    """Return the predictions of groups of rows.

    Args:
        rows: Of one model, with the columns.
        columns: What a group shares: `group`, a subgroup or a kept column; of several each combination is a group.
        vote: How its rows answer together; see `medzoo.evaluation.grouped.votes.voted`.

    Returns:
        One row a group and split, named by its cells (several joined by " / ", quoted where names would be alike), in order of
        first appearance. `group` is what intervals are made over: the patient where every group is of one, else the patients that
        groups join together.

    Raises:
        UnknownNameError: If the predictions have no such column; names those that there are.
        EvaluationError: If a cell is missing, or the rows of a group differ in their truth; names the group and the rows.
        ConfigError: If the labels do not have this vote.
    """
    check_vote(vote, rows.labels)
    by = ", ".join(columns)
    cells = pd.DataFrame({column: _cells(rows, column) for column in columns})
    for column in columns:
        if (empty := cells[column].isna().to_numpy()).any():
            raise EvaluationError(
                f"evaluation.by={by}: {int(empty.sum())} rows have no {column} ({_some(rows.sample_id[empty])}); fill the cells"
            )
    names = joined_names(cells, " / ")
    codes, _ = pd.factorize(pd.Series(rows.split.astype(str)) + "\x1f" + pd.Series(names))
    first = np.unique(codes, return_index=True)[1]
    targets, disagree = truths(rows.targets, codes, rows.labels, vote)
    if disagree.any():
        raise EvaluationError(_disagreement(rows, codes, names, disagree, by, len(columns)))
    logits = voted(rows.logits, codes, rows.labels, vote)
    unit, group, notes = _unit_above(rows, codes, first, by)
    single = {str(name): _single(column, codes, first) for name, column in rows.subgroups.items()}
    if left_out := [name for name, column in single.items() if column is None]:
        notes.append(f"subgroups that differ within a {by} are left out: {', '.join(left_out)}")
    if rows.concepts is not None:
        notes.append(f"concepts are of the rows; none is told of a {by}")
    if twice := sorted(set(pd.Series(names[first])[pd.Series(names[first]).duplicated()])):
        notes.append(f"{len(twice)} of them stand in several splits ({_some(twice)}) and are one group in each")
    told = {"columns": list(columns), "vote": vote, "rows": len(rows), "groups": len(first)}
    return replace(
        rows, sample_id=names[first], split=rows.split[first], group=group, targets=targets,
        logits=logits.astype(np.float32), probabilities=probabilities(logits, rows.labels).astype(np.float32), concepts=None,
        concept_targets=None, concept_logits=None, residual_logits=None, absent_logits=None, concept_effects=None,
        prototype_scores=None, carried=None, attention=None,
        subgroups=pd.DataFrame({name: column for name, column in single.items() if column is not None}, index=range(len(first))),
        kept=None, split_unit=unit, notes=(*(note for note in rows.notes), *notes), details={**rows.details, "by": told},
    )  # fmt: skip


def _cells(rows: Predictions, column: str) -> NDArray[np.object_]:
    if column == "group":
        return rows.group
    for held in (rows.kept, rows.subgroups):
        if held is not None and column in held.columns:
            return held[column].to_numpy(dtype=object)
    known = ["group", *(rows.kept.columns if rows.kept is not None else ()), *rows.subgroups.columns]
    raise UnknownNameError(
        "column", column, known, where=" of the predictions in evaluation.by; predict again with it, or keep it with data.keep"
    )


def _single(column: pd.Series, codes: NDArray[np.intp], first: NDArray[np.intp]) -> NDArray[np.object_] | None:
    """Return one value a group; None where rows of one differ."""
    values = column.to_numpy(dtype=object)
    of_first = values[first][codes]
    same = (values == of_first) | (pd.isna(values) & pd.isna(of_first))
    return values[first] if bool(np.all(same)) else None


def _unit_above(
    rows: Predictions, codes: NDArray[np.intp], first: NDArray[np.intp], by: str
) -> tuple[str, NDArray[np.object_], list[str]]:
    """Return what intervals are made over, which of it each group belongs to, and what is to be said of that."""
    patients = rows.group.astype(str)
    pairs = pd.DataFrame({"code": codes, "patient": patients}).drop_duplicates()
    several = int((pairs.groupby("code").size() > 1).sum())
    if not several:
        return rows.split_unit, rows.group[first], []
    shared = [list(places) for places in pd.Series(range(len(rows))).groupby(codes).groups.values()]
    joined = np.array(merge_groups(list(patients), shared), dtype=object)[first]
    if rows.split_unit in NO_PATIENT:
        note = f"intervals are over {by}: the dataset knows no patient, and one with several of them counts as several"
        return by, joined, [note]
    note = (
        f"{several} of {len(first)} groups by {by} hold more than one {rows.split_unit}: intervals are over what they join "
        f"together ({len(set(joined))} of {len(set(patients))} {rows.split_unit} groups)"
    )
    return f"{rows.split_unit} joined by {by}", joined, [note]


def _disagreement(
    rows: Predictions, codes: NDArray[np.intp], names: NDArray[np.object_], disagree: NDArray[np.bool_], by: str, columns: int
) -> str:
    group = int(np.argwhere(disagree)[0][0])
    label = int(np.argwhere(disagree[group])[-1][0])
    of_group = np.flatnonzero((codes == group) & ~np.isnan(rows.targets[:, label]))
    values = rows.targets[of_group, label]
    one, two = of_group[values.argmin()], of_group[values.argmax()]
    said = f"{rows.labels.names[label]} of {rows.sample_id[one]} is {rows.targets[one, label]:g} and of {rows.sample_id[two]} "
    also = "" if columns > 1 or by == "group" else f", join columns (evaluation.by=[group,{by}])"
    any_ = ", or let any positive row settle it (evaluation.vote=any)" if rows.labels.kind == "multilabel" else ""
    count = int(disagree.any(axis=1).sum())
    return (
        f"evaluation.by={by}: the rows of {names[codes == group][0]!r} differ in their truth: {said}{rows.targets[two, label]:g} "
        f"({count} such groups); name a column whose rows share it{also}{any_}"
    )


def _some(names: Sequence[object] | NDArray[np.object_]) -> str:
    return ", ".join(map(str, names[:SHOWN])) + ", ..." * (len(names) > SHOWN)
