"""SCIN: photographs of skin conditions that people in the USA gave through Google Search, 5,033 cases of 1 to 3 photographs.

Ward et al. 2024 (arXiv 2402.18545); bucket `gs://dx-scin-public-data`. Dermatologists gave
differential diagnoses with weights, so that the natural target is soft. Column meanings: dataset_schema.md of
google-research-datasets/scin; traps and counts were taken from the files of release 1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from medzoo.data.columns import as_further
from medzoo.data.dataset import Dataset, target_columns
from medzoo.data.datasets.scin import answers
from medzoo.data.datasets.scin.captions import Caption, make_captions
from medzoo.data.datasets.scin.labels import (
    COMMONEST,
    GRADES,
    OTHER,
    WEIGHTS,
    Rest,
    ScinLabels,
    make_targets,
    read_differentials,
    ungradable_note,
)
from medzoo.data.datasets.scin.tables import CASES, RELEASE, find_folder, read_tables, release_note
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import FileReader, Missing, list_files, with_files
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choices, several_targets
from medzoo.data.splits.groups import hash_split, merge_groups
from medzoo.data.tables import TextTable, count_note, leaves_root

NAME, DIAGNOSIS = "scin", "diagnosis"
Views = Literal["image", "case"]
Ungradable = Literal["drop", "keep"]
SHARES = (0.1, 0.2)
"""Of val and test, in groups; a choice of medzoo, for the authors publish no split."""

_SLOTS = (1, 2, 3)
_FOLDER = "dataset/"  # what every path in the file begins with
_SHOTS = {"CLOSE_UP": "close-up", "AT_AN_ANGLE": "at an angle", "AT_DISTANCE": "at a distance"}
_NOTES = (
    "cases carry no contributor: what one person gave at different times may be parted",
    "labels are dermatologists' differential diagnoses from the photographs and answers, without biopsy or follow-up",
    "photograph -2243186711511406658.png (case -1834609919572055750) was absent from the authors' bucket (their issue 1)",
)


def infos() -> list[DatasetInfo]:
    """Return a card for each kind of label, with the classes of the default `top` and `rest`."""
    names = (*COMMONEST, OTHER)
    return [
        _info(kind, LabelSpace("multilabel" if kind == "multilabel" else "multiclass", names)) for kind in get_args(ScinLabels)
    ]


def load(
    labels: ScinLabels = "soft",
    top: int = 16,
    rest: Rest = "other",
    views: Views = "image",
    ungradable: Ungradable = "drop",
    seed: int = 0,
    caption: Caption = "none",
    root: str | Path = "~/data/scin",
    missing: Missing = "error",
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
) -> Dataset:
    """Load the table; photographs are read when needed.

    Args:
        labels: `soft`: the weights of the differential diagnosis, renormalised to sum to 1. `top1`: the condition of the
            largest weight (of several that tie, 925 cases, the one written first). `multilabel`: every condition named.
        top: How many conditions are classes of their own, those that gather the most weight over all labelled cases, 1 to
            370. They are counted before anything is left out and whatever the split.
        rest: Other conditions: `other` collects them in one further class, the last; `mask` removes them and renormalises
            the remainder (a case left with nothing stays, without a target; with `multilabel` it is 0 throughout).
        views: `image`: one row a photograph. `case`: one row a case, with up to three photographs in `path_1` to `path_3`.
        ungradable: Cases without a differential diagnosis, 1,972 of 5,033: `drop` or `keep` them without a target.
        seed: Of the split. The authors publish none: 70% of the groups are train, 10% val, 20% test, by hash.
        caption: `none`; `metadata`: a sentence of body parts, textures, symptoms, other symptoms and duration, with no
            label in it; `diagnosis`: the same with the leading diagnosis, all of them where several tie.
        root: A copy of the bucket, with `dataset/scin_cases.csv`, `dataset/scin_labels.csv` and `dataset/images/`; or its
            folder `dataset/`.
        missing: What to do when photographs are not there: `error`, `skip` and say so (a case loses the photograph, and is
            left out when it has none), or `ignore`, which does not look. The authors' bucket lacked one photograph (issue 1
            of their repository): where it is still absent a complete copy needs `skip`.
        inputs: Which of the contributor's answers stand beside the photographs: any of `age`, `sex`, `fitzpatrick` (their own
            judgement) and `duration`, categories by their words; the boxes, 0 or 1, by the authors' column names, or all of a
            question by `textures`, `body_parts`, `condition_symptoms`, `other_symptoms`. None: all of them, as numbers.
        targets: Several targets at once: `diagnosis` (as `labels` says), `tone` (Fitzpatrick's six types, the median of the
            dermatologists) and `monk` (ten tones, by lay graders in the USA), grades from light to dark. None: the diagnosis.

    Returns:
        Soft or multilabel `target.<condition>`, or `target` codes for `top1`; `group`: the case, cases that share a
        photograph being one group; `case_id`; subgroups `fitzpatrick` (median of dermatologists, FST1 to FST6), `monk_us`,
        `monk_india` (1 to 10), `age_group`, `sex`, `race` (self-reported), and with views=image `shot_type`; textures, body
        parts and symptoms as `concept.<name>` and, with age, sex, skin type and duration, as `input.<name>`, all of them
        the contributor's answers. Images (3, H, W) uint8 of any size.

    Raises:
        UnknownNameError: If an option is none of its words, or an input or target none that there is.
        ConfigError: If `top` is not within the number of conditions or `seed` not a whole number.
        DatasetError: If a file or column is missing, the files differ in their cases, a value is not one the authors list,
            a path leaves the root, or photographs are not there; one line that names the file and the line.
    """
    choices(labels=(labels, ScinLabels), rest=(rest, Rest), views=(views, Views), ungradable=(ungradable, Ungradable))
    choices(caption=(caption, Caption), missing=(missing, Missing))
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"{NAME}: seed={seed!r} is not a whole number")
    space_beside, wanted = answers.inputs_option(inputs), several_targets(targets, [DIAGNOSIS, *answers.TONES])
    base, folder = Path(root).expanduser(), find_folder(root)
    case_columns = (*answers.CASE_COLUMNS, *(f"image_{n}_{what}" for n in _SLOTS for what in ("path", "shot_type")))
    cases, graded = read_tables(folder, case_columns, (*answers.LABEL_COLUMNS, WEIGHTS, *GRADES))
    differentials = read_differentials(graded)
    space, diagnoses, notes = make_targets(differentials, labels, top, rest)
    grades = ungradable_note(graded, differentials.labelled, ungradable == "keep")
    notes = (*release_note(folder), grades, *differentials.notes(), *notes)
    paths = _written_paths(cases)
    groups, more = _groups(cases["case_id"].tolist(), paths)
    present = [] if missing == "ignore" else list_files(base)
    told, seen = answers.make_inputs(cases), answers.make_subgroups(cases, graded)
    own = diagnoses[:, None] if labels == "top1" else diagnoses
    found = {DIAGNOSIS: pd.DataFrame(own, columns=["target"] if labels == "top1" else target_columns(space))}
    found |= {name: answers.make_tones(seen, name) for name in wanted if name != DIAGNOSIS}
    spaces = {name: space if name == DIAGNOSIS else LabelSpace("ordinal", answers.TONES[name][1]) for name in wanted}
    columns: dict[str, Any] = {
        "sample_id": f"{NAME}/" + cases["case_id"].to_numpy(dtype=object),
        "split": hash_split(pd.Series(groups), f"{NAME}/split/{seed}", SHARES).to_numpy(),
        "group": groups,
        "case_id": cases["case_id"].to_numpy(),
        **{column: _located(paths[column], folder == base, set(present)).to_numpy(dtype=object) for column in paths},
        **{f"shot_{n}": _shot_types(cases, f"image_{n}_shot_type") for n in _SLOTS},
        **seen,
        **answers.make_concepts(cases),
        **(told if space_beside is None else answers.chosen_inputs(told, space_beside)),
    }
    if caption != "none":
        noun = "A photograph" if views == "image" else "Photographs"
        columns["caption"] = make_captions(cases, noun, differentials if caption == "diagnosis" else None)
    parts = [as_further(found[name], name) if place else found[name] for place, name in enumerate(wanted or [DIAGNOSIS])]
    table = pd.concat([pd.DataFrame(columns), *parts], axis=1)
    space = next(iter(spaces.values()), space)
    if ungradable == "drop":
        table = table[differentials.labelled]
    table, pictured = _with_photographs(table, list(paths))
    notes += (*more, *pictured, *answers.missing_notes(table))
    if caption != "none":
        notes += count_note(table["caption"].isna(), "cases have nothing to make a caption of, and none")
    table, at = (_one_row_a_photograph(table), ["path"]) if views == "image" else (table, list(paths))
    table, absent = with_files(table, present, at, missing, NAME)
    shares = "{:.0%} of the cases are val and {:.0%} test".format(*SHARES)
    info = _info(labels, space, f"the authors publish no split: {shares}, by hash with seed {seed}", *notes, *absent)
    return Dataset(
        info=info,
        table=table.drop(columns=[f"shot_{n}" for n in _SLOTS], errors="ignore").reset_index(drop=True),
        reader=FileReader(base, columns=tuple(at), views=views == "case"),
        labels=space,
        concepts=answers.CONCEPT_SPACE,
        subgroups=(*answers.SUBGROUPS, "shot_type") if views == "image" else answers.SUBGROUPS,
        inputs=space_beside,
        targets=spaces,
    )


def _written_paths(cases: TextTable) -> dict[str, pd.Series]:
    """Return `path_1` to `path_3` as the file has them, missing where there is no photograph."""
    paths = {}
    for n in _SLOTS:
        written = cases[column := f"image_{n}_path"].astype(object)
        paths[f"path_{n}"] = written.where(written != "", None)
        cases.refuse(leaves_root(written), column, "which leaves the dataset's folder", "paths must lie below it")
    return paths


def _located(paths: pd.Series, inside: bool, present: set[str]) -> pd.Series:
    """Return paths below the root, which is the bucket or, `inside`, its folder `dataset/`; images may lie as in the other."""
    short = paths.str.removeprefix(_FOLDER).astype(object)
    likely, other = (short, paths) if inside else (paths, short)
    chosen = likely.where(likely.isin(present) | ~other.isin(present), other)
    return chosen.where(paths.notna(), None)


def _groups(case_ids: Sequence[str], paths: Mapping[str, pd.Series]) -> tuple[list[str], tuple[str, ...]]:
    """Return each case's group, cases that share a photograph joined, and a note that counts those."""
    written = pd.concat([column.reset_index(drop=True) for column in paths.values()]).dropna()
    repeated = written[written.duplicated(keep=False)]
    shared = [sorted(set(places)) for places in repeated.groupby(repeated).groups.values()]
    shared = [places for places in shared if len(places) > 1]
    groups = merge_groups(case_ids, shared)
    if not shared:
        return groups, ()
    joined = {row for places in shared for row in places}
    return groups, (
        f"{len(shared)} photographs belong to several cases: {len(joined)} of all cases are joined into "
        f"{len({groups[row] for row in joined})} groups, and with views=image such a photograph is a row of each",
    )


def _shot_types(cases: TextTable, column: str) -> pd.Series:
    cases.refuse_others(column, ("", *_SHOTS))
    return cases[column].map(_SHOTS).reset_index(drop=True)


def _with_photographs(table: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    kept = table[columns].notna().any(axis=1)
    if not kept.any():
        raise DatasetError(f"{NAME}: none of the {len(table)} cases names a photograph in {CASES}; download it again")
    return table[kept], count_note(~kept, "cases name no photograph: left out")


def _one_row_a_photograph(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a photograph, in the order of cases and of photographs within them."""
    case = table.drop(columns=[f"{what}_{n}" for what in ("path", "shot") for n in _SLOTS])
    parts = [
        case.assign(sample_id=case["sample_id"] + f"/image_{n}", path=table[f"path_{n}"], shot_type=table[f"shot_{n}"])
        for n in _SLOTS
    ]
    rows = pd.concat(parts).sort_index(kind="stable")
    return rows[rows["path"].notna()]


def _info(kind: ScinLabels, space: LabelSpace, *notes: str) -> DatasetInfo:
    return DatasetInfo(
        name=f"{NAME}/{kind}",
        title="SCIN (Skin Condition Image Network)",
        modality="skin",
        licence="SCIN Data Use License (attribution; no attempt to identify contributors)",
        citation="Ward A, Li J, Wang J, et al. Crowdsourcing Dermatology Images with Google Search Ads: Creating a Real-World "
        "Skin Condition Dataset. arXiv:2402.18545 (2024).",
        homepage="https://github.com/google-research-datasets/scin",
        labels=space,
        concepts=answers.CONCEPT_SPACE,
        split_unit="case",
        files=RELEASE,
        notes=(*_NOTES, *notes),
    )
