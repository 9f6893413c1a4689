"""Runs on the same samples: which of them are one setting, which are folds, and what their predictions say of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.commands.compared.page import DEFAULT_METRICS
from medzoo.commands.compared.result import FOLDS, OWN_FOLDS, Result, common_name, recipe, setting_key
from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.evaluation.comparison.paired import Asked, aligned_settings, paired_report
from medzoo.evaluation.comparison.pooled import pool
from medzoo.evaluation.comparison.setting import Setting
from medzoo.evaluation.predictions import Predictions


def compare_runs(results: Sequence[Result], split: str | None, asked: Asked, *, pool_folds: bool = False) -> dict[str, Any]:
    """Compare runs on the same samples.

    Args:
        results: Of runs, or of their tests on one other dataset; the first one's setting is what others are compared with.
        split: Which split; None: test, or val where folds are pooled whose runs have `data.folds`.
        asked: What the report shall hold; without metrics those usual for the label kind.
        pool_folds: Join runs that are folds of one dataset; of the split val, and of domains left out, it is done without being
            asked for.

    Raises:
        EvaluationError: If the runs were not tested on the same samples, or folds share a patient.
        ConfigError: If there are no folds to pool, or nothing to compare.
    """
    made = any(_folds(result) for result in results)
    split = split or ("val" if pool_folds and made else "test")
    domains = split == "test" and any(result.domain for result in results)  # each tests on patients of its own
    pooling = pool_folds or split == "val" or domains
    further = OWN_FOLDS if pool_folds and not made else FOLDS
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(setting_key(result, further), []).append(result)
    notes: list[str] = []
    settings = []
    for members in groups.values():
        runs, predictions, folds = _runs(members, split, pooling, notes)
        bins = int(members[0].report.get("bins", 15))
        names = [member.name for member in members]
        name = names[0] if len(names) == 1 else common_name(names)
        settings.append(Setting(name, recipe(members[0]), runs, predictions, folds, asked.interval, bins))
    if pool_folds and not any(setting.folds for setting in settings):
        raise ConfigError("--pool-folds: none of these runs are folds of one dataset; they differ in more than their fold")
    if asked.differences and len(settings) < 2:
        raise ConfigError(
            "--paired compares settings, and these runs are one, but for seeds and folds; name runs of another one, or leave it "
            "out"
        )
    settings = _told_apart(settings)
    report = paired_report(aligned_settings(settings), _with_metrics(asked, settings))
    report["notes"] = [*notes, *report["notes"]]
    return report


def _with_metrics(asked: Asked, settings: Sequence[Setting]) -> Asked:
    kind = settings[0].predictions[0].labels.kind
    given = asked.metrics or DEFAULT_METRICS[kind]
    return Asked(
        given, asked.interval, asked.margins, asked.differences, asked.all_pairs, asked.classes, asked.readers, asked.threshold
    )


def _runs(
    members: Sequence[Result], split: str, pooling: bool, notes: list[str]
) -> tuple[tuple[str, ...], tuple[Predictions, ...], tuple[NDArray[np.int64], ...]]:
    """Return names, predictions and folds of a setting's runs, each a run or a pool of folds."""
    marks = [_mark(member) for member in members]
    if not pooling or len(set(marks)) < 2:
        _no_repeats(members, marks)
        return tuple(member.name for member in members), tuple(member.predictions(split) for member in members), ()
    pools: dict[Any, list[Result]] = {}
    by_seed = len(set(marks)) < len(marks)
    for member in members:
        pools.setdefault(member.config["seed"] if by_seed else "", []).append(member)
    names, predictions, folds = [], [], []
    name = common_name([member.name for member in members])
    for seed, parts in pools.items():
        found = [_mark(part) for part in parts]
        _no_repeats(parts, found)
        if set(found) != set(marks):
            raise EvaluationError(f"{name}: seed {seed} has other folds than the rest; pool the same folds of every seed")
        if len({part.name for part in parts}) < len(parts):
            raise EvaluationError(f"two of the folds compared are called {parts[0].name}; rename one of their folders")
        joined, fold = pool({part.name: part.predictions(split) for part in parts})
        names.append(f"{name} seed {seed}" if by_seed else name)
        predictions.append(joined)
        folds.append(fold)
    asked = _folds(members[0])
    if asked and len(set(marks)) < asked:
        lacking = sorted(set(range(asked)) - {int(member.config["data"]["fold"]) for member in members})
        notes.append(f"{name}: without fold {', '.join(map(str, lacking))} of {asked}, whose patients are not here")
    if (domain := members[0].domain) and (unseen := _not_left_out(members)):
        notes.append(f"{name}: no run left out {domain['column']}={', '.join(unseen)}, whose patients are not here")
    return tuple(names), tuple(predictions), tuple(folds)


def _not_left_out(members: Sequence[Result]) -> list[str]:
    """Return the domains that some run was trained on and none was tested on."""
    told = [member.domain for member in members if member.domain]
    return sorted({level for one in told for level in one["trained_on"]} - {one["held_out"] for one in told})


def _no_repeats(members: Sequence[Result], marks: Sequence[str]) -> None:
    seen: dict[tuple[Any, str], str] = {}
    for member, mark in zip(members, marks, strict=True):
        key = (member.config["seed"], mark)
        if key in seen:
            seed = member.config["seed"]
            raise EvaluationError(f"{seen[key]} and {member.name} have the same settings and the same seed {seed}; leave one out")
        seen[key] = member.name


def _folds(result: Result) -> int:
    """Return how many folds a run's dataset was parted into; 0 if it was not."""
    return int(result.config["data"].get("folds") or 0)


def _mark(result: Result) -> str:
    """Return what tells a fold from the others of its dataset."""
    return repr([result.config["data"].get(name.removeprefix("data.")) for name in OWN_FOLDS])


def _told_apart(settings: Sequence[Setting]) -> list[Setting]:
    """Return settings by names of their own, where runs of two share what their names have in common."""
    names = [setting.name for setting in settings]
    return [
        setting
        if names.count(setting.name) == 1
        else Setting(
            f"{setting.name} ({place + 1})", setting.training, setting.runs, setting.predictions, setting.folds, setting.interval,
            setting.bins,
        )
        for place, setting in enumerate(settings)
    ]  # fmt: skip
