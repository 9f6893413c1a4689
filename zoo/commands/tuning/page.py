"""A search as a page: the best settings, every trial, which settings mattered, how the best came about, how optimistic it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from medzoo.commands.tuning.asked import Asked
from medzoo.commands.tuning.best import command
from medzoo.commands.tuning.outer import LEVEL, Judged, Optimism
from medzoo.commands.tuning.search import Search, ended_parts
from medzoo.evaluation.comparison.parts import Grid, Part
from medzoo.report.blocks import Block, Drawing
from medzoo.report.drawings import Line, panels
from medzoo.report.metric_sections import titled

FOR_IMPORTANCE = 10
"""Trials that importance is told of: it compares the best tenth with all."""
FOOTER = "Each figure stands in journal.jsonl, or in history.csv of a trial's run."


def state_of(trial: FrozenTrial) -> str:
    """Return a trial's state in words."""
    if trial.state == TrialState.PRUNED:
        return f"pruned after epoch {trial.last_step}"
    return {TrialState.COMPLETE: "done", TrialState.FAIL: "failed"}.get(trial.state, "not done")


def tune_parts(search: Search, judged: Sequence[Judged], found: Optimism | None, tested: str | None) -> list[Part]:
    """Return the parts of the page.

    Args:
        search: Over the whole of train and val.
        judged: Outer folds.
        found: What they say.
        tested: What the best trial reached on test, in words; None: it was not asked.
    """
    trials, asked = search.journal.trials(), search.asked
    parts = [_best(search, tested)]
    if asked.folds is not None:
        parts.append(_optimism(search, judged, found))
    header = ["trial", "state", f"val {search.monitor}", "epoch", *(setting.name for setting in asked.space)]
    rows = [[_text(cell) for cell in row] for row in _rows(trials, asked)]
    parts.append(Part("Trials", [Grid(header, rows, "Of a pruned trial what it had reached when it was stopped.")]))
    if failed := [trial for trial in trials if trial.state == TrialState.FAIL]:
        grid = Grid(["trial", "why"], [[str(trial.number), str(trial.user_attrs.get("failed", ""))] for trial in failed])
        parts.append(Part("Failed", [grid]))
    parts.append(_importance(search.journal.study, asked))
    parts.append(Part("History", [Grid(["trial", f"best val {search.monitor} so far"], _history(search))]))
    return parts


def tune_csv(search: Search) -> str:
    """Return one row a trial; numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "value", "epoch", *(setting.name for setting in search.asked.space), "failed"])
    for trial, row in zip(search.journal.trials(), _rows(search.journal.trials(), search.asked), strict=True):
        cells = ["" if cell is None else repr(cell) if isinstance(cell, float) else cell for cell in row]
        writer.writerow([*cells, trial.user_attrs.get("failed", "")])
    return text.getvalue()


def drawing(search: Search) -> list[Block]:
    """Return a plot of the trials' figures and of the best so far; nothing where no trial has ended."""
    ended = [trial for trial in search.journal.trials() if trial.state == TrialState.COMPLETE]
    if not ended:
        return []
    x = np.array([trial.number for trial in ended], dtype=np.float64)
    y = np.array([trial.value for trial in ended], dtype=np.float64)
    running = np.maximum.accumulate(y) if _sign(search) > 0 else np.minimum.accumulate(y)
    lines = [Line("trial", x, y), Line("best so far", x, running)]
    svg = panels([lines], [f"{len(ended)} trials that ended"], "trial", titled(search.monitor), limits=None)
    alt = f"from {y[0]:.3f} in trial {ended[0].number} to {running[-1]:.3f}"
    return [Drawing(svg, f"Validation {titled(search.monitor)} of the trials that ended", alt, "journal.jsonl")]


def _best(search: Search, tested: str | None) -> Part:
    best = search.journal.best()
    if best is None:
        return Part("Best settings", ["No trial has ended yet."])
    epochs, count = [part["epoch"] for part in ended_parts(best)], len(search.journal.trials())
    when = "" if None in epochs else f" (epoch {epochs[0]})" if len(epochs) == 1 else f" (epochs {', '.join(map(str, epochs))})"
    said: list[str | Grid] = [
        f"Trial {best.number} (`trials/{best.number:04d}`): val {search.monitor} {best.value:.4f}{when}. It is the best "
        f"of {count} on the rows that chose it, and so better than what it will reach on others.",
        Grid(["setting", "value"], [[name, _text(value)] for name, value in best.params.items()]),
        f"`{command(search.asked.words(best.params))}`",
    ]
    return Part("Best settings", [*said, *([] if tested is None else [tested])])


def _optimism(search: Search, judged: Sequence[Judged], found: Optimism | None) -> Part:
    name = search.monitor
    rows = [
        [str(one.fold), str(one.trial), f"{one.inner:.4f}", "–" if one.outer is None else f"{one.outer:.4f}",
         "undefined" if one.outer is None else f"{_sign(search) * (one.inner - one.outer):+.4f}"]
        for one in judged
    ]  # fmt: skip
    header = ["outer fold", "best trial", f"inner val {name}", f"outer {name}", "optimism"]
    lead = "Each fold was left out, the whole search made on the others, and its best trial judged on the fold."
    said: list[str | Grid] = [Grid(header, rows, lead)]
    if len(judged) < (search.asked.folds or 0):
        said.append(f"{len(judged)} of {search.asked.folds} outer folds are done.")
    if found is not None and found.low is not None:
        said.append(
            f"Optimism of the search: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}], the mean over folds with "
            f"its {LEVEL:.0%} interval (Student's, variance of Nadeau and Bengio 2003); by so much val {name} flatters the best "
            "trial."
        )
    elif found is not None:
        said.append(f"Optimism of the search: {found.value:+.4f}, of one fold: no interval.")
    return Part("What the search promises, and what it keeps", said)


def _importance(study: Study, asked: Asked) -> Part:
    ended = study.get_trials(states=(TrialState.COMPLETE,))
    if len(ended) < FOR_IMPORTANCE:
        return Part("Importance", [f"Not told of {len(ended)} trials that ended: {FOR_IMPORTANCE} are needed."])
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    lead = (
        "By how much each setting parts the best tenth of the trials that ended from all of them (PED-ANOVA, Watanabe et al. "
        "2023), as a share of all settings; nothing in it is drawn."
    )
    return Part("Importance", [Grid(["setting", "share"], [[name, f"{value:.3f}"] for name, value in found.items()], lead)])


def _history(search: Search) -> list[list[str]]:
    """Return the trials that were better than all before them."""
    rows, best = list[list[str]](), None
    for trial in search.journal.trials():
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            value = _sign(search) * trial.value
            if best is None or value > best:
                best = value
                rows.append([str(trial.number), f"{trial.value:.4f}"])
    return rows


def _rows(trials: Sequence[FrozenTrial], asked: Asked) -> list[list[Any]]:
    """Return number, state, value, epoch and settings of each trial."""
    rows = []
    for trial in trials:
        epochs = [part["epoch"] for part in ended_parts(trial)]
        epoch: Any = epochs[0] if len(epochs) == 1 else " ".join(map(str, epochs)) or None  # of each inner fold its own
        values = [trial.params.get(setting.name) for setting in asked.space]
        rows.append([trial.number, state_of(trial), trial.value, epoch, *values])
    return rows


def _text(value: Any) -> str:
    """Return a cell as the page shows it."""
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _sign(search: Search) -> int:
    return 1 if search.journal.direction == StudyDirection.MAXIMIZE else -1


def notes_of(search: Search) -> list[str]:
    """Return what stands above the page: how many trials, how they were chosen, and by what."""
    trials, asked = search.journal.trials(), search.asked
    count: Mapping[str, int] = {
        "ended": sum(trial.state == TrialState.COMPLETE for trial in trials),
        "pruned": sum(trial.state == TrialState.PRUNED for trial in trials),
        "failed": sum(trial.state == TrialState.FAIL for trial in trials),
    }
    told = ", ".join(f"{number} {what}" for what, number in count.items())
    inner = "" if asked.inner is None else f", the mean over {asked.inner} folds"
    return [
        f"{len(trials)} of {asked.trials} trials: {told}. Sampler {asked.sampler.name}, pruner {asked.pruner.name}, seed "
        f"{asked.seed}; judged by val {search.monitor} of the best epoch{inner}. No trial has read an image of the test split."
    ]
