"""What Optuna decides: the settings of the next trial, and whether a training is to be stopped.

Both are functions of the trials that there are and of nothing else: each trial has a sampler of its own, seeded by the search's
seed and the trial's number, and a decision is made on a copy of the study. So a killed search goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from medzoo.commands.tuning.asked import Asked
from medzoo.data.seeding import derived_seed

NAME = "medzoo"
"""Of every study: Hyperband parts trials into brackets by it."""


def distributions(asked: Asked) -> dict[str, BaseDistribution]:
    """Return what is searched, by name."""
    return {setting.name: setting.distribution for setting in asked.space}


def sampler_of(asked: Asked, number: int) -> BaseSampler:
    """Return the sampler of one trial; a grid's is the same for all, and has a place for each."""
    if asked.sampler.name == "grid":
        return GridSampler({setting.name: setting.points() for setting in asked.space}, seed=asked.seed)
    seed = derived_seed(asked.seed, "tune", number) % 2**32
    if asked.sampler.name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=asked.sampler.options["startup"])


def pruner_of(asked: Asked, epochs: int) -> BasePruner:
    """Return what stops trainings; `epochs` is the most that one has."""
    options = asked.pruner.options
    if asked.pruner.name == "median":
        return MedianPruner(n_startup_trials=options["startup"], n_warmup_steps=options["warmup"] + 1)  # epochs count from 1
    if asked.pruner.name == "halving":
        return SuccessiveHalvingPruner(min_resource=options["min"], reduction_factor=options["factor"])
    if asked.pruner.name == "hyperband":
        return HyperbandPruner(
            min_resource=options["min"], max_resource=max(epochs, options["min"]), reduction_factor=options["factor"]
        )
    return NopPruner()


def propose(asked: Asked, trials: Sequence[FrozenTrial], direction: StudyDirection) -> dict[str, Any]:
    """Return the settings of the trial that follows `trials`, those that run in other processes among them."""
    study = optuna.create_study(direction=direction, sampler=sampler_of(asked, len(trials)), study_name=NAME)
    study.add_trials(trials)
    return study.ask(distributions(asked)).params


def foresee(asked: Asked) -> list[dict[str, Any]]:
    """Return the settings of the trials that are known before any has ended: all but those that TPE learns to choose."""
    count = min(asked.trials, asked.sampler.options["startup"]) if asked.sampler.name == "tpe" else asked.trials
    study, found = optuna.create_study(study_name=NAME), []
    for number in range(count):
        study.sampler = sampler_of(asked, number)
        found.append(study.ask(distributions(asked)).params)
    return found


def decide(
    pruner: BasePruner, trials: Sequence[FrozenTrial], number: int, values: Mapping[int, float], direction: StudyDirection
) -> tuple[bool, dict[str, Any]]:
    """Say whether a training is to be stopped, and what its pruner notes of it for others.

    Args:
        pruner: What decides.
        trials: All trials of the study, this one among them.
        number: This one's.
        values: Its epochs with what each reached.
        direction: Whether more is better.
    """
    study = optuna.create_study(direction=direction, pruner=pruner, sampler=RandomSampler(seed=0), study_name=NAME)
    for trial in trials:
        if trial.number == number:  # as it began: what was noted is noted anew, epoch by epoch
            trial = create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
        study.add_trial(trial)
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    running, stop = optuna.Trial(study, trial_id), False
    for epoch, value in values.items():
        running.report(value, epoch)
        stop = running.should_prune()
    return stop, study.get_trials(deepcopy=False)[number].system_attrs
