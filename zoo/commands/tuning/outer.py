"""How optimistic a search is: searched again within outer folds, each judged on the fold that it has not seen (nested folds)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from optuna.study import StudyDirection
from scipy.stats import t as student

from medzoo.commands.suites.written import Words
from medzoo.commands.tuning.asked import Asked
from medzoo.commands.tuning.search import Search, monitored
from medzoo.data.seeding import derived_seed

LEVEL = 0.95


@dataclass(frozen=True)
class Judged:
    """One outer fold.

    Attributes:
        fold: Which.
        trial: The best trial of its search.
        inner: What that reached on the rows that chose it.
        outer: What it reached on the fold that nothing had seen; None where that is undefined.
    """

    fold: int
    trial: int
    inner: float
    outer: float | None


@dataclass(frozen=True)
class Optimism:
    """By how much the inner figures are better than the outer ones: the mean over folds and its interval, if there is one."""

    value: float
    low: float | None
    high: float | None


def outer_asked(asked: Asked, fold: int) -> tuple[Asked, Words]:
    """Return the search within an outer fold, with draws of its own, and the settings that leave the fold out."""
    seed = derived_seed(asked.seed, "outer fold", fold) % 2**31
    return replace(asked, seed=seed), (f"data.outer_folds={asked.folds}", f"data.outer_fold={fold}")


def outer_folder(folder: Path, fold: int) -> Path:
    """Return where the search within an outer fold lies."""
    return folder / "outer" / str(fold)


def judge(search: Search, fold: int) -> Judged | None:
    """Evaluate the best trial of a search within a fold on that fold; None while it has none."""
    best = search.journal.best()
    if not search.done or best is None or best.value is None:
        return None
    with search.alone():
        noted = search.journal.noted("outer")
        if noted is None or noted["trial"] != best.number:  # of a search that had fewer trials
            reached = [monitored(path, search.monitor, "test") for path in search.runs(best.number)]
            known = [value for value in reached if value is not None and math.isfinite(value)]
            noted = {"trial": best.number, "value": mean(known) if len(known) == len(reached) else None}
            search.journal.note("outer", noted)
    return Judged(fold, best.number, best.value, noted["value"])


def optimism(judged: Sequence[Judged], direction: StudyDirection) -> Optimism | None:
    """Return the mean difference over folds, positive where the search flatters itself; None without two folds.

    The interval is Student's with the variance of Nadeau and Bengio (2003), s² (1/k + 1/(k − 1)): the folds' trainings share
    patients, and by s²/k alone it would be too narrow.
    """
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1
    found = [sign * (one.inner - one.outer) for one in judged if one.outer is not None]
    if not found:
        return None
    if len(found) < 2:
        return Optimism(found[0], None, None)
    count = len(found)
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * stdev(found) * math.sqrt(1 / count + 1 / (count - 1))
    return Optimism(mean(found), mean(found) - half, mean(found) + half)
