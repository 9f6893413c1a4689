"""The trials of one search on disk: Optuna's journal, a line of JSON an event, which several processes may write.

Nothing in it is pickled. Its lock is one that the system lets go of when a process ends, however it ends; Optuna's own stays
behind a killed process for half a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from medzoo.commands.tuning.propose import NAME
from medzoo.data.errors import ConfigError

FILE = "journal.jsonl"


class _Held(JournalFileOpenLock):
    """A lock for Optuna that dies with its process."""

    def __init__(self, path: Path) -> None:
        self._held = FileLock(path)

    def acquire(self) -> bool:
        """Wait for the lock, and take it."""
        self._held.acquire()
        return True

    def release(self) -> None:
        """Let it go."""
        self._held.release()


class Journal:
    """The trials of one search.

    Args:
        folder: Where it lies, or shall.

    Raises:
        ConfigError: If it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        locks = folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = _Held(locks / "journal.lock")
        _mend(self._file, lock)
        try:
            self._storage = JournalStorage(JournalFileBackend(str(self._file), lock))
            self._study = self._open(None) if self._storage.get_all_studies() else None
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise ConfigError(f"{self._file} is damaged ({type(error).__name__}); give another --output") from error

    @property
    def begun(self) -> bool:
        """Whether the search has begun."""
        return self._study is not None and "monitor" in self._study.user_attrs

    def begin(self, monitor: str, direction: StudyDirection, noted: Mapping[str, Any]) -> None:
        """Begin the search: by which metric, whether more of it is better, and what else is the same for all trials."""
        self._study = self._open(direction)
        for name, value in noted.items():
            self._study.set_user_attr(name, value)
        self._study.set_user_attr("monitor", monitor)  # last: what has one is whole

    @property
    def study(self) -> Study:
        """Optuna's study."""
        assert self._study is not None
        return self._study

    @property
    def direction(self) -> StudyDirection:
        """Whether more is better."""
        return self.study.direction

    def noted(self, name: str) -> Any:
        """Return what was noted of the search; None where nothing was."""
        return self.study.user_attrs.get(name)

    def note(self, name: str, value: Any) -> None:
        """Note something of the search."""
        self.study.set_user_attr(name, value)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in their order."""
        return [] if self._study is None else self._study.get_trials()

    def add(self, values: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> int:
        """Begin a trial with all its settings in one line, so that none is ever half there; returns its number."""
        self.study.add_trial(create_trial(state=TrialState.RUNNING, params=dict(values), distributions=dict(space)))
        return len(self.trials()) - 1

    def report(self, number: int, values: Mapping[int, float], attributes: Mapping[str, Any]) -> None:
        """Note what epochs have reached, and what a pruner says of them."""
        trial = self.trials()[number]
        for name, value in attributes.items():
            if trial.system_attrs.get(name) != value:
                self._storage.set_trial_system_attr(trial._trial_id, name, value)
        for epoch, value in values.items():
            if epoch not in trial.intermediate_values:
                self._storage.set_trial_intermediate_value(trial._trial_id, epoch, value)

    def end(self, number: int, *, value: float | None = None, pruned: bool = False, failed: str | None = None) -> None:
        """End a trial: with what it has reached, stopped on the way, or failed and why."""
        if failed is not None:
            self.keep(number, "failed", failed)
            self.study.tell(number, state=TrialState.FAIL)
        elif pruned:
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, value)

    def keep(self, number: int, name: str, value: Any) -> None:
        """Note something of a trial."""
        self._storage.set_trial_user_attr(self.trials()[number]._trial_id, name, value)

    def best(self) -> FrozenTrial | None:
        """Return the best of the trials that ended, of equals the first; None where none did."""
        sign = 1 if self.direction == StudyDirection.MAXIMIZE else -1
        ended = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        return max(ended, key=lambda trial: (sign * (trial.value or 0.0), -trial.number), default=None)

    def _open(self, direction: StudyDirection | None) -> Study:
        sampler = RandomSampler(seed=0)  # never asked: a trial comes with its settings
        if direction is None:
            return optuna.load_study(study_name=NAME, storage=self._storage, sampler=sampler)
        return optuna.create_study(
            storage=self._storage, study_name=NAME, direction=direction, sampler=sampler, load_if_exists=True
        )


def _mend(file: Path, lock: _Held) -> None:
    """Cut off a last line that a machine had no time to end: what follows would stand in it."""
    if not file.is_file():
        return
    lock.acquire()
    try:
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            with file.open("r+b") as open_file:
                open_file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
