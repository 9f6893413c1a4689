"""Optuna's own study as the oracle: what is proposed and pruned is what it would, however often the search is interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from medzoo.commands.tuning.asked import PRUNERS, SAMPLERS, Asked, Method
from medzoo.commands.tuning.journal import FILE, Journal
from medzoo.commands.tuning.propose import NAME, decide, distributions, foresee, propose, pruner_of, sampler_of
from medzoo.data.errors import ConfigError

EPOCHS = 9
SPACE = ["a=log(1e-5,1e-1)", "b=choice(x,y,z)", "c=int(1,16)"]


def curve(params: dict[str, float], epoch: int, number: int) -> float:
    """Return a figure that rises with epochs; none has another's."""
    good = -abs(params["c"] - 5) / 16 + (params["b"] == "y") - abs(params["a"] - 1e-3)
    return good * (1 - 0.7**epoch) + 0.01 * ((number * 7 + epoch * 3) % 5)


def asked(pruner: str, sampler: str = "tpe", trials: int = 14) -> Asked:
    methods = {"sampler": Method(sampler, SAMPLERS[sampler]), "pruner": Method(pruner, PRUNERS[pruner])}
    return replace(Asked.read(None, SPACE, trials), seed=3, **methods)  # type: ignore[arg-type]


def ours(search: Asked, folder: Path, direction: StudyDirection, *, interrupted: bool) -> list[tuple[object, ...]]:
    """Return what each trial was and became; interrupted: the journal is opened anew all the time and everything asked twice."""
    journal = Journal(folder)
    journal.begin("auroc", direction, {})
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1
    while len(journal.trials()) < search.trials:
        number = journal.add(propose(search, journal.trials(), direction), distributions(search))
        values, stop = dict[int, float](), False
        params = journal.trials()[number].params
        for epoch in range(1, EPOCHS + 1):
            values[epoch] = sign * curve(params, epoch, number)
            for _ in range(2 if interrupted else 1):
                stop, noted = decide(pruner_of(search, EPOCHS), journal.trials(), number, values, direction)
                journal.report(number, values, noted)
                if interrupted and epoch % 3 == 0:
                    journal = Journal(folder)
            if stop:
                break
        if number == 4:
            journal.end(number, failed="the loss is not finite")
        elif stop and epoch < EPOCHS:
            journal.end(number, pruned=True)
        else:
            journal.end(number, value=max(values.values(), key=lambda value: sign * value))
    return [(t.params, t.state, t.value, t.intermediate_values) for t in journal.trials()]


def theirs(search: Asked, direction: StudyDirection) -> list[tuple[object, ...]]:
    study = optuna.create_study(direction=direction, pruner=pruner_of(search, EPOCHS), study_name=NAME)
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1
    for number in range(search.trials):
        # The pruner is not shown to the sampler, whose trials Hyperband would part into brackets.
        pruner, study.pruner = study.pruner, optuna.pruners.NopPruner()
        study.sampler = sampler_of(search, number)
        trial = study.ask(distributions(search))
        study.pruner = pruner
        values, stop = [], False
        for epoch in range(1, EPOCHS + 1):
            values.append(sign * curve(trial.params, epoch, number))
            trial.report(values[-1], epoch)
            stop = trial.should_prune()
            if stop:
                break
        if number == 4:
            study.tell(trial, state=TrialState.FAIL)
        elif stop and epoch < EPOCHS:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, max(values, key=lambda value: sign * value))
    return [(t.params, t.state, t.value, t.intermediate_values) for t in study.trials]


@pytest.mark.parametrize(
    ("pruner", "direction"),
    [
        ("none", StudyDirection.MINIMIZE), ("median", StudyDirection.MAXIMIZE), ("halving", StudyDirection.MINIMIZE),
        ("hyperband", StudyDirection.MAXIMIZE),
    ],
)  # fmt: skip
def test_trials_are_those_of_optunas_own_study(pruner: str, direction: StudyDirection, tmp_path: Path) -> None:
    search = asked(pruner)
    oracle = theirs(search, direction)
    states = [state for _, state, *_ in oracle]
    assert (TrialState.PRUNED in states) == (pruner != "none")
    assert TrialState.COMPLETE in states
    assert ours(search, tmp_path / "whole", direction, interrupted=False) == oracle
    assert ours(search, tmp_path / "interrupted", direction, interrupted=True) == oracle


def test_random_and_first_trials_are_known_before_any_has_ended(tmp_path: Path) -> None:
    for sampler, known in (("random", 14), ("tpe", 10)):
        search = asked("none", sampler)
        made = ours(search, tmp_path / sampler, StudyDirection.MAXIMIZE, interrupted=False)
        assert foresee(search) == [params for params, *_ in made[:known]]
        assert len(foresee(search)) == known
    assert len({str(params) for params in foresee(asked("none", "random"))}) == 14


def test_a_trial_that_runs_elsewhere_is_counted_in(tmp_path: Path) -> None:
    search = asked("none")
    journal = Journal(tmp_path)
    journal.begin("auroc", StudyDirection.MAXIMIZE, {})
    for _ in range(3):
        journal.add(propose(search, journal.trials(), StudyDirection.MAXIMIZE), distributions(search))
    assert [trial.params for trial in journal.trials()] == foresee(search)[:3]
    assert {trial.state for trial in journal.trials()} == {TrialState.RUNNING}
    assert journal.best() is None


def test_the_journal_is_json_and_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin("auroc", StudyDirection.MAXIMIZE, {"epochs": 3})
    search = asked("none")
    journal.add(propose(search, [], StudyDirection.MAXIMIZE), distributions(search))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + b'{"op_code":7,"worker')
    again = Journal(tmp_path)
    assert (tmp_path / FILE).read_bytes() == whole
    again.end(0, value=0.5)
    assert Journal(tmp_path).best().value == 0.5  # type: ignore[union-attr]
    assert Journal(tmp_path).noted("epochs") == 3
    (tmp_path / FILE).write_bytes(b"\x80\x04pickle\n" + whole)
    with pytest.raises(ConfigError, match="is damaged"):
        Journal(tmp_path)


def test_of_equals_the_first_is_the_best(tmp_path: Path) -> None:
    for direction, best in ((StudyDirection.MAXIMIZE, 1), (StudyDirection.MINIMIZE, 0)):
        journal = Journal(tmp_path / direction.name)
        journal.begin("auroc", direction, {})
        search = asked("none")
        for value in (0.0, 0.7, 0.7, 0.0):
            number = journal.add(propose(search, journal.trials(), direction), distributions(search))
            journal.end(number, value=value)
        assert journal.best().number == best  # type: ignore[union-attr]
